package oip

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

type scanner = jsontensor.Scanner

// newScanner returns one that reads as the protocol says. Null is NaN, which an answer has in its place.
func newScanner(data []byte) *scanner {
	return jsontensor.NewScanner(data, jsontensor.Dialect{Malformed: serve.ErrRequest, Shape: serve.ErrRequest, Null: true, Special: true})
}

// inferRequest is one request with the memory that it is read into; it is used again once it was answered.
type inferRequest struct {
	body    []byte    // as it came
	plain   []byte    // unpacked
	floats  []float32 // FP32 elements of JSON
	answer  []byte
	inputs  []input
	outputs []output
	tensors []*tensor.Tensor // by the model's order

	id     string
	hasID  bool
	binary bool // binary_data_output
	byName bool // outputs were named
}

// input is one input as the request gives it.
type input struct {
	name     string
	datatype string
	shape    []int
	hasShape bool
	data     int  // where data begins, -1 if it is not there
	size     int  // binary_data_size, -1 if it is not there
	done     bool // data was read already
	tensor   *tensor.Tensor
}

// output is one output that is asked for.
type output struct {
	name   string
	index  int // in the model's order
	binary bool
}

var requests = sync.Pool{New: func() any { return &inferRequest{} }}

// keptBytes is the largest memory that a request keeps for the next one.
const keptBytes = 1 << 20

func newRequest() *inferRequest { return requests.Get().(*inferRequest) }

// release gives the memory back. Nobody may use tensors of the request any more.
func (q *inferRequest) release() {
	if cap(q.body) > keptBytes || cap(q.plain) > keptBytes || cap(q.answer) > keptBytes || cap(q.floats) > keptBytes/4 {
		return
	}
	clear(q.inputs)
	clear(q.outputs)
	clear(q.tensors)
	*q = inferRequest{
		body: q.body[:0], plain: q.plain[:0], answer: q.answer[:0], floats: q.floats[:0], inputs: q.inputs[:0],
		outputs: q.outputs[:0], tensors: q.tensors[:0],
	}
	requests.Put(q)
}

func badRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %s", serve.ErrRequest, fmt.Sprintf(format, args...))
}

// split divides a body into its JSON and the binary part that Inference-Header-Content-Length tells of.
func split(head http.Header, body []byte) (json, binary []byte, err error) {
	v := head["Inference-Header-Content-Length"]
	if len(v) == 0 {
		return body, nil, nil
	}
	n, err := strconv.ParseUint(v[0], 10, 63)
	if err != nil || len(v) > 1 {
		return nil, nil, badRequest("header Inference-Header-Content-Length: %q is no length", v)
	}
	if n > uint64(len(body)) {
		return nil, nil, badRequest("header Inference-Header-Content-Length: %d, the body has %d bytes", n, len(body))
	}
	if n == 0 {
		return nil, nil, badRequest("header Inference-Header-Content-Length: 0: describe the input in JSON, a body of raw data alone is not taken")
	}
	return body[:n], body[n:], nil
}

// parse reads a request for a session with these inputs and outputs, and puts its tensors into the session's order.
func (q *inferRequest) parse(json, binary []byte, ins, outs []graph.Value) error {
	s := newScanner(json)
	if s.End() {
		return badRequest("the body is empty; send {\"inputs\":[...]}")
	}
	var seen fields
	hasInputs := false
	err := s.Object(func(name string) error {
		if err := seen.once(s, name); err != nil {
			return err
		}
		switch name {
		case "id":
			return q.parseID(s)
		case "parameters":
			return q.parseParameters(s)
		case "inputs":
			hasInputs = true
			return s.Array(func() error { return q.parseInput(s, ins) })
		case "outputs":
			if s.Null() {
				return nil
			}
			return s.Array(func() error { return q.parseOutput(s, outs) })
		}
		return s.Skip()
	})
	if err != nil {
		return err
	}
	if !s.End() {
		return s.Fault("something follows the request")
	}
	if !hasInputs {
		return badRequest("there is no \"inputs\"")
	}
	return q.resolve(s, binary, ins, outs)
}

// fields notes which known names an object has had, each of which may come once.
type fields uint16

var knownFields = [...]string{
	"id", "parameters", "inputs", "outputs", "name", "shape", "datatype", "data", "binary_data_size", "binary_data", "binary_data_output",
}

func (f *fields) once(s *scanner, name string) error {
	i := slices.Index(knownFields[:], name)
	if i < 0 {
		return nil
	}
	if *f&(1<<i) != 0 {
		return s.Fault("%q comes twice", name)
	}
	*f |= 1 << i
	return nil
}

func (q *inferRequest) parseID(s *scanner) (err error) {
	if s.Null() {
		return nil
	}
	q.id, err = s.Text()
	q.hasID = true
	return err
}

func (q *inferRequest) parseParameters(s *scanner) error {
	if s.Null() {
		return nil
	}
	var seen fields
	return s.Object(func(name string) (err error) {
		if err := seen.once(s, name); err != nil {
			return err
		}
		if name == "binary_data_output" {
			q.binary, err = s.Bool()
			return err
		}
		return s.Skip()
	})
}

func (q *inferRequest) parseInput(s *scanner, ins []graph.Value) error {
	in := input{data: -1, size: -1}
	var seen fields
	err := s.Object(func(name string) (err error) {
		if err := seen.once(s, name); err != nil {
			return err
		}
		switch name {
		case "name":
			in.name, err = s.Text()
		case "datatype":
			in.datatype, err = s.Text()
		case "shape":
			in.shape, err = s.Shape()
			in.hasShape = true
		case "data":
			err = q.parseData(s, &in, ins)
		case "parameters":
			err = in.parseParameters(s)
		default:
			err = s.Skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	if in.name == "" {
		return s.Fault("an input has no name")
	}
	q.inputs = append(q.inputs, in)
	return nil
}

// parseData reads data at once where everything that it needs came before it, and later otherwise.
func (q *inferRequest) parseData(s *scanner, in *input, ins []graph.Value) error {
	s.Peek()
	in.data = s.Pos()
	if in.name == "" || in.datatype == "" || !in.hasShape {
		return s.Skip()
	}
	v, err := declared(in, ins)
	if err != nil {
		return err
	}
	in.tensor, err = s.Data(v.DType, in.shape, &q.floats)
	in.done = true
	return in.named(err)
}

func (in *input) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("input %q: %w", in.name, err)
}

// declared finds an input among the model's, and holds its datatype against it.
func declared(in *input, ins []graph.Value) (graph.Value, error) {
	i := slices.IndexFunc(ins, func(v graph.Value) bool { return v.Name == in.name })
	if i < 0 {
		return graph.Value{}, badRequest("there is no input %q; the model takes %s", in.name, list(ins))
	}
	v := ins[i]
	d := parseDatatype(in.datatype)
	if d == tensor.Invalid {
		return v, badRequest("input %q: %q is no datatype", in.name, in.datatype)
	}
	if v.DType == tensor.Invalid {
		v.DType = d
	}
	if d != v.DType {
		return v, badRequest("input %q must be %s, not %s", in.name, datatypeOf(v.DType), in.datatype)
	}
	return v, nil
}

func list(vs []graph.Value) string {
	var out []byte
	for i, v := range vs {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = fmt.Appendf(out, "%s %s%v", v.Name, datatypeOf(v.DType), v.Shape)
	}
	return string(out)
}

func (in *input) parseParameters(s *scanner) error {
	if s.Null() {
		return nil
	}
	var seen fields
	return s.Object(func(name string) error {
		if err := seen.once(s, name); err != nil {
			return err
		}
		switch name {
		case "binary_data_size":
			mag, neg, err := s.Integer()
			if err == nil && (neg || mag > math.MaxInt32) {
				err = s.Fault("binary_data_size is out of range")
			}
			in.size = int(mag)
			return err
		case "shared_memory_region":
			return s.Fault("shared memory is not served here")
		}
		return s.Skip()
	})
}

func (q *inferRequest) parseOutput(s *scanner, outs []graph.Value) error {
	var out output
	asked := 0 // 1: binary_data false, 2: true
	var seen fields
	err := s.Object(func(name string) (err error) {
		if err := seen.once(s, name); err != nil {
			return err
		}
		switch name {
		case "name":
			out.name, err = s.Text()
			return err
		case "parameters":
			asked, err = parseOutputParameters(s)
			return err
		}
		return s.Skip()
	})
	if err != nil {
		return err
	}
	out.index = slices.IndexFunc(outs, func(v graph.Value) bool { return v.Name == out.name })
	if out.index < 0 {
		return badRequest("there is no output %q; the model gives %s", out.name, list(outs))
	}
	if slices.ContainsFunc(q.outputs, func(o output) bool { return o.name == out.name }) {
		return badRequest("output %q is asked for twice", out.name)
	}
	out.binary = asked == 2
	if asked == 0 {
		out.index = -1 - out.index // takes the request's default, which may come later
	}
	q.outputs = append(q.outputs, out)
	return nil
}

func parseOutputParameters(s *scanner) (asked int, err error) {
	if s.Null() {
		return 0, nil
	}
	var seen fields
	err = s.Object(func(name string) error {
		if err := seen.once(s, name); err != nil {
			return err
		}
		switch name {
		case "binary_data":
			yes, err := s.Bool()
			asked = 1
			if yes {
				asked = 2
			}
			return err
		case "classification", "shared_memory_region":
			return s.Fault("output parameter %q is not served here", name)
		}
		return s.Skip()
	})
	return asked, err
}

// resolve reads the data that could not be read on the way, and puts all into the model's order.
func (q *inferRequest) resolve(s *scanner, binary []byte, ins, outs []graph.Value) error {
	for i := range q.inputs {
		in := &q.inputs[i]
		if slices.ContainsFunc(q.inputs[:i], func(o input) bool { return o.name == in.name }) {
			return badRequest("input %q comes twice", in.name)
		}
		v, err := declared(in, ins)
		switch {
		case err != nil:
			return err
		case !in.hasShape:
			return badRequest("input %q has no shape", in.name)
		case in.data >= 0 && in.size >= 0:
			return badRequest("input %q has both data and binary_data_size", in.name)
		case in.data < 0 && in.size < 0:
			return badRequest("input %q has neither data nor binary_data_size", in.name)
		case in.size > len(binary):
			return badRequest("input %q: binary_data_size is %d, %d bytes are left", in.name, in.size, len(binary))
		case in.size >= 0:
			in.tensor, err = readBinary(binary[:in.size], v.DType, in.shape)
			binary = binary[in.size:]
		case !in.done:
			in.tensor, err = s.At(in.data).Data(v.DType, in.shape, &q.floats)
		}
		if err != nil {
			return in.named(err)
		}
	}
	if len(binary) > 0 {
		return badRequest("%d bytes are left after the last input's data", len(binary))
	}
	for _, v := range ins {
		i := slices.IndexFunc(q.inputs, func(in input) bool { return in.name == v.Name })
		if i < 0 {
			return badRequest("input %q is missing; the model takes %s", v.Name, list(ins))
		}
		q.tensors = append(q.tensors, q.inputs[i].tensor)
	}
	q.byName = len(q.outputs) > 0
	if !q.byName {
		for i, v := range outs {
			q.outputs = append(q.outputs, output{name: v.Name, index: -1 - i})
		}
	}
	for i := range q.outputs {
		if out := &q.outputs[i]; out.index < 0 {
			out.index, out.binary = -1-out.index, q.binary
		}
	}
	return checkShapes(q.tensors, ins)
}

// checkShapes holds the tensors against the model: its dimensions, and one batch for all inputs.
func checkShapes(tensors []*tensor.Tensor, ins []graph.Value) error {
	if err := engine.CheckInputs(ins, tensors); err != nil {
		return err
	}
	rows := -1
	for i, v := range ins {
		if len(v.Shape) == 0 || v.Shape[0].Known() {
			continue
		}
		got := tensors[i].Shape()[0]
		if rows >= 0 && got != rows {
			return badRequest("input %q has %d rows and those before it %d", v.Name, got, rows)
		}
		rows = got
	}
	return nil
}
