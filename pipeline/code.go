package pipeline

import (
	"errors"
	"slices"

	"github.com/millrace/millrace/engine"
)

// A FaultKind is a kind of fault for which an entry gets an error entry in place of a result. Its code never changes once it was released.
type FaultKind struct {
	Code   string // the error entry's field code
	Cause  string
	Remedy string
}

// code is the row of faultKinds that a fault belongs to: there is no code without one.
type code int

const (
	codeInput code = iota
	codeRun
	codeLarge
	codeTimeout
	codeOutput
	codes
)

var faultKinds = [codes]FaultKind{
	codeInput: {
		Code:   "bad_input",
		Cause:  "The entry cannot become the model's input: its bytes are not what its content type says, it does not fit the model's columns or shape, or it holds what is no number.",
		Remedy: "Put the entry again as the model takes it: `takes` and `metadata` of `GET /rest/v2/models/NAME` say how that is.",
	},
	codeRun: {
		Code:   "run_failed",
		Cause:  "The engine ran the model on the entry and failed; the message says at which operator.",
		Remedy: "Try the entry alone (`millrace pipeline try`), or the other engine. Once the model is repaired, replay the pipeline.",
	},
	codeLarge: {
		Code:   "too_large",
		Cause:  "The run on the entry alone needs more memory than a run may have, or its result has more bytes than an entry of the cache that gets it; the message names the limit.",
		Remedy: "Put a smaller entry, or raise the limit: `engines.native.max_tensor_bytes`, `engines.native.max_run_bytes`, or `max_entry_bytes` of the cache (8 MiB at most). Then replay the pipeline.",
	},
	codeTimeout: {
		Code:   "run_timeout",
		Cause:  "The model ran on the entry alone for longer than the pipeline's `run_timeout`.",
		Remedy: "Raise `run_timeout`, put a smaller entry, or use a faster model. Then replay the pipeline.",
	},
	codeOutput: {
		Code:   "bad_output",
		Cause:  "The model gave numbers of which no result can be made: a NaN, an infinite value, or another shape than it says.",
		Remedy: "Look at what the model gives (`millrace model run`), and at `output` in its metadata.",
	},
}

// FaultKinds returns every kind of fault that an error entry can have, in the order of docs/errors.md.
func FaultKinds() []FaultKind { return slices.Clone(faultKinds[:]) }

// movable reports whether the fault comes of the entry and the model alone.
func (f *fails) movable() bool { return slices.Contains(movable, f.code) }

func (c code) String() string { return faultKinds[c].Code }

// fails is why an item has no result.
type fails struct {
	code code
	err  error
}

// failed is what an item has whose run failed.
func failed(err error) *fails {
	switch {
	case errors.Is(err, ErrRunTimeout):
		return &fails{codeTimeout, err}
	case errors.Is(err, engine.ErrTooLarge):
		return &fails{codeLarge, err}
	}
	return &fails{codeRun, err}
}
