package native_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// seedModels are what the fuzz tests start from.
func seedModels(f *testing.F) []*graph.Graph {
	f.Helper()
	small := newNet("pools", 2, 6, 7)
	x := small.op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "ceil_mode": int64(1), "auto_pad": "SAME_UPPER"}, "x")
	x = small.op("AveragePool", graph.Attrs{"kernel_shape": []int64{3, 2}, "pads": []int64{1, 0, 1, 1}, "count_include_pad": int64(1)}, x)
	x = small.op("ConvTranspose", graph.Attrs{"strides": []int64{2, 1}, "output_padding": []int64{1, 0}, "group": int64(2)}, x, small.weight(0.5, 2, 2, 3, 2))
	x = small.op("LRN", graph.Attrs{"size": int64(3)}, x)
	x = small.op("Pad", graph.Attrs{"mode": "reflect"}, x, small.ints(0, 0, 1, 1, 0, 0, -1, 1))
	x = small.op("Slice", nil, x, small.ints(-1), small.ints(-9), small.ints(2), small.ints(-2))
	x = small.op("Softmax", graph.Attrs{"axis": int64(1)}, x)
	pools := small.finish(small.op("ReduceMean", graph.Attrs{"axes": []int64{1, -1}}, x))

	moves := newNet("moves", 4, 6)
	y := moves.op("Split", graph.Attrs{"axis": int64(1)}, "x", moves.ints(1, 3))
	y = moves.op("Concat", graph.Attrs{"axis": int64(-1)}, y, y)
	y = moves.op("Tile", nil, moves.op("Unsqueeze", nil, y, moves.ints(0, 3)), moves.ints(2, 1, 1, 1, 2))
	y = moves.op("Squeeze", nil, moves.op("Expand", nil, y, moves.ints(1, 1, 1, 12, 2)))
	y = moves.op("Resize", graph.Attrs{"mode": "cubic"}, moves.op("Flatten", nil, y), "", moves.floats(2, 0.5))
	y = moves.op("Gather", graph.Attrs{"axis": int64(1)}, y, moves.ints(0, -1, 2))
	y = moves.op("CumSum", nil, moves.op("Transpose", nil, y), moves.ints(0))
	y = moves.op("Where", nil, moves.op("Less", nil, y, moves.scalar(0.1)), y, moves.op("Pow", nil, y, moves.scalar(2)))
	y = moves.op("TopK", nil, moves.op("LayerNormalization", nil, moves.op("Transpose", nil, y), moves.floats(1, 2, 3)), moves.ints(2))
	g := moves.finish(y)
	g.Nodes[0].Outputs = append(g.Nodes[0].Outputs, "rest")
	g.Nodes[len(g.Nodes)-1].Outputs = append(g.Nodes[len(g.Nodes)-1].Outputs, "where")

	indices := newNet("indices", 3, 4)
	z := indices.op("Einsum", graph.Attrs{"equation": "ij,jk->ki"}, "x", indices.weight(0.5, 4, 5))
	z = indices.op("GatherND", nil, z, indices.op("Unsqueeze", nil, indices.ints(1, -1, 0), indices.ints(1)))
	z = indices.op("ScatterND", graph.Attrs{"reduction": "add"}, z, indices.op("Reshape", nil, indices.ints(0, 1, 2, -1), indices.ints(2, 2)), indices.floats(1, 2))
	at := indices.op("Expand", nil, indices.ints(0, 2, -1), indices.ints(3, 3))
	z = indices.op("ScatterElements", graph.Attrs{"axis": int64(1), "reduction": "max"}, z, at, indices.op("GatherElements", nil, z, at))
	picks := indices.finish(indices.op("Einsum", graph.Attrs{"equation": "...i,i...->i"}, z, z))

	quants := newNet("quants", 3, 4)
	q := quants.op("QuantizeLinear", graph.Attrs{"axis": int64(1)}, "x", quants.floats(1, 2, 0.5, 1))
	q = quants.op("DequantizeLinear", nil, q, quants.scalar(0.5))
	q = quants.op("Shrink", nil, quants.op("Hardmax", nil, quants.op("MeanVarianceNormalization", graph.Attrs{"axes": []int64{1}}, q)))
	q = quants.op("Compress", graph.Attrs{"axis": int64(0)}, q, quants.op("Not", nil, quants.op("IsNaN", nil, quants.floats(1, 2, 3))))
	q = quants.op("Unique", nil, quants.op("ReverseSequence", nil, q, quants.ints(1, 2, 3, 0)))
	q = quants.op("Cast", graph.Attrs{"to": int64(1)}, quants.op("NonZero", nil, q))
	q = quants.op("Det", nil, quants.op("EyeLike", nil, quants.op("MatMul", nil, quants.op("Transpose", nil, q), q)))
	rounded := quants.finish(quants.op("DynamicQuantizeLinear", nil, q))

	tiny := newNet("small", 3, 4)
	blocks := graph.Attrs{"axis": int64(1), "block_size": int64(2), "output_dtype": int64(tensor.Int4)}
	fours := tiny.op("QuantizeLinear", blocks, "x", tiny.weight(0.5, 3, 2))
	blocks = graph.Attrs{"axis": int64(1), "block_size": int64(2)}
	v := tiny.op("DequantizeLinear", blocks, tiny.op("Transpose", nil, tiny.op("Transpose", nil, fours)), tiny.weight(0.5, 3, 2))
	for _, d := range smallTypes {
		v = tiny.op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, tiny.op("Reshape", nil, tiny.op("Cast", graph.Attrs{"to": int64(d)}, v), tiny.ints(3, 4)))
	}
	packed := tiny.finish(v)
	packed.Opset[""] = 25

	training, err := gradient.Build(trainable(), gradient.Options{Loss: gradient.CrossEntropy, Optimizer: &gradient.Optimizer{Kind: gradient.Adam}})
	if err != nil {
		f.Fatal(err)
	}
	return []*graph.Graph{mlp(graph.Dim{Size: -1, Symbol: "N"}, 8, 6, 4), mixed(), pools, g, dynamic(), training, picks, rounded, packed, loopModel(3), sequences(), bytesNet()}
}

// sequences goes through a sequence by Loop, SequenceMap and If.
func sequences() *graph.Graph {
	turn := subgraph([]string{"i", "c", "s"}, []string{"c2", "t"}, node("SequenceAt", nil, []string{"parts", "i"}, "p"),
		node("SequenceInsert", nil, []string{"s", "p"}, "t"), node("Identity", nil, []string{"c"}, "c2"))
	each := subgraph([]string{"e"}, []string{"f"}, node("If", graph.Attrs{
		"then_branch": subgraph(nil, []string{"v"}, node("Neg", nil, []string{"e"}, "v")),
		"else_branch": subgraph(nil, []string{"e"}),
	}, []string{"yes"}, "f"))
	return &graph.Graph{Name: "sequences", Opset: map[string]int64{"": 17}, Inputs: []graph.Value{value("x", tensor.Float32, 4, 3)}, Outputs: []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{scalarInit("n", int64(4)), scalarInit("yes", true)},
		Nodes: []*graph.Node{node("SplitToSequence", graph.Attrs{"axis": int64(0), "keepdims": int64(0)}, []string{"x"}, "parts"), node("SequenceEmpty", nil, nil, "e"),
			node("Loop", graph.Attrs{"body": turn}, []string{"n", "yes", "e"}, "s"), node("SequenceMap", graph.Attrs{"body": each}, []string{"s"}, "m"),
			node("SequenceErase", nil, []string{"m", "last"}, "r"), node("Optional", nil, []string{"r"}, "o"), node("OptionalGetElement", nil, []string{"o"}, "g"),
			node("ConcatFromSequence", graph.Attrs{"axis": int64(1), "new_axis": int64(1)}, []string{"g"}, "y"), node("SequenceLength", nil, []string{"parts"}, "len"),
			node("Sub", nil, []string{"len", "len"}, "last")}}
}

// bytesNet has convolutions and a product of bytes with weights that are constants, in all of their kernels.
func bytesNet() *graph.Graph {
	r := rand.New(rand.NewPCG(1, 2))
	b := graph.NewBuilder("bytes")
	v := b.Input("x", tensor.Float32, graph.Dims(2, 4, 5, 6))
	pads := graph.Attrs{"pads": []int64{1, 1, 1, 1}, "group": int64(4)}
	step, zero := b.Init("step", tensor.Scalar(float32(0.5))), b.Init("zero", tensor.Scalar(uint8(3)))
	for _, w := range []*tensor.Tensor{bytesOf(r, tensor.Int8, 4, 1, 3, 3), bytesOf(r, tensor.Int8, 8, 4, 2, 3), bytesOf(r, tensor.Uint8, 6, 5)} {
		q, weights := b.Ops("DynamicQuantizeLinear", 3, nil, v), b.Init("w", w)
		op, attrs := "ConvInteger", pads
		switch {
		case w.DType() == tensor.Uint8:
			op, attrs = "MatMulInteger", nil
		case w.Shape()[1] > 1:
			attrs = graph.Attrs{"strides": []int64{1, 1}, "pads": []int64{0, 1, 1, 1}}
		}
		v = b.Op("Mul", nil, b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, b.Op(op, attrs, q[0], weights, q[2])), q[1])
		if w.Shape()[0] == 4 {
			level := b.Op("QuantizeLinear", nil, v, step, zero)
			level = b.Op("QLinearConv", pads, level, step, zero, weights, step, b.Init("none", tensor.Scalar(int8(0))), step, zero)
			v = b.Op("DequantizeLinear", nil, level, step, zero)
		}
	}
	b.Output(b.Name(v, "y"))
	return tensorGraph(b)
}

func (b *netBuilder) ints(v ...int64) string {
	name := b.weight(0, 1)
	b.g.Initializers[len(b.g.Initializers)-1].Tensor = tensor.Vector(v...)
	return name
}

func (b *netBuilder) floats(v ...float32) string {
	name := b.weight(0, 1)
	b.g.Initializers[len(b.g.Initializers)-1].Tensor = tensor.Vector(v...)
	return name
}

// try opens and runs a graph. Any error will do, but no panic, and no result that does not fit what it says.
func try(t *testing.T, g *graph.Graph) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := native.New(native.Config{MaxTensorBytes: 4 << 20, MaxRunBytes: 32 << 20}).Open(ctx, g, engine.Options{Threads: 2})
	if err != nil {
		if errors.Is(err, engine.ErrPanic) {
			t.Fatal(err)
		}
		return
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var in []*tensor.Tensor
	for _, v := range s.Inputs() {
		var shape tensor.Shape
		for _, d := range v.Shape {
			if !d.Known() {
				d.Size = 2
			}
			shape = append(shape, int(d.Size))
		}
		if n, err := shape.Check(); err != nil || n > 1<<18 || !v.DType.Valid() {
			return
		}
		x := tensor.Must(tensor.New(v.DType, shape...))
		switch d := x.Raw().(type) {
		case []float32:
			for i := range d {
				d[i] = float32(i%7) - 2.5
			}
		case []int64:
			for i := range d {
				d[i] = int64(i%5) - 1
			}
		}
		in = append(in, x)
	}
	out := make([]*tensor.Tensor, len(s.Outputs()))
	for range 2 { // the second run is given the outputs of the first
		err := s.Run(ctx, in, out)
		if errors.Is(err, engine.ErrPanic) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		for i, o := range out {
			if o == nil {
				t.Fatalf("output %d was not set", i)
			}
		}
	}
}

// FuzzModel opens and runs files.
func FuzzModel(f *testing.F) {
	for _, g := range seedModels(f) {
		data, err := onnx.Encode(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if g, err := onnx.Decode(data, onnx.Options{MaxBytes: 1 << 20}); err == nil {
			try(t, g)
		}
	})
}

// FuzzMutatedGraph changes valid graphs where it hurts: operators, attributes, edges, shapes, small constants.
func FuzzMutatedGraph(f *testing.F) {
	seeds := seedModels(f)
	for i := range seeds {
		for j := range 12 {
			f.Add(uint8(i), []byte{byte(j), byte(5 * j), byte(j / 2), byte(251 * j), byte(j + 3), byte(7 * j), 3, byte(99 * j)})
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		g := seeds[int(which)%len(seeds)].Clone()
		for m := (mutator{g, data}); len(m.data) >= 4; {
			m.change()
		}
		try(t, g)
	})
}

// A mutator spends bytes on changes of a graph.
type mutator struct {
	g    *graph.Graph
	data []byte
}

func (m *mutator) next(n int) int {
	if len(m.data) == 0 || n <= 0 {
		return 0
	}
	b := m.data[0]
	m.data = m.data[1:]
	return int(b) % n
}

func (m *mutator) number() int64 {
	return []int64{0, 1, -1, 2, 3, 7, -2, 1 << 20, -1 << 40, 1<<63 - 1, -1 << 63, 16}[m.next(12)]
}

var fuzzOps = []string{"Relu", "Add", "MatMul", "Gemm", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "Softmax", "Transpose", "Reshape",
	"Concat", "Split", "Slice", "Gather", "Pad", "Resize", "Tile", "Expand", "Cast", "OneHot", "TopK", "ReduceSum", "CumSum", "DepthToSpace",
	"BatchNormalization", "LayerNormalization", "GroupNormalization", "SoftmaxCrossEntropyLoss", "ScatterElements", "GatherElements", "Trilu", "Range", "Where", "Pow", "Dropout",
	"Einsum", "GatherND", "ScatterND", "NonZero", "Compress", "Unique", "ReverseSequence", "EyeLike", "Det", "Hardmax", "Shrink", "IsInf", "BitwiseNot", "BitShift",
	"MeanVarianceNormalization", "CastLike", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "RNN", "GRU", "LSTM", "GridSample", "DFT", "STFT", "LpPool", "MaxUnpool", "RoiAlign", "LpNormalization",
	"ImageDecoder", "If", "Loop", "Scan", "SequenceMap", "SequenceAt", "SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceLength", "SplitToSequence", "ConcatFromSequence",
	"Optional", "OptionalGetElement", "OptionalHasElement", "SequenceEmpty", "StringSplit", "RMSNormalization", "RotaryEmbedding", "CumProd", "Bernoulli", "Multinomial", "RandomNormalLike",
	"ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.TreeEnsembleRegressor", "ai.onnx.ml.LinearClassifier", "ai.onnx.ml.SVMClassifier", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.OneHotEncoder", "ai.onnx.ml.ZipMap",
	"Attention", "LinearAttention", "CausalConvWithState", "TensorScatter", "BitCast", "CenterCropPad", "Col2Im", "AffineGrid", "DeformConv", "MaxRoiPool"}

func (m *mutator) change() {
	n := m.g.Nodes[m.next(len(m.g.Nodes))]
	if subs := n.Subgraphs(); len(subs) > 0 && m.next(2) == 0 {
		if sub := subs[m.next(len(subs))]; len(sub.Nodes) > 0 {
			n = sub.Nodes[m.next(len(sub.Nodes))]
		}
	}
	switch m.next(7) {
	case 0:
		n.Domain, n.OpType = graph.SplitOp(fuzzOps[m.next(len(fuzzOps))])
	case 1:
		if len(n.Inputs) > 0 {
			other := m.g.Nodes[m.next(len(m.g.Nodes))]
			if len(other.Inputs) > 0 {
				n.Inputs[m.next(len(n.Inputs))] = other.Inputs[m.next(len(other.Inputs))]
			}
		}
	case 2:
		if n.Attrs == nil {
			n.Attrs = graph.Attrs{}
		}
		names := []string{"axis", "group", "keepdims", "blocksize", "size", "num_groups", "to", "allowzero", "mode", "auto_pad", "kernel_shape", "strides", "pads", "dilations", "perm", "axes", "alpha",
			"batch_dims", "batch_axis", "time_axis", "sorted", "dtype", "k", "block_size", "precision", "output_dtype", "reduction", "equation",
			"num_scan_inputs", "new_axis"}
		switch name := names[m.next(len(names))]; name {
		case "mode", "auto_pad":
			n.Attrs[name] = []string{"reflect", "wrap", "SAME_LOWER", "linear", "?"}[m.next(5)]
		case "reduction":
			n.Attrs[name] = []string{"none", "add", "mul", "min", "max", "?"}[m.next(6)]
		case "equation":
			n.Attrs[name] = []string{"ij,jk->ik", "...i,...j->...ij", "ii->i", "ab", "...a->a", "i,i,i", "ij,ji->", "->?"}[m.next(8)]
		case "alpha":
			n.Attrs[name] = float32(m.number())
		case "kernel_shape", "strides", "pads", "dilations", "perm", "axes":
			list := make([]int64, m.next(6))
			for i := range list {
				list[i] = m.number()
			}
			n.Attrs[name] = list
		default:
			n.Attrs[name] = m.number()
		}
	case 3:
		if len(m.g.Initializers) > 0 {
			init := &m.g.Initializers[m.next(len(m.g.Initializers))]
			if d, ok := init.Tensor.Raw().([]int64); ok && len(d) > 0 {
				d = slices.Clone(d)
				d[m.next(len(d))] = m.number()
				init.Tensor = tensor.Must(tensor.Of(d, init.Tensor.Shape()...))
			} else if r, err := init.Tensor.Reshape(init.Tensor.Size(), 1); err == nil {
				init.Tensor = r
			}
		}
	case 4:
		if len(m.g.Inputs) > 0 {
			in := &m.g.Inputs[m.next(len(m.g.Inputs))]
			if len(in.Shape) > 0 {
				in.Shape[m.next(len(in.Shape))] = graph.Dim{Size: int64(m.next(9)) - 1}
			}
		}
	case 5:
		m.g.Opset[""] = int64(m.next(30))
	case 6:
		if len(n.Inputs) > 0 {
			n.Inputs = n.Inputs[:len(n.Inputs)-1]
		}
	}
}
