package catalogue

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func op(name, since string, types []tensor.DType, ex func(e *example)) *Operator {
	return &Operator{Name: name, Versions: versions(since), Types: types, example: ex}
}

var (
	onlyFloat = []tensor.DType{tensor.Float32}
	onlyBool  = []tensor.DType{tensor.Bool}
	onlyText  = []tensor.DType{tensor.String}
	counts    = []tensor.DType{tensor.Int32, tensor.Int64}
	bytes     = []tensor.DType{tensor.Uint8, tensor.Int8}
	integers  = slices.Concat(signed, unsigned)
	negatable = slices.Concat(floats, signed)
	castable  = without(any25, complexes)
	packed    = []tensor.DType{tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2}
)

func without(types, left []tensor.DType) []tensor.DType {
	return slices.DeleteFunc(slices.Clone(types), func(d tensor.DType) bool { return slices.Contains(left, d) })
}

// own are the operators of ONNX's own domain, by the documents of ONNX 1.22.
func own() []*Operator {
	return slices.Concat(elementwise(), arrays(), nets(), makers(), controls())
}

func elementwise() []*Operator {
	attr := func(name string, v any, ex func(e *example)) func(e *example) {
		return func(e *example) { ex(e.set(name, v)) }
	}
	row := func(e *example) { e.x(2, 2) }
	ops := []*Operator{
		op("Abs", "13 6 1", numbers, unary), op("Neg", "13 6 1", negatable, unary), op("Sign", "13 9", numbers, unary), op("Not", "1", onlyBool, unary),
		op("Add", "14 13 7 6 1", numbers, binary), op("Sub", "14 13 7 6 1", numbers, binary), op("Mul", "14 13 7 6 1", numbers, binary), op("Div", "14 13 7 6 1", numbers, binary),
		op("Mod", "13 10", numbers, attr("fmod", int64(1), binary)), op("Pow", "15 13 12 7 1", slices.Concat(floats, counts), binary),
		op("Max", "13 12 8 6 1", numbers, binary), op("Min", "13 12 8 6 1", numbers, binary), op("Mean", "13 8 6 1", floats, binary), op("Sum", "13 8 6 1", floats, binary),
		op("And", "7 1", onlyBool, binary), op("Or", "7 1", onlyBool, binary), op("Xor", "7 1", onlyBool, binary),
		op("Equal", "19 13 11 7 1", slices.Concat(numbers, onlyBool, onlyText), binary), op("Greater", "13 9 7 1", numbers, binary), op("Less", "13 9 7 1", numbers, binary),
		op("GreaterOrEqual", "16 12", numbers, binary), op("LessOrEqual", "16 12", numbers, binary),
		op("BitwiseAnd", "18", integers, binary), op("BitwiseOr", "18", integers, binary), op("BitwiseXor", "18", integers, binary), op("BitwiseNot", "18", integers, unary),
		op("BitShift", "11", unsigned, attr("direction", "LEFT", binary)),
		op("IsInf", "20 10", slices.Concat(floats, float8s), unary), op("IsNaN", "20 13 9", slices.Concat(floats, float8s), unary),
		op("Where", "16 9", any16, func(e *example) { e.t(value(tensor.Bool, 2, 3)).x(2, 3).x(2, 3) }),
		op("Clip", "13 12 11 6 1", numbers, func(e *example) { e.x(2, 3).x().x() }),
		op("PRelu", "16 9 7 6 1", wide, binary), op("Celu", "12", onlyFloat, unary), op("Erf", "13 9", numbers, unary),
		op("Relu", "14 13 6 1", negatable, unary), op("Shrink", "9", without(numbers, []tensor.DType{tensor.BFloat16}), unary),
		op("LeakyRelu", "16 6 1", floats, unary), op("Gelu", "20", floats, unary), op("Swish", "24", floats, unary),
		op("Cast", "25 24 23 21 19 13 9 6 1", castable, attr("to", int64(tensor.Float32), unary)),
		op("CastLike", "25 24 23 21 19 15", castable, func(e *example) { e.x(2).t(value(tensor.Float32, 1)) }),
		op("BitCast", "26", without(any25, onlyText), func(e *example) { e.x(2).set("to", int64(e.d)) }),
		op("CumSum", "14 11", wide, func(e *example) { e.x(2, 3).c(scalar(int64(0))) }), op("CumProd", "26", wide, func(e *example) { e.x(2, 3).c(scalar(int64(0))) }),
		op("Softmax", "13 11 1", floats, unary), op("LogSoftmax", "13 11 1", floats, unary), op("Hardmax", "13 11 1", floats, unary),
		op("Dropout", "22 13 12 10 7 6 1", floats, unary), op("Bernoulli", "22 15", floats, func(e *example) { e.t(ones(e.d, 2)) }),
		op("RegexFullMatch", "20", onlyText, attr("pattern", "[0-9]", unary)), op("StringConcat", "20", onlyText, binary), op("StringSplit", "20", onlyText, func(e *example) { e.outs(2).x(2) }),
		op("StringNormalizer", "10", onlyText, func(e *example) { e.x(3) }),
		op("QuantizeLinear", "25 24 23 21 19 13 10", []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16, tensor.Int32}, func(e *example) { e.x(2, 3).t(scale(e.d)) }),
		op("DequantizeLinear", "25 24 23 21 19 13 10", slices.Concat(bytes, []tensor.DType{tensor.Int16, tensor.Uint16, tensor.Int32, tensor.Float4E2M1}, float8s, packed), func(e *example) { e.x(2, 3).t(scalar(float32(1))) }),
		op("DynamicQuantizeLinear", "11", onlyFloat, func(e *example) { e.outs(3).x(2, 3) }),
		op("Det", "22 11", floats, row),
	}
	for name, since := range map[string]string{"Acos": "22 7", "Acosh": "22 9", "Asin": "22 7", "Asinh": "22 9", "Atan": "22 7", "Atanh": "22 9", "Cos": "22 7", "Cosh": "22 9", "Sin": "22 7",
		"Sinh": "22 9", "Tan": "22 7", "Tanh": "13 6 1", "Ceil": "13 6 1", "Floor": "13 6 1", "Round": "22 11", "Exp": "13 6 1", "Log": "13 6 1", "Sqrt": "13 6 1", "Reciprocal": "13 6 1",
		"Sigmoid": "13 6 1", "Elu": "22 6 1", "Selu": "22 6 1", "HardSigmoid": "22 6 1", "HardSwish": "22 14", "Mish": "22 18", "Softplus": "22 1", "Softsign": "22 1", "ThresholdedRelu": "22 10"} {
		ops = append(ops, op(name, since, floats, unary))
	}
	return ops
}

// scale is 1 in the type that a scale has for numbers of type d.
func scale(d tensor.DType) *tensor.Tensor {
	if d == tensor.Int32 {
		d = tensor.Float32
	}
	return value(d)
}

func ones(d tensor.DType, shape ...int) *tensor.Tensor {
	t := value(d, shape...)
	for i := range t.Size() {
		set(t, i, 1)
	}
	return t
}

func arrays() []*Operator {
	axis := func(e *example) *example { return e.set("axis", int64(1)) }
	ops := []*Operator{
		op("Identity", "25 24 23 21 19 16 14 13 1", any25, unary), op("Shape", "25 24 23 21 19 15 13 1", any25, unary), op("Size", "25 24 23 21 19 13 1", any25, unary),
		op("Flatten", "25 24 23 21 13 11 9 1", any25, unary), op("Transpose", "25 24 23 21 13 1", any25, unary),
		op("Reshape", "25 24 23 21 19 14 13 5 1", any25, func(e *example) { e.x(2, 3).ints(3, 2) }),
		op("Squeeze", "25 24 23 21 13 11 1", any25, func(e *example) { e.x(1, 3).ints(0) }), op("Unsqueeze", "25 24 23 21 13 11 1", any25, func(e *example) { e.x(3).ints(0) }),
		op("Pad", "25 24 23 21 19 18 13 11 2 1", any25, func(e *example) { e.x(2, 3).ints(0, 1, 0, 1) }),
		op("Concat", "13 11 4 1", any16, func(e *example) { binary(axis(e)) }), op("Split", "18 13 11 2 1", any16, func(e *example) { axis(e).outs(2).x(2, 3).ints(1, 2) }),
		op("Slice", "13 11 10 1", any16, func(e *example) { e.x(2, 3).ints(0).ints(1) }), op("Tile", "13 6 1", any16, func(e *example) { e.x(2, 3).ints(2, 1) }),
		op("Expand", "13 8", any16, func(e *example) { e.x(1, 3).ints(2, 3) }), op("Gather", "13 11 1", any16, func(e *example) { e.x(2, 3).ints(1, 0) }),
		op("GatherElements", "13 11", any16, func(e *example) { axis(e).x(1, 3).c(tensor.Must(tensor.Of([]int64{2, 0}, 1, 2))) }),
		op("GatherND", "13 12 11", any16, func(e *example) { e.x(2, 3).c(tensor.Must(tensor.Of([]int64{1, 2}, 1, 2))) }),
		op("ScatterElements", "18 16 13 11", any16, func(e *example) { axis(e).x(1, 3).c(tensor.Must(tensor.Of([]int64{2, 0}, 1, 2))).x(1, 2) }),
		op("Scatter", "11 9", any15, func(e *example) { axis(e).x(1, 3).c(tensor.Must(tensor.Of([]int64{2, 0}, 1, 2))).x(1, 2) }),
		op("ScatterND", "18 16 13 11", any16, func(e *example) { e.x(2, 3).c(tensor.Must(tensor.Of([]int64{1, 2}, 1, 2))).x(1) }),
		op("TensorScatter", "24", any16, func(e *example) { e.x(1, 3, 2).x(1, 1, 2).ints(1) }),
		op("CenterCropPad", "18", any16, func(e *example) { e.x(2, 3).ints(3, 2) }), op("DepthToSpace", "13 11 1", any16, func(e *example) { e.x(1, 4, 2, 2).set("blocksize", int64(2)) }),
		op("SpaceToDepth", "13 1", any16, func(e *example) { e.x(1, 1, 4, 4).set("blocksize", int64(2)) }), op("Trilu", "14", any16, unary),
		op("ReverseSequence", "10", any15, func(e *example) { e.x(3, 2).ints(3, 2) }), op("Compress", "11 9", any15, func(e *example) { e.x(3).c(tensor.Vector(true, false, true)) }),
		op("NonZero", "13 9", any16, unary), op("Unique", "11", any15, func(e *example) { e.x(4) }),
		op("OneHot", "11 9", without(numbers, []tensor.DType{tensor.BFloat16}), func(e *example) { e.x(3).ints(4).c(tensor.Vector[float32](0, 1)) }),
		op("TopK", "24 11 10 1", numbers, func(e *example) { e.outs(2).x(4).ints(2) }),
		op("ArgMax", "13 12 11 1", numbers, unary), op("ArgMin", "13 12 11 1", numbers, unary),
		op("Resize", "19 18 13 11 10", any16, func(e *example) { e.x(1, 1, 2, 2).t(nil).c(tensor.Vector[float32](1, 1, 2, 2)) }),
		op("Upsample", "10 9 7 1", any15, func(e *example) { e.x(1, 1, 2, 2).c(tensor.Vector[float32](1, 1, 2, 2)) }),
		op("Col2Im", "18", any16, func(e *example) { e.x(1, 4, 1).ints(2, 2).ints(2, 2) }),
		op("TfIdfVectorizer", "9", slices.Concat(onlyText, counts), tfIdf),
	}
	for _, name := range []string{"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSumSquare"} {
		ops = append(ops, op(name, "18 13 11 1", wide, reduce))
	}
	ops = append(ops, op("ReduceSum", "13 11 1", wide, reduce))
	for _, name := range []string{"ReduceMax", "ReduceMin"} {
		ops = append(ops, op(name, "20 18 13 12 11 1", slices.Concat(wide, bytes, onlyBool), reduce))
	}
	return ops
}

func tfIdf(e *example) {
	e.x(3).set("mode", "TF").set("min_gram_length", int64(1)).set("max_gram_length", int64(1)).set("max_skip_count", int64(0)).set("ngram_counts", []int64{0}).set("ngram_indexes", []int64{0, 1})
	if e.d == tensor.String {
		e.set("pool_strings", []string{"1", "2"})
		return
	}
	e.set("pool_int64s", []int64{1, 2})
}

func nets() []*Operator {
	recurrent := func(gates int) func(e *example) {
		return func(e *example) { e.set("hidden_size", int64(2)).x(1, 1, 2).x(1, 2*gates, 2).x(1, 2*gates, 2) }
	}
	zero := func(d tensor.DType) *tensor.Tensor { return tensor.Must(tensor.New(d)) }
	quantized := func(e *example, shapes ...[]int) {
		for _, s := range shapes {
			e.x(s...).t(scalar(float32(1))).t(zero(e.d))
		}
		e.t(scalar(float32(8))).t(zero(e.d))
	}
	return []*Operator{
		op("MatMul", "13 9 1", wide, func(e *example) { e.x(2, 3).x(3, 2) }), op("Gemm", "13 11 9 7 6 1", wide, func(e *example) { e.x(2, 3).x(3, 2) }),
		op("Einsum", "12", without(numbers, []tensor.DType{tensor.BFloat16}), func(e *example) { e.x(2, 3).x(3, 2).set("equation", "ij,jk->ik") }),
		op("MatMulInteger", "10", bytes, func(e *example) { e.x(2, 3).x(3, 2) }), op("ConvInteger", "10", bytes, func(e *example) { e.x(1, 1, 3, 3).x(1, 1, 2, 2) }),
		op("QLinearMatMul", "21 10", slices.Concat(bytes, float8s), func(e *example) { quantized(e, []int{2, 3}, []int{3, 2}) }),
		op("QLinearConv", "10", bytes, func(e *example) { quantized(e, []int{1, 1, 3, 3}, []int{1, 1, 2, 2}) }),
		op("Conv", "22 11 1", floats, func(e *example) { e.x(1, 1, 3, 3).x(1, 1, 2, 2) }), op("ConvTranspose", "22 11 1", floats, func(e *example) { e.x(1, 1, 3, 3).x(1, 1, 2, 2) }),
		op("DeformConv", "22 19", floats, func(e *example) { e.x(1, 1, 3, 3).x(1, 1, 2, 2).x(1, 8, 2, 2) }),
		op("AveragePool", "22 19 11 10 7 1", floats, pool), op("MaxPool", "22 12 11 10 8 1", slices.Concat(floats, bytes), pool), op("LpPool", "22 18 11 2 1", floats, pool),
		op("GlobalAveragePool", "22 1", floats, image), op("GlobalMaxPool", "22 1", floats, image), op("GlobalLpPool", "22 2 1", floats, image),
		op("MaxUnpool", "22 11 9", floats, func(e *example) {
			e.x(1, 1, 1, 1).c(tensor.Must(tensor.Of([]int64{2}, 1, 1, 1, 1))).set("kernel_shape", []int64{2, 2}).set("strides", []int64{2, 2})
		}),
		op("MaxRoiPool", "22 1", floats, func(e *example) { e.x(1, 1, 4, 4).t(rois(e.d, 0, 0, 0, 2, 2)).set("pooled_shape", []int64{1, 1}) }),
		op("RoiAlign", "22 16 10", floats, func(e *example) { e.x(1, 1, 4, 4).t(rois(e.d, 0, 0, 2, 2)).ints(0) }),
		op("BatchNormalization", "15 14 9 7 6 1", floats, func(e *example) { e.x(1, 2, 3).x(2).x(2).x(2).x(2) }),
		op("InstanceNormalization", "22 6 1", floats, func(e *example) { e.x(1, 2, 3).x(2).x(2) }), op("LayerNormalization", "17", floats, func(e *example) { e.x(2, 3).x(3) }),
		op("GroupNormalization", "21 18", floats, func(e *example) { e.x(1, 2, 3).x(2).x(2).set("num_groups", int64(1)) }), op("RMSNormalization", "23", floats, func(e *example) { e.x(2, 3).x(3) }),
		op("LpNormalization", "22 1", floats, unary), op("MeanVarianceNormalization", "13 9", floats, image), op("LRN", "13 1", floats, func(e *example) { e.x(1, 2, 3, 3).set("size", int64(3)) }),
		op("RNN", "22 14 7 1", floats, recurrent(1)), op("GRU", "22 14 7 3 1", floats, recurrent(3)), op("LSTM", "22 14 7 1", floats, recurrent(4)),
		op("Attention", "24 23", floats, func(e *example) { e.x(1, 1, 2, 2).x(1, 1, 2, 2).x(1, 1, 2, 2) }),
		op("LinearAttention", "27", []tensor.DType{tensor.Float16, tensor.Float32, tensor.BFloat16}, func(e *example) {
			e.outs(2).x(1, 2, 2).x(1, 2, 2).x(1, 2, 2).set("q_num_heads", int64(1)).set("kv_num_heads", int64(1)).set("update_rule", "linear")
		}),
		op("CausalConvWithState", "27", []tensor.DType{tensor.Float16, tensor.Float32, tensor.BFloat16}, func(e *example) { e.outs(2).x(1, 2, 4).x(2, 1, 2) }),
		op("RotaryEmbedding", "23", []tensor.DType{tensor.Float16, tensor.Float32, tensor.BFloat16}, func(e *example) { e.x(1, 1, 2, 2).x(1, 2, 1).x(1, 2, 1) }),
		op("AffineGrid", "20", floats, func(e *example) { e.x(1, 2, 3).ints(1, 1, 2, 2) }), op("GridSample", "22 20 16", any16, func(e *example) { e.x(1, 1, 2, 2).t(grid(e.d)) }),
		op("NonMaxSuppression", "11 10", onlyFloat, func(e *example) { e.x(1, 2, 4).x(1, 1, 2).ints(1) }),
		op("NegativeLogLikelihoodLoss", "22 13 12", floats, func(e *example) { e.x(2, 3).ints(0, 2) }), op("SoftmaxCrossEntropyLoss", "13 12", floats, func(e *example) { e.x(2, 3).ints(0, 2) }),
		op("DFT", "20 17", floats, func(e *example) { e.x(1, 4, 1) }), op("STFT", "17", floats, func(e *example) { e.x(1, 4, 1).c(scalar(int64(2))).t(nil).c(scalar(int64(2))) }),
		op("ImageDecoder", "20", []tensor.DType{tensor.Uint8}, func(e *example) { e.t(tensor.Vector([]uint8("P5 1 1 255\n\x07")...)) }),
	}
}

// rois are the corners of one region.
func rois(d tensor.DType, at ...int) *tensor.Tensor {
	t := value(d, 1, len(at))
	for i, v := range at {
		set(t, i, v)
	}
	return t
}

// grid is one place, of a type that places have for pictures of type d.
func grid(d tensor.DType) *tensor.Tensor {
	if !slices.Contains(floats, d) {
		d = tensor.Float32
	}
	return tensor.Must(tensor.New(d, 1, 1, 1, 2))
}

func makers() []*Operator {
	window := func(e *example) { e.t(scalarOf(e.d, 3)) }
	shape := func(e *example) { e.set("shape", []int64{2, 2}).set("dtype", int64(e.d)) }
	return []*Operator{
		op("Constant", "25 24 23 21 19 13 12 11 9 1", any25, func(e *example) { e.set("value", value(e.d, 2)) }),
		op("ConstantOfShape", "25 24 23 21 20 9", castable, func(e *example) { e.ints(2, 2).set("value", value(e.d, 1)) }),
		op("EyeLike", "22 9", slices.Concat(numbers, onlyBool), func(e *example) { e.x(2, 2) }),
		op("Range", "27 11", []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Float16, tensor.BFloat16}, func(e *example) { e.x().t(scalarOf(e.d, 3)).x() }),
		op("RandomNormal", "22 1", floats, shape), op("RandomUniform", "22 1", floats, shape), op("RandomNormalLike", "22 1", floats, unary), op("RandomUniformLike", "22 1", floats, unary),
		op("Multinomial", "22 7", floats, func(e *example) { e.x(1, 3) }), op("HannWindow", "17", counts, window), op("HammingWindow", "17", counts, window), op("BlackmanWindow", "17", counts, window),
		op("MelWeightMatrix", "17", counts, func(e *example) {
			e.t(scalarOf(e.d, 2)).t(scalarOf(e.d, 8)).t(scalarOf(e.d, 100)).t(scalar(float32(0))).t(scalar(float32(40)))
		}),
	}
}

func scalarOf(d tensor.DType, v int) *tensor.Tensor {
	t := value(d)
	set(t, 0, v)
	return t
}

func controls() []*Operator {
	return []*Operator{
		op("If", "25 24 23 21 19 16 13 11 1", onlyBool, func(e *example) {
			e.t(scalar(true)).c(tensor.Vector[float32](1))
			e.n.Inputs = e.n.Inputs[:1]
			e.set("then_branch", e.same(nil, "c1", "a")).set("else_branch", e.same(nil, "c1", "b"))
		}),
		op("Loop", "25 24 23 21 19 16 13 11 1", any25, func(e *example) {
			in := []graph.Value{e.value("i", tensor.Int64), e.value("go", tensor.Bool), e.value("v", e.d, 2)}
			e.outs(2).c(scalar(int64(2))).c(scalar(true)).x(2).set("body", e.same(in, "go", "go2", "v", "v2", "v", "s"))
		}),
		op("Scan", "25 24 23 21 19 16 11 9 8", any25, func(e *example) {
			e.x(2, 3).set("num_scan_inputs", int64(1)).set("body", e.same([]graph.Value{e.value("r", e.d, 3)}, "r", "r2"))
		}),
		op("SequenceMap", "17", any15, func(e *example) { e.sequence().set("body", e.same([]graph.Value{e.value("a", e.d, 2)}, "a", "b")) }),
		op("SequenceConstruct", "11", any15, func(e *example) { e.x(2).x(2) }), op("SequenceEmpty", "11", any15, func(e *example) { e.set("dtype", int64(e.d)) }),
		op("SequenceAt", "11", any15, func(e *example) { e.sequence().c(scalar(int64(1))) }), op("SequenceErase", "11", any15, func(e *example) { e.sequence() }),
		op("SequenceInsert", "11", any15, func(e *example) {
			e.sequence()
			e.n.Inputs = append(e.n.Inputs, "x0")
		}),
		op("SequenceLength", "11", any15, func(e *example) { e.sequence() }), op("SplitToSequence", "24 11", any16, unary),
		op("ConcatFromSequence", "11", any15, func(e *example) { e.sequence().set("axis", int64(0)) }),
		op("Optional", "15", any15, unary), op("OptionalHasElement", "18 15", any15, unary), op("OptionalGetElement", "18 15", any15, unary),
	}
}
