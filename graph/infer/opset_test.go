package infer_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Forms of operators that ONNX's cases of opset 17 do not have: older ones, and newer ones.
func TestOpsets(t *testing.T) {
	f32 := tensor.Float32
	image := func(b *graph.Builder) string { return b.Input("x", f32, sym("N", 3, 6, 8)) }
	floats := func(b *graph.Builder, v ...float32) string { return b.Init("floats", tensor.Vector(v...)) }
	tests := []struct {
		name  string
		opset int64
		build func(b *graph.Builder) string
		want  string
	}{
		{"Upsample-1", 1, func(b *graph.Builder) string {
			return b.Op("Upsample", graph.Attrs{"height_scale": float32(2), "width_scale": float32(1.5)}, image(b))
		}, "float32[N,3,12,12]"},
		{"Upsample-7", 7, func(b *graph.Builder) string {
			return b.Op("Upsample", graph.Attrs{"scales": []float32{1, 1, 2, 3}}, image(b))
		}, "float32[N,3,12,24]"},
		{"Upsample-9", 9, func(b *graph.Builder) string { return b.Op("Upsample", nil, image(b), floats(b, 1, 1, 2, 3)) }, "float32[N,3,12,24]"},
		{"Resize-10", 10, func(b *graph.Builder) string { return b.Op("Resize", nil, image(b), floats(b, 1, 1, 0.5, 0.5)) }, "float32[N,3,3,4]"},
		{"Resize-18 of some axes", 18, func(b *graph.Builder) string {
			return b.Op("Resize", graph.Attrs{"axes": []int64{3, 2}}, image(b), "", "", b.Ints(4, 12))
		}, "float32[N,3,12,4]"},
		{"Resize-18 not larger", 18, func(b *graph.Builder) string {
			return b.Op("Resize", graph.Attrs{"axes": []int64{2, 3}, "keep_aspect_ratio_policy": "not_larger"}, image(b), "", "", b.Ints(12, 12))
		}, "float32[N,3,9,12]"},
		{"Resize-18 not smaller", 18, func(b *graph.Builder) string {
			return b.Op("Resize", graph.Attrs{"axes": []int64{2, 3}, "keep_aspect_ratio_policy": "not_smaller"}, image(b), "", "", b.Ints(12, 12))
		}, "float32[N,3,12,16]"},
		{"Pad-1", 1, func(b *graph.Builder) string {
			return b.Op("Pad", graph.Attrs{"paddings": []int64{0, 0, 1, 2, 0, 0, 3, 4}}, image(b))
		}, "float32[N,3,10,14]"},
		{"Pad-18 of some axes", 18, func(b *graph.Builder) string { return b.Op("Pad", nil, image(b), b.Ints(1, 2), "", b.Ints(-1)) }, "float32[N,3,6,11]"},
		{"CenterCropPad-18", 18, func(b *graph.Builder) string {
			return b.Op("CenterCropPad", graph.Attrs{"axes": []int64{2, 3}}, image(b), b.Ints(9, 4))
		}, "float32[N,3,9,4]"},
		{"Col2Im-18", 18, func(b *graph.Builder) string {
			return b.Op("Col2Im", nil, b.Input("x", f32, sym("N", 12, 20)), b.Ints(5, 6), b.Ints(2, 2))
		}, "float32[N,3,5,6]"},
		{"Split-18", 18, func(b *graph.Builder) string {
			return b.Ops("Split", 3, graph.Attrs{"num_outputs": int64(3), "axis": int64(3)}, image(b))[2]
		}, "float32[N,3,6,2]"},
		{"ReduceMean-18", 18, func(b *graph.Builder) string { return b.Op("ReduceMean", nil, image(b), b.Ints(2, 3)) }, "float32[N,3,1,1]"},
		{"Reshape-1", 1, func(b *graph.Builder) string {
			return b.Op("Reshape", graph.Attrs{"shape": []int64{0, -1}}, image(b))
		}, "float32[N,144]"},
		{"Cast-1", 1, func(b *graph.Builder) string { return b.Op("Cast", graph.Attrs{"to": "DOUBLE"}, image(b)) }, "float64[N,3,6,8]"},
		{"Tile-1", 1, func(b *graph.Builder) string {
			return b.Op("Tile", nil, image(b), floats(b, 3), floats(b, 2))
		}, "float32[N,3,18,8]"},
		{"Add-6 along an axis", 6, func(b *graph.Builder) string {
			return b.Op("Add", graph.Attrs{"broadcast": int64(1), "axis": int64(1)}, image(b), floats(b, 1, 2, 3))
		}, "float32[N,3,6,8]"},
		{"Slice-1", 1, func(b *graph.Builder) string {
			return b.Op("Slice", graph.Attrs{"starts": []int64{1, -3}, "ends": []int64{100, -1}, "axes": []int64{2, 3}}, image(b))
		}, "float32[N,3,5,2]"},
		{"Unsqueeze-11", 11, func(b *graph.Builder) string {
			return b.Op("Squeeze", graph.Attrs{"axes": []int64{-1}}, b.Op("Unsqueeze", graph.Attrs{"axes": []int64{0, 5}}, image(b)))
		}, "float32[1,N,3,6,8]"},
		{"Dropout-7's mask", 7, func(b *graph.Builder) string { return b.Ops("Dropout", 2, nil, image(b))[1] }, "float32[N,3,6,8]"},
		{"BatchNormalization-6's statistics", 6, func(b *graph.Builder) string {
			c := floats(b, 1, 2, 3)
			return b.Ops("BatchNormalization", 5, nil, image(b), c, c, c, c)[4]
		}, "float32[3]"},
		{"RandomNormal", 17, func(b *graph.Builder) string {
			return b.Op("RandomNormal", graph.Attrs{"shape": []int64{2, 3}, "dtype": int64(tensor.Float64)})
		}, "float64[2,3]"},
		{"Constant of ints", 17, func(b *graph.Builder) string {
			return b.Op("ConstantOfShape", nil, b.Op("Constant", graph.Attrs{"value_ints": []int64{2, 3}}))
		}, "float32[2,3]"},
		{"ConvTranspose, automatic padding", 11, func(b *graph.Builder) string {
			w := b.Init("w", tensor.Must(tensor.New(f32, 3, 2, 3, 3)))
			return b.Op("ConvTranspose", graph.Attrs{"auto_pad": "SAME_UPPER", "strides": []int64{2, 3}, "group": int64(1)}, image(b), w)
		}, "float32[N,2,12,24]"},
		{"MaxPool, ceiling", 10, func(b *graph.Builder) string {
			return b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 3}, "strides": []int64{4, 3}, "ceil_mode": int64(1), "pads": []int64{0, 1, 0, 1}}, image(b))
		}, "float32[N,3,2,3]"},
		{"MaxPool, ceiling that adds", 10, func(b *graph.Builder) string {
			return b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 3}, "strides": []int64{3, 2}, "ceil_mode": int64(1)}, image(b))
		}, "float32[N,3,2,4]"},
		{"MaxPool, a last window in the padding", 10, func(b *graph.Builder) string {
			return b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{1, 1}, "strides": []int64{1, 9}, "ceil_mode": int64(1), "pads": []int64{0, 1, 0, 1}}, image(b))
		}, "float32[N,3,6,1]"},
		{"an unknown list of axes", 18, func(b *graph.Builder) string {
			return b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, image(b), b.Input("axes", tensor.Int64, sym(2)))
		}, "float32[?,?]"},
		{"an unknown shape of known rank", 17, func(b *graph.Builder) string {
			return b.Op("Reshape", nil, image(b), b.Input("shape", tensor.Int64, sym(3)))
		}, "float32[?,?,?]"},
		{"STFT's frames", 17, func(b *graph.Builder) string {
			return b.Op("STFT", nil, b.Input("x", f32, sym("N", 128, 1)), b.Init("step", tensor.Scalar[int64](8)), "", b.Init("length", tensor.Scalar[int64](16)))
		}, "float32[N,15,9,2]"},
		{"an LSTM with two directions", 14, func(b *graph.Builder) string {
			w, r := b.Init("w", tensor.Must(tensor.New(f32, 2, 20, 3))), b.Init("r", tensor.Must(tensor.New(f32, 2, 20, 5)))
			return b.Op("LSTM", graph.Attrs{"direction": "bidirectional", "hidden_size": int64(5)}, b.Input("x", f32, sym("T", "N", 3)), w, r)
		}, "float32[T,2,N,5]"},
		{"Einsum with dots", 12, func(b *graph.Builder) string {
			return b.Op("Einsum", graph.Attrs{"equation": "...ij, ...jk -> ...ik"}, image(b), b.Init("w", tensor.Must(tensor.New(f32, 8, 4))))
		}, "float32[N,3,6,4]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := graph.Extend(&graph.Graph{Name: "test", Opset: map[string]int64{"": tt.opset}})
			b.Output(tt.build(b))
			v := mustGraph(t, b).Outputs[0]
			if got := v.DType.String() + v.Shape.String(); got != tt.want {
				t.Errorf("inferred %s, want %s", got, tt.want)
			}
		})
	}
}

// Arithmetic keeps symbols where it changes nothing, and knows nothing otherwise.
func TestSymbolArithmetic(t *testing.T) {
	tests := []struct {
		op   string
		a, b int64 // 0 stands for the length N
		want string
	}{
		{"Add", 0, 5, "[?]"}, {"Mul", 0, 1, "[N]"}, {"Mul", 1, 0, "[N]"}, {"Mul", 0, 2, "[?]"}, {"Div", 0, 1, "[N]"}, {"Div", 0, 2, "[?]"},
		{"Sub", 0, 0, "[0]"}, {"Min", 0, 0, "[N]"}, {"Max", 0, 7, "[?]"}, {"Add", 3, 4, "[7]"}, {"Div", 7, 2, "[3]"}, {"Mod", 7, 4, "[3]"},
		{"Max", 3, 4, "[4]"}, {"Min", 3, 4, "[3]"}, {"Sub", 7, 4, "[3]"}, {"Add", 0, 0, "[?]"},
	}
	for _, tt := range tests {
		b := graph.NewBuilder("test")
		n := b.Op("Shape", nil, b.Input("x", tensor.Float32, sym("N")))
		operand := func(v int64) string {
			if v == 0 {
				return n
			}
			return b.Ints(v)
		}
		b.Output(b.Op("ConstantOfShape", nil, b.Op(tt.op, nil, operand(tt.a), operand(tt.b))))
		if got := mustGraph(t, b).Outputs[0].Shape.String(); got != tt.want {
			t.Errorf("%s of %d and %d: %s, want %s", tt.op, tt.a, tt.b, got, tt.want)
		}
	}
}
