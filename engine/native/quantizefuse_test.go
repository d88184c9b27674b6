package native_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// quantizedCase is one operator with quantized weights between bytes.
type quantizedCase struct {
	op              string // Conv, Gemm, MatMul
	signed          bool   // the bytes before and after
	unsignedWeights bool
	each            bool // a scale for each filter
	bias            bool
	after           string // Relu or Clip
	transposed      bool
	groups          int
}

// parts are the constants of a case.
type parts struct {
	x, w, xs, xz, ws, wz, ys, yz, bias, biasScale *tensor.Tensor
	attrs                                         graph.Attrs
	axis                                          int64
}

func (q quantizedCase) parts(r *rand.Rand) parts {
	channels, filters, groups := 8, 12, max(1, q.groups)
	if groups == channels { // depthwise
		filters = 16
	}
	p := parts{attrs: graph.Attrs{}}
	xShape, wShape := []int{5, channels}, []int{channels, filters}
	p.axis = 1
	switch {
	case q.op == "Conv":
		xShape, wShape, p.axis = []int{2, channels, 7, 9}, []int{filters, channels / groups, 3, 3}, 0
		p.attrs = graph.Attrs{"pads": []int64{1, 0, 1, 2}, "strides": []int64{1, 2}, "group": int64(groups)}
	case q.transposed:
		wShape, p.axis = []int{filters, channels}, 0
		p.attrs["transB"] = int64(1)
	}
	bytes := func(signed bool, shape ...int) *tensor.Tensor {
		d := tensor.Uint8
		if signed {
			d = tensor.Int8
		}
		t := tensor.Must(tensor.New(d, shape...))
		for i := range t.Bytes() {
			t.Bytes()[i] = byte(r.Uint32())
		}
		return t
	}
	p.x, p.w = bytes(q.signed, xShape...), bytes(!q.unsignedWeights, wShape...)
	scales := 1
	if q.each {
		scales = filters
	}
	p.xs, p.ys = tensor.Scalar(0.01+r.Float32()*0.1), tensor.Scalar(0.5+r.Float32())
	p.xz, p.yz = bytes(q.signed), bytes(q.signed)
	ws, bias, biasScale := make([]float32, scales), make([]int32, filters), make([]float32, scales)
	for i := range ws {
		ws[i] = 0.002 + r.Float32()*0.01
		biasScale[i] = ws[i] * tensor.Data[float32](p.xs)[0]
	}
	for i := range bias {
		bias[i] = int32(r.IntN(20000) - 10000)
	}
	zeros := tensor.Must(tensor.New(p.w.DType(), scales))
	if q.unsignedWeights {
		for i := range zeros.Bytes() {
			zeros.Bytes()[i] = 128
		}
	}
	p.ws, p.wz, p.bias, p.biasScale = tensor.Vector(ws...), zeros, tensor.Vector(bias...), tensor.Vector(biasScale...)
	return p
}

// pairs is the case as tools export it.
func (q quantizedCase) pairs(p parts) *graph.Graph {
	b := graph.NewBuilder("pairs")
	axis := graph.Attrs{"axis": p.axis}
	args := []string{b.Op("DequantizeLinear", nil, b.Input("x", p.x.DType(), graph.Dims(p.x.Shape()...)), b.Init("xs", p.xs), b.Init("xz", p.xz)),
		b.Op("DequantizeLinear", axis, b.Init("w", p.w), b.Init("ws", p.ws), b.Init("wz", p.wz))}
	if q.bias {
		args = append(args, b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, b.Init("b", p.bias), b.Init("bs", p.biasScale)))
	}
	v := b.Op(q.op, p.attrs, args...)
	switch q.after {
	case "Relu":
		v = b.Op("Relu", nil, v)
	case "Clip":
		v = b.Op("Clip", nil, v, b.Init("lo", tensor.Scalar(float32(-3.3))), b.Init("hi", tensor.Scalar(float32(9.9))))
	}
	b.Output(b.Name(b.Op("QuantizeLinear", nil, v, b.Init("ys", p.ys), b.Init("yz", p.yz)), "y"))
	return tensorGraph(b)
}

func tensorGraph(b *graph.Builder) *graph.Graph {
	g, err := b.Graph()
	if err != nil {
		panic(err)
	}
	return g
}

// runGraph runs a graph with these inputs and returns its first output, and the operators that fusion left.
func runGraph(t *testing.T, g *graph.Graph, threads int, in ...*tensor.Tensor) (y *tensor.Tensor, ops []string) {
	t.Helper()
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := make([]*tensor.Tensor, len(g.Outputs))
	if err := s.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	return out[0], native.NodeOps(s)
}

func quantizedCases() []quantizedCase {
	var all []quantizedCase
	for _, op := range []string{"Conv", "Gemm", "MatMul"} {
		for i := range 24 {
			q := quantizedCase{op: op, signed: i&1 != 0, unsignedWeights: i&2 != 0, each: i&4 != 0, bias: op != "MatMul" && i%3 != 0, transposed: op == "Gemm" && i%5 == 0}
			q.after = []string{"", "Relu", "Clip"}[i/8]
			if op == "Conv" && i%4 == 1 {
				q.groups = 2
			}
			if op == "Conv" && i%5 == 2 {
				q.groups = 8
			}
			all = append(all, q)
		}
	}
	return all
}

// level is a byte as a number.
func level(t *tensor.Tensor, i int) int {
	if t.DType() == tensor.Int8 {
		return int(tensor.Data[int8](t)[i])
	}
	return int(tensor.Data[uint8](t)[i])
}

// TestQuantizedPairsAreExact holds what fusion makes of pairs of QuantizeLinear and DequantizeLinear against the exact sums, by the definition
// of QLinearConv, and against the pairs alone: these round each sum, which may change a level where the exact number is next to half of one.
func TestQuantizedPairsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	levels, changed := 0, 0
	for _, q := range quantizedCases() {
		t.Run(fmt.Sprintf("%+v", q), func(t *testing.T) {
			p := q.parts(r)
			g := q.pairs(p)
			got, ops := runGraph(t, g, 2, p.x)
			if len(ops) != 1 || ops[0] != "QLinearConv" && ops[0] != "QLinearMatMul" {
				t.Fatalf("fusion left %q", ops)
			}
			alone, _ := runGraph(t, exposed(g), 1, p.x)
			want := q.exact(p)
			for i := range want {
				if level(got, i) != want[i] {
					t.Fatalf("element %d is %d, not %d", i, level(got, i), want[i])
				}
				if d := level(alone, i) - want[i]; d != 0 {
					if changed++; d < -1 || d > 1 {
						t.Fatalf("element %d is %d alone, and %d exactly", i, level(alone, i), want[i])
					}
				}
			}
			levels += len(want)
		})
	}
	t.Logf("%d of %d levels differ from the nodes alone", changed, levels)
	if changed*200 > levels {
		t.Errorf("%d of %d levels changed", changed, levels)
	}
}

// TestQuantizedZeroOfRankTwo: fusion leaves a net alone whose zero point only DequantizeLinear takes, and does not make one of it that is refused.
func TestQuantizedZeroOfRankTwo(t *testing.T) {
	for _, op := range []string{"Conv", "Gemm", "MatMul"} {
		p := quantizedCase{op: op}.parts(rand.New(rand.NewPCG(15, 16)))
		p.wz = tensor.Must(p.wz.Reshape(1, 1))
		g := quantizedCase{op: op}.pairs(p)
		got, ops := runGraph(t, g, 1, p.x)
		alone, _ := runGraph(t, exposed(g), 1, p.x)
		if !slices.Contains(ops, op) || !slices.Equal(got.Bytes(), alone.Bytes()) {
			t.Errorf("%s: fusion left %q; together it is %v, one by one %v", op, ops, got.Bytes()[:12], alone.Bytes()[:12])
		}
	}
}

// exact computes a case in integers.
func (q quantizedCase) exact(p parts) []int {
	low, high, zero := 0, 255, level(p.yz, 0)
	if q.signed {
		low, high = -128, 127
	}
	xs, ys := tensor.Data[float32](p.xs)[0], tensor.Data[float32](p.ys)[0]
	ws, bias := tensor.Data[float32](p.ws), tensor.Data[int32](p.bias)
	x := func(i int) int32 { return int32(level(p.x, i) - level(p.xz, 0)) }
	w := func(i int) int32 { return int32(level(p.w, i) - level(p.wz, 0)) }
	put := func(f int, sum int32) int {
		if q.bias {
			sum += bias[f]
		}
		by := xs * ws[min(f, len(ws)-1)] / ys
		v := int(math.RoundToEven(float64(float32(sum)*by))) + zero
		limit := func(v float32) int { return int(math.RoundToEven(float64(v/ys))) + zero }
		switch q.after {
		case "Relu":
			v = max(v, zero)
		case "Clip":
			v = min(max(v, limit(-3.3)), limit(9.9))
		}
		return min(max(v, low), high)
	}
	var all []int
	if q.op != "Conv" {
		rows, depth, cols := p.x.Shape()[0], p.x.Shape()[1], p.w.Shape()[1]
		stepK, stepN := cols, 1
		if q.transposed {
			cols = p.w.Shape()[0]
			stepK, stepN = 1, depth
		}
		for i := range rows {
			for j := range cols {
				var sum int32
				for k := range depth {
					sum += x(i*depth+k) * w(k*stepK+j*stepN)
				}
				all = append(all, put(j, sum))
			}
		}
		return all
	}
	s, groups := p.x.Shape(), max(1, q.groups)
	filters, cg := p.w.Shape()[0], s[1]/groups
	oh, ow := s[2], (s[3]+2-3)/2+1 // pads 1, 0, 1, 2 and strides 1, 2
	for n := range s[0] {
		for f := range filters {
			for oy := range oh {
				for ox := range ow {
					var sum int32
					for c := range cg {
						for tap := range 9 {
							iy, ix := oy-1+tap/3, 2*ox+tap%3
							if iy >= 0 && iy < s[2] && ix < s[3] {
								sum += x(((n*s[1]+f/(filters/groups)*cg+c)*s[2]+iy)*s[3]+ix) * w((f*cg+c)*9+tap)
							}
						}
					}
					all = append(all, put(f, sum))
				}
			}
		}
	}
	return all
}

// TestQuantizedStepsLoseNothing holds sums, pools and shapes of bytes against the same nodes one by one: every bit is the same.
func TestQuantizedStepsLoseNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	// What integers would not compute as float32 does, or not sooner.
	stays := map[string]bool{"MaxPool other": true, "weights with a zero point": true, "bias of float32": true, "thin groups": true, "depthwise with a large bias": true}
	for _, signed := range []bool{false, true} {
		for _, op := range []string{"Add", "AddRelu", "AddRow", "MaxPool", "MaxPool other", "Transpose", "Flatten", "weights with a zero point", "bias of float32", "thin groups",
			"depthwise with a large bias"} {
			t.Run(fmt.Sprint(op, " signed ", signed), func(t *testing.T) {
				p := quantizedCase{op: "Conv", signed: signed, each: true, bias: true}.parts(r)
				b := graph.NewBuilder("steps")
				x := b.Input("x", p.x.DType(), graph.Dims(p.x.Shape()...))
				xs, xz := b.Init("xs", p.xs), b.Init("xz", p.xz)
				v, ys, yz := b.Op("DequantizeLinear", nil, x, xs, xz), xs, xz
				axis := graph.Attrs{"axis": int64(0)}
				switch op {
				case "Add", "AddRelu", "AddRow":
					other := b.Init("other", p.x)
					if op == "AddRow" {
						row := tensor.Must(tensor.New(p.x.DType(), 1, p.x.Shape()[1], 1, 1))
						copy(row.Bytes(), p.x.Bytes())
						other = b.Init("row", row)
					}
					ys, yz = b.Init("ys", p.ys), b.Init("yz", p.yz)
					// Not of the constant itself, which would be folded.
					v = b.Op("Add", nil, v, b.Op("DequantizeLinear", nil, b.Op("Max", nil, b.Op("Min", nil, other, x), other), ys, yz))
					if op == "AddRelu" {
						v = b.Op("Relu", nil, v)
					}
				case "MaxPool", "MaxPool other":
					v = b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{3, 3}, "strides": []int64{2, 2}, "pads": []int64{1, 1, 1, 1}}, v)
					if op != "MaxPool" {
						ys = b.Init("ys", p.ys)
					}
				case "Transpose":
					v = b.Op("Transpose", graph.Attrs{"perm": []int64{0, 2, 3, 1}}, v)
				case "Flatten":
					v = b.Op("Flatten", nil, v)
				case "weights with a zero point":
					p.wz.Bytes()[3] = 5
					v = b.Op("Conv", p.attrs, v, b.Op("DequantizeLinear", axis, b.Init("w", p.w), b.Init("ws", p.ws), b.Init("wz", p.wz)))
				case "bias of float32":
					v = b.Op("Conv", p.attrs, v, b.Op("DequantizeLinear", axis, b.Init("w", p.w), b.Init("ws", p.ws)), b.Init("bias", tensor.Must(tensor.New(tensor.Float32, 12))))
				case "thin groups":
					w := tensor.Must(tensor.New(tensor.Int8, 8, 2, 3, 3))
					copy(w.Bytes(), p.w.Bytes())
					v = b.Op("Conv", graph.Attrs{"group": int64(4)}, v, b.Op("DequantizeLinear", axis, b.Init("w", w), b.Init("s", tensor.Scalar(float32(0.01)))))
				case "depthwise with a large bias":
					w, bias := tensor.Must(tensor.New(tensor.Int8, 8, 1, 3, 3)), tensor.Must(tensor.New(tensor.Int32, 8))
					copy(w.Bytes(), p.w.Bytes())
					tensor.Data[int32](bias)[5] = -1 << 23
					ws, bs := tensor.Scalar(float32(0.01)), tensor.Scalar(float32(0.01)*tensor.Data[float32](p.xs)[0])
					v = b.Op("Conv", graph.Attrs{"group": int64(8)}, v, b.Op("DequantizeLinear", axis, b.Init("w", w), b.Init("s", ws)),
						b.Op("DequantizeLinear", axis, b.Init("bias", bias), b.Init("bs", bs)))
				}
				b.Output(b.Name(b.Op("QuantizeLinear", nil, v, ys, yz), "y"))
				g := tensorGraph(b)
				got, ops := runGraph(t, g, 2, p.x)
				alone, _ := runGraph(t, exposed(g), 1, p.x)
				if inFloats := slices.Contains(ops, "QuantizeLinear"); inFloats != stays[op] {
					t.Errorf("fusion left %q", ops)
				}
				if !got.Shape().Equal(alone.Shape()) || !slices.Equal(got.Bytes(), alone.Bytes()) {
					t.Errorf("together it is %v, one by one %v", got.Bytes()[:12], alone.Bytes()[:12])
				}
			})
		}
	}
}
