package onnx

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Encode returns the model as an ONNX file with all data inside. The same graph gives the same bytes, and reading
// and writing them again gives them once more. Where g leaves its opset of ONNX's own domain out, it is
// graph.LowestOpset; where it leaves the IR version out, it is the one that came with that opset. Domains that nodes
// use and g.Opset lacks are written with version 1.
func Encode(g *graph.Graph) ([]byte, error) {
	e, err := encode(g)
	if err != nil {
		return nil, err
	}
	file := make([]byte, 0, e.size())
	for part := range e.parts() {
		file = append(file, part...)
	}
	return file, nil
}

// encode writes the file but for the elements of large tensors, which are only referred to.
func encode(g *graph.Graph) (*encoder, error) {
	opset := opsetOf(g)
	ir := g.IRVersion
	if ir == 0 {
		ir = irOf(g, opset[graph.OnnxDomain])
	}
	e := &encoder{buf: make([]byte, 0, 4096+128*len(g.Nodes)), model: g, opset: opset}
	e.int(1, ir)
	producer := g.Producer
	if producer == "" {
		producer = "millrace"
	}
	e.str(2, producer)
	e.message(7, func() { e.graph(g) })
	e.opsets(8, opset)
	for _, key := range slices.Sorted(maps.Keys(g.Metadata)) {
		e.pair(14, key, g.Metadata[key])
	}
	for _, f := range g.Functions {
		e.message(25, func() { e.function(f) })
	}
	if e.err != nil {
		return nil, fmt.Errorf("encode model: %w", e.err)
	}
	if e.size() > math.MaxInt32 {
		return nil, fmt.Errorf("encode model: %d bytes; a protobuf file holds at most %d", e.size(), math.MaxInt32)
	}
	return e, nil
}

// EncodeTensor returns a single tensor as DecodeTensor reads it.
func EncodeTensor(name string, t *tensor.Tensor) ([]byte, error) {
	e := &encoder{}
	e.tensor(name, t)
	if e.err != nil {
		return nil, fmt.Errorf("encode tensor: %w", e.err)
	}
	return slices.Concat(slices.Collect(e.parts())...), nil
}

// opsetOf returns the versions of all domains that g uses.
func opsetOf(g *graph.Graph) map[string]int64 {
	opset := map[string]int64{}
	for domain, version := range g.Opset {
		if version > 0 {
			opset[domain] = version
		}
	}
	use := func(n *graph.Node) {
		if _, ok := opset[n.Domain]; !ok {
			opset[n.Domain] = 1
			if n.Domain == graph.OnnxDomain {
				opset[n.Domain] = graph.LowestOpset(g)
			}
		}
	}
	graph.Walk(g.Nodes, use)
	for _, f := range g.Functions {
		if _, ok := opset[f.Domain]; !ok {
			opset[f.Domain] = 1
		}
		graph.Walk(f.Nodes, use)
	}
	if len(opset) == 0 {
		opset[graph.OnnxDomain] = graph.LowestOpset(g)
	}
	return opset
}

// irOf returns the IR version that came with the opset, or the newer one that g's functions need.
func irOf(g *graph.Graph, opset int64) int64 {
	ir := int64(8)
	for _, step := range [...]struct{ opset, ir int64 }{{19, 9}, {21, 10}, {23, 11}, {24, 12}, {25, 13}} {
		if opset >= step.opset {
			ir = step.ir
		}
	}
	for _, f := range g.Functions {
		if len(f.Defaults) > 0 {
			ir = max(ir, 9)
		}
	}
	return ir
}

// encoder appends protobuf fields. The first error stays in err.
type encoder struct {
	buf   []byte
	large []large // what stands between parts of buf, in order
	extra int     // the bytes of that
	model *graph.Graph
	opset map[string]int64
	f     *graph.Function // whose body is being written; nil outside
	err   error
}

// large is the elements of a tensor, which are not copied: they come before byte at of the encoder's own.
type large struct {
	at   int
	data []byte
}

func (e *encoder) size() int { return len(e.buf) + e.extra }

// parts gives the bytes of the file in order.
func (e *encoder) parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		from := 0
		for _, l := range e.large {
			if !yield(e.buf[from:l.at]) || !yield(l.data) {
				return
			}
			from = l.at
		}
		yield(e.buf[from:])
	}
}

// elements writes a field of a tensor's bytes.
func (e *encoder) elements(num protowire.Number, data []byte) {
	const small = 4096
	e.buf = protowire.AppendTag(e.buf, num, protowire.BytesType)
	if len(data) < small {
		e.buf = protowire.AppendBytes(e.buf, data)
		return
	}
	e.buf = protowire.AppendVarint(e.buf, uint64(len(data)))
	e.large = append(e.large, large{len(e.buf), data})
	e.extra += len(data)
}

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

func (e *encoder) int(num protowire.Number, v int64) {
	e.buf = protowire.AppendTag(e.buf, num, protowire.VarintType)
	e.buf = protowire.AppendVarint(e.buf, uint64(v))
}

func (e *encoder) str(num protowire.Number, v string) {
	e.buf = protowire.AppendTag(e.buf, num, protowire.BytesType)
	e.buf = protowire.AppendString(e.buf, v)
}

// opt writes a string that is not empty.
func (e *encoder) opt(num protowire.Number, v string) {
	if v != "" {
		e.str(num, v)
	}
}

func (e *encoder) float(num protowire.Number, v float32) {
	e.buf = protowire.AppendTag(e.buf, num, protowire.Fixed32Type)
	e.buf = protowire.AppendFixed32(e.buf, math.Float32bits(v))
}

// message writes a field whose content write appends. The length goes before it afterwards: one byte is kept for it,
// and the content moves where it needs more.
func (e *encoder) message(num protowire.Number, write func()) {
	e.buf = protowire.AppendTag(e.buf, num, protowire.BytesType)
	e.buf = append(e.buf, 0)
	start, larges, extra := len(e.buf), len(e.large), e.extra
	write()
	own := len(e.buf) - start
	n := own + e.extra - extra
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 {
		e.buf = append(e.buf, make([]byte, more)...)
		copy(e.buf[start+more:], e.buf[start:start+own])
		for i := larges; i < len(e.large); i++ {
			e.large[i].at += more
		}
	}
	protowire.AppendVarint(e.buf[:start-1], uint64(n))
}

func (e *encoder) pair(num protowire.Number, key, value string) {
	e.message(num, func() {
		e.str(1, key)
		e.str(2, value)
	})
}

func (e *encoder) opsets(num protowire.Number, opset map[string]int64) {
	for _, domain := range slices.Sorted(maps.Keys(opset)) {
		e.message(num, func() {
			e.str(1, domain)
			e.int(2, opset[domain])
		})
	}
}

func (e *encoder) graph(g *graph.Graph) {
	for _, n := range g.Nodes {
		e.message(1, func() { e.node(n) })
	}
	name := g.Name
	if name == "" {
		name = "graph" // ONNX asks for one
	}
	e.str(2, name)
	for _, in := range g.Initializers {
		e.message(5, func() { e.tensor(in.Name, in.Tensor) })
	}
	e.opt(10, g.Doc)
	for i := range g.Inputs {
		e.message(11, func() { e.value(&g.Inputs[i]) })
	}
	for i := range g.Outputs {
		e.message(12, func() { e.value(&g.Outputs[i]) })
	}
	for i := range g.Values {
		if g.Values[i].DType.Valid() {
			e.message(13, func() { e.value(&g.Values[i]) })
		}
	}
}

func (e *encoder) node(n *graph.Node) {
	for _, name := range n.Inputs {
		e.str(1, name)
	}
	for _, name := range n.Outputs {
		e.str(2, name)
	}
	e.opt(3, n.Name)
	e.str(4, n.OpType)
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		e.message(5, func() { e.attribute(n.Op(), name, n.Attrs[name]) })
	}
	e.opt(6, n.Doc)
	e.opt(7, n.Domain)
}

func (e *encoder) value(v *graph.Value) {
	e.str(1, v.Name)
	if v.DType.Valid() {
		e.message(2, func() { e.typ(v, v.Container) })
	}
	e.opt(3, v.Doc)
}

func (e *encoder) function(f *graph.Function) {
	e.str(1, f.Name)
	for _, name := range f.Inputs {
		e.str(4, name)
	}
	for _, name := range f.Outputs {
		e.str(5, name)
	}
	for _, name := range f.Attrs {
		e.str(6, name)
	}
	e.f = f
	for _, n := range f.Nodes {
		e.message(7, func() { e.node(n) })
	}
	e.f = nil
	e.opt(8, f.Doc)
	opset := f.Opset
	if len(opset) == 0 {
		opset = e.opset
	}
	e.opsets(9, opset)
	e.str(10, f.Domain)
	for _, name := range slices.Sorted(maps.Keys(f.Defaults)) {
		e.message(11, func() { e.attribute(f.Name, name, f.Defaults[name]) })
	}
}
