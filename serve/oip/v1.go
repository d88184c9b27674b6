package oip

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

// modelV1 answers KServe's protocol v1: GET /v1/models/NAME and POST /v1/models/NAME:predict in row format, for models
// whose first dimension counts rows.
func (h *Handler) modelV1(w http.ResponseWriter, r *http.Request, path string) {
	escaped, predict := strings.CutSuffix(path, ":predict")
	name, err := url.PathUnescape(escaped)
	if err == nil && strings.Contains(escaped, "/") {
		err = serve.NoRoute(r)
	}
	switch {
	case err != nil:
	case predict && r.Method != http.MethodPost:
		serve.MethodNotAllowed(w, r, http.MethodPost)
		return
	case !predict && !serve.Reads(w, r):
		return
	default:
		err = h.answerV1(w, r, name, predict)
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

func (h *Handler) answerV1(w http.ResponseWriter, r *http.Request, name string, predict bool) error {
	lent, err := h.acquire(r.Context(), name, 0)
	if err != nil {
		return err
	}
	defer lent.Release()
	if !predict {
		serve.WriteJSON(w, r, http.StatusOK, readyInfo{name, true})
		return nil
	}
	return h.predict(w, r, lent)
}

// predict answers {"instances":[...]}: each is a row of the only input, or an object of rows by input.
func (h *Handler) predict(w http.ResponseWriter, r *http.Request, lent *registry.Handle) error {
	q := newRequest()
	body, err := h.read(w, r, q)
	if err != nil {
		return err
	}
	s := lent.Session()
	table, err := tableOf(lent.Model())
	if err != nil {
		return err
	}
	if err := q.parseInstances(body, s.Inputs(), table); err != nil {
		return err
	}
	results, err := h.run(r.Context(), lent, q)
	if err != nil {
		return err
	}
	if q.answer, err = appendPredictions(q.answer[:0], s.Outputs(), results, q.tensors[0].Shape()[0]); err != nil {
		return err
	}
	write(w, r, q.answer, 0)
	q.release()
	return nil
}

// tableOf returns what reads rows by the columns of a model; nil where it has none.
func tableOf(m *model.Model) (*media.Decoder, error) {
	if len(m.Columns) == 0 {
		return nil, nil
	}
	spec, err := m.Spec()
	if err != nil {
		return nil, err
	}
	return media.NewDecoder(spec)
}

// rows collects one input's rows.
type rows struct {
	value graph.Value
	parts []*tensor.Tensor
}

// parseInstances reads the rows; table, where it is there, takes objects by the columns' names and lists of their values.
func (q *inferRequest) parseInstances(body []byte, ins []graph.Value, table *media.Decoder) error {
	all := make([]rows, len(ins))
	for i, v := range ins {
		if len(v.Shape) == 0 || len(datatypes[v.DType]) == 0 {
			return badRequest("the model takes %s, which has no rows; use /v2", list(ins))
		}
		all[i].value = v
	}
	s := newScanner(body)
	found := false
	err := s.Object(func(name string) error {
		if name != "instances" {
			return s.Skip()
		}
		if found {
			return s.Fault("%q comes twice", name)
		}
		found = true
		return s.Array(func() error {
			if table != nil && !namesInput(s, all[0].value.Name, table) {
				return parseColumns(s, &all[0], table)
			}
			return q.parseInstance(s, all)
		})
	})
	if err != nil {
		return err
	}
	if !s.End() {
		return s.Fault("something follows the request")
	}
	if !found || len(all) == 0 || len(all[0].parts) == 0 {
		return badRequest("there is no \"instances\" with a row in it")
	}
	for i := range all {
		t, err := tensor.Concat(all[i].parts...)
		if err != nil {
			return fmt.Errorf("%w: %w", serve.ErrRequest, err)
		}
		q.tensors = append(q.tensors, t)
	}
	return engine.CheckInputs(ins, q.tensors)
}

// namesInput reports whether an instance is an object by the input's name, which is no column.
func namesInput(s *scanner, input string, table *media.Decoder) bool {
	if s.Peek() != '{' || slices.ContainsFunc(table.Spec().Columns, func(c media.Column) bool { return c.Name == input }) {
		return false
	}
	found := false
	look := s.At(s.Pos())
	err := look.Object(func(name string) error {
		found = found || name == input
		return look.Skip()
	})
	return err == nil && found
}

// parseColumns reads one row of a table.
func parseColumns(s *scanner, r *rows, table *media.Decoder) error {
	s.Peek()
	at := s.Pos()
	if err := s.Skip(); err != nil {
		return err
	}
	t, err := table.Decode("application/json", s.Since(at))
	if err != nil {
		return fmt.Errorf("%w: instance %d: %w", serve.ErrRequest, len(r.parts), err)
	}
	if t, err = t.Reshape(append([]int{1}, t.Shape()...)...); err != nil {
		return err
	}
	r.parts = append(r.parts, t)
	return nil
}

func (q *inferRequest) parseInstance(s *scanner, all []rows) error {
	if s.Peek() != '{' {
		if len(all) != 1 {
			return s.Fault("an instance must be an object of the inputs' names")
		}
		return q.parseRow(s, &all[0])
	}
	before := len(all[0].parts)
	err := s.Object(func(name string) error {
		i := slices.IndexFunc(all, func(r rows) bool { return r.value.Name == name })
		if i < 0 {
			return s.Fault("there is no input %q", name)
		}
		return q.parseRow(s, &all[i])
	})
	for i := range all {
		if err == nil && len(all[i].parts) != before+1 {
			err = s.Fault("an instance must have input %q once", all[i].value.Name)
		}
	}
	return err
}

// parseRow reads one row. Dimensions that the model leaves open are as the nesting says.
func (q *inferRequest) parseRow(s *scanner, r *rows) error {
	shape := []int{1}
	seen, err := sizes(s)
	if err != nil {
		return err
	}
	for i, d := range r.value.Shape[1:] {
		switch {
		case d.Known():
			shape = append(shape, int(d.Size))
		case i < len(seen):
			shape = append(shape, seen[i])
		default:
			return s.Fault("an instance of input %q is nested less deep than %v", r.value.Name, r.value.Shape)
		}
	}
	// A row is data without the outermost brackets.
	at := s.Pos()
	if err := s.Skip(); err != nil {
		return err
	}
	row := s.Since(at)
	text := append(append(append(make([]byte, 0, len(row)+2), '['), row...), ']')
	t, err := newScanner(text).Data(r.value.DType, shape, &q.floats)
	if err != nil {
		return fmt.Errorf("instance %d of input %q: %w", len(r.parts), r.value.Name, err)
	}
	if len(r.parts) > 0 && !slices.Equal(r.parts[0].Shape(), t.Shape()) {
		return s.Fault("instances of input %q have different shapes", r.value.Name)
	}
	r.parts = append(r.parts, t)
	return nil
}

// sizes looks at nested arrays and returns the length of the first one on each level; the scanner stays.
func sizes(s *scanner) ([]int, error) {
	var out []int
	for look := s; look.Peek() == '[' && len(out) < jsontensor.MaxRank; {
		level := s.At(look.Pos())
		look = s.At(look.Pos() + 1)
		n := 0
		if err := level.Array(func() error { n++; return level.Skip() }); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// appendPredictions writes {"predictions":[...]}: bare rows for one output, objects for several.
func appendPredictions(b []byte, outs []graph.Value, results []*tensor.Tensor, n int) ([]byte, error) {
	for i, t := range results {
		if _, ok := datatypes[t.DType()]; !ok || t.Rank() == 0 || t.Shape()[0] != n || jsontensor.NotText(t) >= 0 {
			return b, badRequest("output %q, %v%v, has no form of rows; use /v2", outs[i].Name, t.DType(), t.Shape())
		}
	}
	b = append(b, `{"predictions":[`...)
	for row := range n {
		if row > 0 {
			b = append(b, ',')
		}
		for i, t := range results {
			one, err := t.Slice(row, row+1)
			if err != nil {
				return b, err
			}
			if len(results) > 1 {
				sep := byte(',')
				if i == 0 {
					sep = '{'
				}
				b = append(jsontensor.AppendString(append(b, sep), outs[i].Name), ':')
			}
			if b, err = appendNested(b, one, one.Shape()[1:]); err != nil {
				return b, err
			}
		}
		if len(results) > 1 {
			b = append(b, '}')
		}
	}
	return append(b, "]}"...), nil
}

// appendNested writes the elements of t nested as shape says.
func appendNested(b []byte, t *tensor.Tensor, shape []int) ([]byte, error) {
	if len(shape) == 0 {
		flat := jsontensor.Append(nil, t)
		return append(b, flat[1:len(flat)-1]...), nil
	}
	if len(shape) == 1 {
		return jsontensor.Append(b, t), nil
	}
	parts, err := t.Reshape(shape...)
	if err != nil {
		return b, err
	}
	b = append(b, '[')
	for i := range shape[0] {
		if i > 0 {
			b = append(b, ',')
		}
		one, err := parts.Slice(i, i+1)
		if err != nil {
			return b, err
		}
		if b, err = appendNested(b, one, shape[1:]); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}
