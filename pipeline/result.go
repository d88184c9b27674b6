package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// contentType of results and error entries.
const contentType = "application/json"

// An item is one entry on its way through a pipeline.
type item struct {
	source grid.Entry
	stamp  time.Time // of the source's message; of what is made again, when it was given out
	gone   bool      // the source was removed or expired
	again  bool      // the pipeline was moved back over it: a result that is there is made once more
	known  bool      // what was made of it, or of something newer, is stored already
	left   bool      // this node does not own its partition, or not yet: it is to be given out again
	value  []byte    // the result, but for its end
	fails  *fails
	large  error // why the target does not take the value
	short  bool  // the error entry is to be short
}

// Source says which entry a result comes from.
type Source struct {
	Cache    string        `json:"cache"`
	Key      grid.JSONKey  `json:"key"`
	Revision grid.Revision `json:"revision"`
}

// Result is the JSON form of a result, for those who read one. A classifier's has label, score and scores, a regression's value, any other
// model's has outputs, each with name, datatype, shape and data as in the Open Inference Protocol.
type Result struct {
	// Value is a regression's number, of Target and in Unit where the model names them.
	Value   *float64           `json:"value,omitempty"`
	Target  string             `json:"target,omitempty"`
	Unit    string             `json:"unit,omitempty"`
	Label   string             `json:"label,omitempty"`
	Score   float64            `json:"score,omitempty"`
	Scores  map[string]float64 `json:"scores,omitempty"`
	Outputs json.RawMessage    `json:"outputs,omitempty"`
	Error   string             `json:"error,omitempty"`
	Code    string             `json:"code,omitempty"`
	Model   string             `json:"model"`
	Version int64              `json:"version"`
	// Pipeline is the one that made it.
	Pipeline string `json:"pipeline"`
	Source   Source `json:"source"`
	// Carry has the fields of the input that the pipeline's configuration names, as far as they were there.
	Carry     json.RawMessage `json:"carry,omitempty"`
	LatencyUS int64           `json:"latency_us"`
}

// encode writes an item's result but for its latency, which is known when it is published.
func (p *plan) encode(it *item, outputs []*tensor.Tensor, i, n int) ([]byte, error) {
	b := make([]byte, 0, 512)
	switch {
	case p.number >= 0:
		if err := model.Row(p.row, outputs[p.number], i, n); err != nil {
			return nil, err
		}
		v := float64(p.row[0])
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("output %q: %w: %v", p.outputs[p.number].Name, media.ErrNotFinite, v)
		}
		b = append(appendFloat(append(b, `{"value":`...), p.row[0]), p.end...)
	case p.labels == nil:
		b = append(b, `{"outputs":`...)
		var err error
		if b, err = p.appendOutputs(b, outputs, i, n); err != nil {
			return nil, err
		}
	default:
		if err := model.Row(p.row, outputs[p.scores.Output], i, n); err != nil {
			return nil, err
		}
		if err := p.scores.Probabilities(p.row); err != nil {
			return nil, fmt.Errorf("output %q: %w", p.outputs[p.scores.Output].Name, err)
		}
		b = p.appendScores(b)
	}
	return p.appendSource(b, it), nil
}

func (p *plan) appendScores(b []byte) []byte {
	best := 0
	for i, s := range p.row {
		if s > p.row[best] {
			best = i
		}
	}
	b = append(b, `{"label":`...)
	b = append(b, p.quoted[best][:len(p.quoted[best])-1]...)
	b = append(b, `,"score":`...)
	b = appendFloat(b, p.row[best])
	b = append(b, `,"scores":{`...)
	if len(p.row) <= p.top {
		for i, s := range p.row {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendFloat(append(b, p.quoted[i]...), s)
		}
		return append(b, '}')
	}
	for i := range p.order {
		p.order[i] = i
	}
	slices.SortStableFunc(p.order, func(a, c int) int {
		switch {
		case p.row[a] > p.row[c]:
			return -1
		case p.row[a] < p.row[c]:
			return 1
		}
		return 0
	})
	for j, i := range p.order[:p.top] {
		if j > 0 {
			b = append(b, ',')
		}
		b = appendFloat(append(b, p.quoted[i]...), p.row[i])
	}
	return append(b, '}')
}

// appendOutputs writes item i of n of each output; outputs without a dimension of items go whole.
func (p *plan) appendOutputs(b []byte, outputs []*tensor.Tensor, i, n int) ([]byte, error) {
	b = append(b, '[')
	for j, t := range outputs {
		if p.batched && n > 1 || p.free {
			if t.Rank() == 0 || t.Shape()[0] != n {
				return nil, fmt.Errorf("output %q has shape %v for a batch of %d", p.outputs[j].Name, t.Shape(), n)
			}
			var err error
			if t, err = t.Slice(i, i+1); err != nil {
				return nil, err
			}
		}
		if err := media.CheckNaN(t); err != nil {
			return nil, fmt.Errorf("output %q: %w", p.outputs[j].Name, err)
		}
		if j > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = media.AppendJSON(b, p.outputs[j].Name, t); err != nil {
			return nil, fmt.Errorf("output %q: %w", p.outputs[j].Name, err)
		}
	}
	return append(b, ']'), nil
}

func (p *plan) appendSource(b []byte, it *item) []byte {
	b = append(b, `,"model":`...)
	b = appendString(b, p.model.Name)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, p.model.Version, 10)
	b = append(b, `,"pipeline":`...)
	b = appendString(b, p.name)
	if len(p.carry) > 0 && !it.short {
		if carried := media.Fields(it.source.ContentType, it.source.Value, p.carry); carried != nil {
			b = append(append(b, `,"carry":`...), carried...)
		}
	}
	b = append(b, `,"source":{"cache":`...)
	b = appendString(b, it.source.Cache)
	b = append(b, `,"key":`...)
	b = grid.JSONKey(it.source.Key).AppendJSON(b)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, uint64(it.source.Revision), 10)
	return append(b, '}')
}

// finish adds the time from the item's stamp to now, and ends the object.
func (it *item) finish(now time.Time) []byte {
	b := append(it.value, `,"latency_us":`...)
	b = strconv.AppendInt(b, max(0, now.Sub(it.stamp).Microseconds()), 10)
	return append(b, '}')
}

// mostShort is how many bytes of its message a short error entry has.
const mostShort = 256

// encodeError writes an item's error entry but for its latency. A short one has the beginning of the message, and nothing that is carried.
func (p *plan) encodeError(it *item) []byte {
	text := it.fails.err.Error()
	if it.short && len(text) > mostShort {
		text = strings.ToValidUTF8(text[:mostShort], "") + " ..."
	}
	b := append([]byte{}, `{"error":`...)
	b = appendString(b, text)
	b = append(b, `,"code":`...)
	b = appendString(b, it.fails.code.String())
	return p.appendSource(b, it)
}

// appendFloat writes a probability with the fewest digits that read back as the same float32.
func appendFloat(b []byte, f float32) []byte {
	if math.IsInf(float64(f), 0) {
		return append(b, `null`...) // JSON has no infinity, and a probability is none
	}
	return strconv.AppendFloat(b, float64(f), 'g', -1, 32)
}

// appendString writes a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // strings always marshal
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func isClosed(err error) bool { return errors.Is(err, engine.ErrClosed) }

func isBusy(err error) bool { return errors.Is(err, engine.ErrBusy) }

// passes reports whether a run's error is no input's fault and goes by itself.
func passes(err error) bool { return isClosed(err) || isBusy(err) }
