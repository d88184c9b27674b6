package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
)

// Where a new pipeline begins, and what it does with the result of an entry that was removed.
const (
	StartAll     = "all"
	StartNew     = "new"
	RemoveResult = "remove"
	KeepResult   = "keep"
)

// Whether other nodes of the grid run batches of a pipeline.
const (
	// SpreadAuto has nodes that have time run batches while the engine of the partition's owner is the limit.
	SpreadAuto = "auto"
	// SpreadNever has each owner run its own.
	SpreadNever = "never"
)

// Limits of a configuration.
const (
	// DefaultBatch is the batch size where the configuration has none, and MaxBatch the largest.
	DefaultBatch = 256
	MaxBatch     = 4096
	// DefaultTop is how many scores a result has at most.
	DefaultTop = 20
	// MaxTop is the most that a configuration may ask for.
	MaxTop = 1000
	// MaxCarry is how many fields of the input a result has at most.
	MaxCarry = 100
	// DefaultRunTimeout is how long a batch may run where the configuration does not say, and MaxRunTimeout the most that it may say.
	DefaultRunTimeout = 30 * time.Second
	MaxRunTimeout     = 24 * time.Hour
)

// Config describes a pipeline.
type Config struct {
	Name string
	// From is the cache that is read, To the one that is written, Errors the one for inputs that cannot be
	// processed ("<Name>-errors" if empty).
	From, To, Errors string
	// Model is the model's name and Version a fixed version of it; 0 follows the newest.
	Model   string
	Version int64
	// MaxBatch is how many entries run together at most; DefaultBatch if 0.
	MaxBatch int
	// Start is StartAll (if empty) or StartNew.
	Start string
	// OnRemove is RemoveResult (if empty) or KeepResult.
	OnRemove string
	// Top is how many scores a result has where the model has more labels; DefaultTop if 0.
	Top int
	// Carry are fields of the input, a JSON object or CSV with a header, that the result and the error entry have too.
	Carry []string
	// RunTimeout is how long the model may run on a batch; DefaultRunTimeout if 0.
	RunTimeout time.Duration
	// MaxLag is how long the oldest input may wait before the node that runs the pipeline is not ready; 0 is no limit.
	MaxLag time.Duration
	// SharesTarget says that other pipelines which say so too may write the same caches: their keys are never the same.
	SharesTarget bool
	// Spread is SpreadAuto (if empty) or SpreadNever.
	Spread string
	Logger *slog.Logger
}

// ErrConfig says that a configuration cannot be used; the message has every fault.
var ErrConfig = errors.New("pipeline configuration is not valid")

const nameHint = "a name has 1 to 64 letters, digits, _ and -"

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// WithDefaults fills in what is left out.
func (c Config) WithDefaults() Config {
	if c.Errors == "" {
		c.Errors = c.Name + "-errors"
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = DefaultBatch
	}
	if c.Start == "" {
		c.Start = StartAll
	}
	if c.OnRemove == "" {
		c.OnRemove = RemoveResult
	}
	if c.Spread == "" {
		c.Spread = SpreadAuto
	}
	if c.Top == 0 {
		c.Top = DefaultTop
	}
	if c.RunTimeout == 0 {
		c.RunTimeout = DefaultRunTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports every fault of a configuration, whose defaults count, at once: an ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var l fault.Errors
	l.Check(nameRule.MatchString(c.Name), "name", "%q: %s", c.Name, nameHint)
	for _, f := range []struct{ key, value string }{{"from", c.From}, {"model", c.Model}, {"to", c.To}, {"errors", c.Errors}} {
		switch {
		case f.value == "":
			l.Add(f.key, "is required")
		case f.key == "model": // the registry knows which names are a model's
		case grid.IsSystem(f.value):
			l.Add(f.key, "%q: names that begin with _ are the system's", f.value)
		default:
			l.Check(nameRule.MatchString(f.value), f.key, "%q: %s", f.value, nameHint)
		}
	}
	l.Check(c.From == "" || c.To != c.From, "to", "must be another cache than from: the pipeline would feed itself")
	l.Check(c.Errors != c.To, "errors", "must be another cache than to")
	l.Check(c.Errors != c.From, "errors", "must be another cache than from")
	l.Check(c.Version >= 0, "version", "%d must be at least 0", c.Version)
	l.Check(c.MaxBatch >= 1 && c.MaxBatch <= MaxBatch, "max_batch", "%d must be from 1 to %d", c.MaxBatch, MaxBatch)
	l.Check(c.Start == StartAll || c.Start == StartNew, "start", "%q must be one of %s, %s", c.Start, StartAll, StartNew)
	l.Check(c.OnRemove == RemoveResult || c.OnRemove == KeepResult, "on_remove", "%q must be one of %s, %s", c.OnRemove, RemoveResult, KeepResult)
	l.Check(c.Spread == SpreadAuto || c.Spread == SpreadNever, "spread", "%q must be one of %s, %s", c.Spread, SpreadAuto, SpreadNever)
	l.Check(c.Top >= 1 && c.Top <= MaxTop, "top", "%d must be from 1 to %d", c.Top, MaxTop)
	l.Check(len(c.Carry) <= MaxCarry, "carry", "%d names are more than %d", len(c.Carry), MaxCarry)
	for i, name := range c.Carry {
		l.Check(name != "" && utf8.ValidString(name), fmt.Sprintf("carry[%d]", i), "%q is no field's name", name)
		l.Check(!slices.Contains(c.Carry[:i], name), fmt.Sprintf("carry[%d]", i), "%q is there twice", name)
	}
	l.Check(c.RunTimeout > 0 && c.RunTimeout <= MaxRunTimeout, "run_timeout", "%v must be more than 0 and at most %v", c.RunTimeout, MaxRunTimeout)
	l.Check(c.MaxLag >= 0, "max_lag", "%v must not be negative", c.MaxLag)
	if err := l.Err(); err != nil {
		return fmt.Errorf("pipeline %s: %w: %w", c.Name, ErrConfig, err)
	}
	return nil
}

func (c Config) start() grid.Start {
	if c.Start == StartNew {
		return grid.StartNew
	}
	return grid.StartAll
}
