package gradient

import (
	"github.com/millrace/millrace/graph"
)

// A rule is the gradient of an operator.
type rule struct {
	// f appends the nodes that turn dy, the gradients by the outputs ("" where there is none), into the gradients by the
	// inputs; it may leave out what want says nobody wants.
	f func(t *tape, n *graph.Node, dy []string) ([]string, error)
	// inputs is how many leading inputs have a gradient; 0 means all.
	inputs int
	// many says that outputs after the first may have a gradient.
	many bool
}

// zeroGradient lists operators through which no gradient flows: their outputs are whole numbers, booleans, shapes,
// or piecewise constant.
var zeroGradient = map[string]bool{
	"Shape": true, "Size": true, "ArgMax": true, "ArgMin": true, "Equal": true, "Greater": true, "Less": true,
	"GreaterOrEqual": true, "LessOrEqual": true, "Not": true, "And": true, "Or": true, "Xor": true, "Floor": true,
	"Ceil": true, "Round": true, "Sign": true, "NonZero": true, "ConstantOfShape": true, "IsNaN": true, "IsInf": true,
	"EyeLike": true, "Range": true, "Constant": true, "RandomNormalLike": true, "RandomUniformLike": true,
	"Bernoulli": true,
}

// rules has every operator with a gradient.
var rules = map[string]rule{
	"Identity": {f: pass}, "Cast": {f: castGradient}, "CastLike": {f: castGradient, inputs: 1},

	"Relu": {f: reluGradient}, "LeakyRelu": {f: leakyReluGradient}, "PRelu": {f: preluGradient}, "Elu": {f: eluGradient},
	"Celu": {f: celuGradient}, "Selu": {f: seluGradient}, "ThresholdedRelu": {f: thresholdedReluGradient},
	"Sigmoid": {f: sigmoidGradient}, "HardSigmoid": {f: hardSigmoidGradient}, "HardSwish": {f: hardSwishGradient},
	"Tanh": {f: tanhGradient}, "Gelu": {f: geluGradient}, "Softplus": {f: softplusGradient}, "Softsign": {f: softsignGradient},
	"Softmax": {f: softmaxGradient}, "LogSoftmax": {f: logSoftmaxGradient}, "Clip": {f: clipGradient, inputs: 1},

	"Mish": {f: slope(mishGradient)}, "Swish": {f: slope(swishGradient)}, "Shrink": {f: slope(shrinkGradient)},

	"Sin": {f: slope(sinGradient)}, "Cos": {f: slope(cosGradient)}, "Tan": {f: slope(tanGradient)}, "Asin": {f: overRoot(oneMinusSquare)},
	"Acos": {f: acosGradient}, "Atan": {f: atanGradient}, "Sinh": {f: slope(sinhGradient)}, "Cosh": {f: slope(coshGradient)},
	"Asinh": {f: overRoot(onePlusSquare)}, "Acosh": {f: overRoot(squareMinusOne)}, "Atanh": {f: atanhGradient},
	"Erf": {f: erfGradient}, "Exp": {f: expGradient}, "Log": {f: logGradient}, "Sqrt": {f: sqrtGradient},
	"Reciprocal": {f: reciprocalGradient}, "Abs": {f: absGradient}, "Neg": {f: negGradient},
	"Add": {f: addGradient}, "Sub": {f: subGradient}, "Mul": {f: mulGradient}, "Div": {f: divGradient}, "Pow": {f: powGradient},
	"Mod": {f: modGradient}, "Min": {f: extremeGradient}, "Max": {f: extremeGradient}, "Sum": {f: sumGradient}, "Mean": {f: meanGradient}, "Where": {f: whereGradient},

	"Reshape": {f: reshapeGradient, inputs: 1}, "Flatten": {f: reshapeGradient}, "Squeeze": {f: reshapeGradient, inputs: 1},
	"Unsqueeze": {f: reshapeGradient, inputs: 1}, "Transpose": {f: transposeGradient}, "Concat": {f: concatGradient},
	"Split": {f: splitGradient, inputs: 1, many: true}, "Slice": {f: sliceGradient, inputs: 1}, "Gather": {f: gatherGradient, inputs: 1},
	"Pad": {f: padGradient, inputs: 1}, "Expand": {f: expandGradient, inputs: 1}, "Tile": {f: tileGradient, inputs: 1},
	"Dropout": {f: dropoutGradient, inputs: 1}, "Resize": {f: resizeGradient, inputs: 1}, "CumSum": {f: cumSumGradient, inputs: 1},
	"GatherElements": {f: gatherElementsGradient, inputs: 1}, "GatherND": {f: gatherNDGradient, inputs: 1}, "TopK": {f: topKGradient, inputs: 1},
	"ScatterElements": {f: scatterGradient("ScatterElements", "GatherElements")}, "ScatterND": {f: scatterGradient("ScatterND", "GatherND")},
	"Compress": {f: compressGradient, inputs: 1}, "ReverseSequence": {f: reverseSequenceGradient, inputs: 1}, "Trilu": {f: triluGradient, inputs: 1},
	"MaxUnpool": {f: maxUnpoolGradient, inputs: 1}, "OneHot": {f: oneHotGradient}, "Einsum": {f: einsumGradient},
	"DepthToSpace": {f: depthToSpaceGradient}, "SpaceToDepth": {f: spaceToDepthGradient},

	"ReduceSum": {f: reduceSumGradient, inputs: 1}, "ReduceMean": {f: reduceMeanGradient, inputs: 1},
	"ReduceMax": {f: reduceExtremeGradient, inputs: 1}, "ReduceMin": {f: reduceExtremeGradient, inputs: 1},
	"ReduceProd": {f: reduceProdGradient, inputs: 1}, "ReduceL1": {f: reduceL1Gradient, inputs: 1},
	"ReduceL2": {f: reduceL2Gradient, inputs: 1}, "ReduceSumSquare": {f: reduceSumSquareGradient, inputs: 1},
	"ReduceLogSumExp": {f: reduceLogSumExpGradient, inputs: 1}, "ReduceLogSum": {f: reduceLogSumGradient, inputs: 1},

	"MatMul": {f: matMulGradient}, "Gemm": {f: gemmGradient},
	"Conv": {f: convGradient}, "ConvTranspose": {f: convTransposeGradient},
	"MaxPool": {f: maxPoolGradient}, "AveragePool": {f: averagePoolGradient}, "GlobalAveragePool": {f: globalAveragePoolGradient},
	"GlobalMaxPool": {f: globalMaxPoolGradient}, "LpPool": {f: lpPoolGradient}, "GlobalLpPool": {f: globalLpPoolGradient},
	"BatchNormalization": {f: batchNormalizationGradient, inputs: 3}, "LayerNormalization": {f: layerNormalizationGradient},
	"InstanceNormalization": {f: instanceNormalizationGradient}, "GroupNormalization": {f: groupNormalizationGradient},
	"Attention": {f: attentionGradient, inputs: 4, many: true}, "RotaryEmbedding": {f: rotaryEmbeddingGradient, inputs: 1},
	"CenterCropPad": {f: centerCropPadGradient, inputs: 1}, "AffineGrid": {f: affineGridGradient, inputs: 1}, "GridSample": {f: gridSampleGradient},

	"RNN":              {f: recurrentGradient(1, rnnCell, "Tanh"), many: true},
	"GRU":              {f: recurrentGradient(3, gruCell, "Sigmoid", "Tanh"), many: true},
	"LSTM":             {f: recurrentGradient(4, lstmCell, "Sigmoid", "Tanh", "Tanh"), many: true},
	"RMSNormalization": {f: rmsNormalizationGradient}, "MeanVarianceNormalization": {f: meanVarianceNormalizationGradient},
	"LpNormalization": {f: lpNormalizationGradient}, "LRN": {f: lrnGradient},
}

// one wraps the gradient of an operator with one input.
func one(g string) ([]string, error) { return []string{g}, nil }
