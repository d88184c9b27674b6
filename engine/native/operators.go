package native

import (
	"fmt"
	"math"
	"strings"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph"
)

// An operator is an entry of the table of kernels.
type operator struct {
	prepare func(c *prep) error
	// attrs lists the attributes as name:KIND, separated by spaces; several kinds are joined by |.
	attrs string
}

// check returns an error for attributes that the kernel does not know, because leaving them out would change the
// meaning.
func (o *operator) check(n *graph.Node, opset int64) error {
next:
	for name := range n.Attrs {
		if name == "consumed_inputs" { // opset 1, says nothing about the result
			continue
		}
		kind := n.Attrs.Kind(name)
		for spec := range strings.FieldsSeq(o.attrs) {
			known, kinds, _ := strings.Cut(spec, ":")
			if known != name {
				continue
			}
			for k := range strings.SplitSeq(kinds, "|") {
				if k == kind {
					continue next
				}
			}
			return &unsupported{op: n.Op(), reason: fmt.Sprintf("attribute %s of kind %s", name, kind)}
		}
		return &unsupported{op: n.Op(), reason: fmt.Sprintf("attribute %s at opset %d", name, opset)}
	}
	return nil
}

const (
	legacyAttrs    = "broadcast:INT axis:INT"
	reduceAttrs    = "axes:INTS keepdims:INT noop_with_empty_axes:INT"
	windowAttrs    = "auto_pad:STRING kernel_shape:INTS strides:INTS pads:INTS dilations:INTS"
	recurrentAttrs = "activations:STRINGS activation_alpha:FLOATS activation_beta:FLOATS clip:FLOAT direction:STRING hidden_size:INT layout:INT output_sequence:INT"
	previewDomain  = "ai.onnx.preview.training"
	svmAttrs       = "kernel_type:STRING kernel_params:FLOATS support_vectors:FLOATS coefficients:FLOATS rho:FLOATS post_transform:STRING"
	treeAttrs      = "base_values:FLOATS base_values_as_tensor:TENSOR nodes_falsenodeids:INTS nodes_featureids:INTS nodes_hitrates:FLOATS nodes_hitrates_as_tensor:TENSOR " +
		"nodes_missing_value_tracks_true:INTS nodes_modes:STRINGS nodes_nodeids:INTS nodes_treeids:INTS nodes_truenodeids:INTS nodes_values:FLOATS nodes_values_as_tensor:TENSOR post_transform:STRING"
	lossAttrs = "ignore_index:INT reduction:STRING"
)

// operators are the kernels by operator, which is "domain.Name" outside ONNX's own domain.
var operators = map[string]*operator{
	"Add":     {pair(arith(opAdd)), legacyAttrs},
	"Sub":     {pair(arith(opSub)), legacyAttrs},
	"Mul":     {pair(arith(opMul)), legacyAttrs},
	"Div":     {pair(arith(opDiv)), legacyAttrs},
	"Mod":     {pair(arith(opMod)), "fmod:INT"},
	"Min":     {viaFloat32(arith(opMin)), ""},
	"Max":     {viaFloat32(arith(opMax)), ""},
	"Sum":     {viaFloat32(arith(opAdd)), ""},
	"Mean":    {viaFloat32(mean), ""},
	"Pow":     {pow, legacyAttrs},
	"PRelu":   {prelu, ""},
	"Clip":    {clip, "min:FLOAT max:FLOAT"},
	"Equal":   {compare(opEqual), legacyAttrs},
	"Less":    {compare(opLess), legacyAttrs},
	"Greater": {compare(opGreater), legacyAttrs},
	"And":     {logical(and), legacyAttrs},
	"Or":      {logical(or), legacyAttrs},
	"Xor":     {logical(xor), legacyAttrs},
	"Not":     {not, ""},
	"Where":   {where, ""},

	"BitwiseAnd": {bits(bitAnd), ""},
	"BitwiseOr":  {bits(bitOr), ""},
	"BitwiseXor": {bits(bitXor), ""},
	"BitwiseNot": {bitNot, ""},
	"BitShift":   {bitShift, "direction:STRING"},
	"IsNaN":      {isNaN, ""},
	"IsInf":      {isInf, "detect_negative:INT detect_positive:INT"},

	"LessOrEqual":    {compare(opLessEq), ""},
	"GreaterOrEqual": {compare(opGreaterEq), ""},

	"Relu":            {number(fnRelu), ""},
	"Neg":             {number(fnNeg), ""},
	"Abs":             {number(fnAbs), ""},
	"Sign":            {number(fnSign), ""},
	"Sqrt":            {vector((*gemm.Kernel).Sqrt, math.Sqrt), ""},
	"Exp":             {vector((*gemm.Kernel).Exp, math.Exp), ""},
	"Log":             {vector((*gemm.Kernel).Log, math.Log), ""},
	"Erf":             {vector((*gemm.Kernel).Erf, math.Erf), ""},
	"Sigmoid":         {vector((*gemm.Kernel).Sigmoid, sigmoid), ""},
	"Tanh":            {vector((*gemm.Kernel).Tanh, math.Tanh), ""},
	"Softplus":        {plain(softplus), ""},
	"Softsign":        {plain(softsign), ""},
	"Sin":             {plain(math.Sin), ""},
	"Cos":             {plain(math.Cos), ""},
	"Tan":             {plain(math.Tan), ""},
	"Asin":            {plain(math.Asin), ""},
	"Acos":            {plain(math.Acos), ""},
	"Atan":            {plain(math.Atan), ""},
	"Sinh":            {plain(math.Sinh), ""},
	"Cosh":            {plain(math.Cosh), ""},
	"Asinh":           {plain(math.Asinh), ""},
	"Acosh":           {plain(math.Acosh), ""},
	"Atanh":           {plain(math.Atanh), ""},
	"HardSwish":       {quick(plain(hardSwish), hardSwishRow), ""},
	"Mish":            {plain(mish), ""},
	"Reciprocal":      {plain(func(x float64) float64 { return 1 / x }), ""},
	"Floor":           {plain(math.Floor), ""},
	"Ceil":            {plain(math.Ceil), ""},
	"Round":           {plain(math.RoundToEven), ""},
	"Gelu":            {quick(floatFunc(gelu), geluRow), "approximate:STRING"},
	"LeakyRelu":       {quick(alphaFunc(0.01, 0, leakyRelu, "alpha"), leakyRow), "alpha:FLOAT"},
	"Elu":             {alphaFunc(1, 0, elu, "alpha"), "alpha:FLOAT"},
	"Celu":            {alphaFunc(1, 0, celu, "alpha"), "alpha:FLOAT"},
	"Selu":            {seluByOpset, "alpha:FLOAT gamma:FLOAT"},
	"HardSigmoid":     {quick(alphaFunc(0.2, 0.5, hardSigmoid, "alpha", "beta"), hardSigmoidRow), "alpha:FLOAT beta:FLOAT"},
	"ThresholdedRelu": {alphaFunc(1, 0, thresholded, "alpha"), "alpha:FLOAT"},

	"MatMul":        {matmul, ""},
	"Gemm":          {gemmOp, "alpha:FLOAT beta:FLOAT transA:INT transB:INT broadcast:INT"},
	"Conv":          {conv, windowAttrs + " group:INT"},
	"ConvTranspose": {convTranspose, windowAttrs + " group:INT output_padding:INTS output_shape:INTS"},

	"Einsum": {einsum, "equation:STRING"},

	"RNN":  {rnn, recurrentAttrs},
	"GRU":  {gru, recurrentAttrs + " linear_before_reset:INT"},
	"LSTM": {lstm, recurrentAttrs + " input_forget:INT"},

	"MaxPool":           {maxPool, windowAttrs + " ceil_mode:INT storage_order:INT"},
	"AveragePool":       {averagePool, windowAttrs + " ceil_mode:INT count_include_pad:INT"},
	"GlobalAveragePool": {globalPool(redMean), ""},
	"GlobalMaxPool":     {globalPool(redMax), ""},
	"LpPool":            {lpPool, windowAttrs + " ceil_mode:INT p:INT|FLOAT"},
	"GlobalLpPool":      {globalLpPool, "p:INT|FLOAT"},
	"LpNormalization":   {lpNorm, "axis:INT p:INT"},
	"MaxUnpool":         {maxUnpool, "kernel_shape:INTS strides:INTS pads:INTS"},
	"RoiAlign":          {roiAlign, "mode:STRING coordinate_transformation_mode:STRING output_height:INT output_width:INT sampling_ratio:INT spatial_scale:FLOAT"},

	"BatchNormalization":    {batchNorm, "epsilon:FLOAT momentum:FLOAT spatial:INT is_test:INT training_mode:INT"},
	"InstanceNormalization": {instanceNorm, "epsilon:FLOAT"},
	"LayerNormalization":    {layerNorm, "axis:INT epsilon:FLOAT stash_type:INT"},
	"GroupNormalization":    {groupNorm, "epsilon:FLOAT num_groups:INT stash_type:INT"},
	"LRN":                   {lrn, "size:INT alpha:FLOAT beta:FLOAT bias:FLOAT"},
	"Dropout":               {dropout, "ratio:FLOAT is_test:INT seed:INT|FLOAT"},
	"Softmax":               {softmax(false), "axis:INT"},
	"LogSoftmax":            {softmax(true), "axis:INT"},
	"Hardmax":               {hardmax, "axis:INT"},
	"Shrink":                {shrink, "bias:FLOAT lambd:FLOAT"},

	"MeanVarianceNormalization": {meanVarianceNorm, "axes:INTS"},

	"NegativeLogLikelihoodLoss": {nllLoss, lossAttrs},
	"SoftmaxCrossEntropyLoss":   {crossEntropyLoss, lossAttrs},

	"Identity":          {identity, ""},
	"Reshape":           {reshape, "shape:INTS allowzero:INT"},
	"Flatten":           {flatten, "axis:INT"},
	"Squeeze":           {squeeze, "axes:INTS"},
	"Unsqueeze":         {unsqueeze, "axes:INTS"},
	"Transpose":         {transpose, "perm:INTS"},
	"Shape":             {shapeOf, "start:INT end:INT"},
	"Size":              {sizeOf, ""},
	"Constant":          {constant, "value:TENSOR value_float:FLOAT value_floats:FLOATS value_int:INT value_ints:INTS value_string:STRING value_strings:STRINGS"},
	"ConstantOfShape":   {constantOfShape, "value:TENSOR"},
	"Expand":            {expand, ""},
	"Concat":            {concat, "axis:INT"},
	"Split":             {split, "axis:INT split:INTS num_outputs:INT"},
	"Slice":             {slice, "starts:INTS ends:INTS axes:INTS"},
	"Tile":              {tile, ""},
	"Pad":               {pad, "mode:STRING pads:INTS paddings:INTS value:FLOAT"},
	"Gather":            {gather, "axis:INT"},
	"OneHot":            {oneHot, "axis:INT"},
	"Range":             {rangeOf, "stash_type:INT"},
	"HannWindow":        {windowFunction(0.5, 0.5, 0), "output_datatype:INT periodic:INT"},
	"HammingWindow":     {windowFunction(25.0/46, 21.0/46, 0), "output_datatype:INT periodic:INT"},
	"BlackmanWindow":    {windowFunction(0.42, 0.5, 0.08), "output_datatype:INT periodic:INT"},
	"MelWeightMatrix":   {melWeightMatrix, "output_datatype:INT"},
	"DFT":               {dft, "axis:INT inverse:INT onesided:INT"},
	"STFT":              {stft, "onesided:INT"},
	"Trilu":             {trilu, "upper:INT"},
	"GatherElements":    {gatherElements, "axis:INT"},
	"ScatterElements":   {scatterElements, "axis:INT reduction:STRING"},
	"Scatter":           {scatterElements, "axis:INT"},
	"GatherND":          {gatherND, "batch_dims:INT"},
	"NonZero":           {nonZero, ""},
	"Compress":          {compress, "axis:INT"},
	"NonMaxSuppression": {nonMaxSuppression, "center_point_box:INT"},
	"Unique":            {unique, "axis:INT sorted:INT"},
	"ReverseSequence":   {reverseSequence, "batch_axis:INT time_axis:INT"},
	"EyeLike":           {eyeLike, "dtype:INT k:INT"},
	"Det":               {det, ""},
	"ScatterND":         {scatterND, "reduction:STRING"},
	"DepthToSpace":      {depthToSpace, "blocksize:INT mode:STRING"},
	"SpaceToDepth":      {spaceToDepth, "blocksize:INT"},
	"Resize": {resize, "mode:STRING coordinate_transformation_mode:STRING nearest_mode:STRING cubic_coeff_a:FLOAT exclude_outside:INT " +
		"extrapolation_value:FLOAT antialias:INT axes:INTS keep_aspect_ratio_policy:STRING"},
	"GridSample": {gridSample, "mode:STRING padding_mode:STRING align_corners:INT"},
	"Upsample":   {upsample, "mode:STRING scales:FLOATS height_scale:FLOAT width_scale:FLOAT"},
	"Cast":       {cast, "to:INT|STRING saturate:INT round_mode:STRING"},
	"CastLike":   {castLike, "saturate:INT round_mode:STRING"},

	"QuantizeLinear":        {quantizeLinear, "axis:INT block_size:INT output_dtype:INT precision:INT saturate:INT"},
	"DequantizeLinear":      {dequantizeLinear, "axis:INT block_size:INT output_dtype:INT"},
	"DynamicQuantizeLinear": {dynamicQuantizeLinear, ""},
	"MatMulInteger":         {matmulInteger, ""},
	"ConvInteger":           {convInteger, windowAttrs + " group:INT"},
	"QLinearMatMul":         {qlinearMatmul, ""},
	"QLinearConv":           {qlinearConv, windowAttrs + " group:INT"},

	"ReduceSum":       {reduce(redSum, 13), reduceAttrs},
	"ReduceMean":      {reduce(redMean, 18), reduceAttrs},
	"ReduceMax":       {reduce(redMax, 18), reduceAttrs},
	"ReduceMin":       {reduce(redMin, 18), reduceAttrs},
	"ReduceProd":      {reduce(redProd, 18), reduceAttrs},
	"ReduceSumSquare": {reduce(redSumSquare, 18), reduceAttrs},
	"ReduceL1":        {reduce(redL1, 18), reduceAttrs},
	"ReduceL2":        {reduce(redL2, 18), reduceAttrs},
	"ReduceLogSum":    {reduce(redLogSum, 18), reduceAttrs},
	"ReduceLogSumExp": {reduce(redLogSumExp, 18), reduceAttrs},
	"ArgMax":          {arg(true), "axis:INT keepdims:INT select_last_index:INT"},
	"ArgMin":          {arg(false), "axis:INT keepdims:INT select_last_index:INT"},
	"TopK":            {topK, "axis:INT k:INT largest:INT sorted:INT"},
	"CumSum":          {cumSum, "exclusive:INT reverse:INT"},

	"If":   {ifOp, "then_branch:GRAPH else_branch:GRAPH"},
	"Loop": {loopOp, "body:GRAPH"},
	"Scan": {scanOp, "body:GRAPH num_scan_inputs:INT scan_input_axes:INTS scan_input_directions:INTS scan_output_axes:INTS scan_output_directions:INTS directions:INTS"},

	"SequenceMap":        {sequenceMap, "body:GRAPH"},
	"SequenceAt":         {sequenceAt, ""},
	"SequenceConstruct":  {sequenceConstruct, ""},
	"SequenceEmpty":      {sequenceEmpty, "dtype:INT"},
	"SequenceErase":      {sequenceErase, ""},
	"SequenceInsert":     {sequenceInsert, ""},
	"SequenceLength":     {sequenceLength, ""},
	"SplitToSequence":    {splitToSequence, "axis:INT keepdims:INT"},
	"ConcatFromSequence": {concatFromSequence, "axis:INT new_axis:INT"},
	"Optional":           {optional, "type:TYPE_PROTO"},
	"OptionalGetElement": {optionalGetElement, ""},
	"OptionalHasElement": {optionalHasElement, ""},

	"StringNormalizer": {stringNormalizer, "case_change_action:STRING is_case_sensitive:INT locale:STRING stopwords:STRINGS"},
	"TfIdfVectorizer": {tfIdf, "max_gram_length:INT max_skip_count:INT min_gram_length:INT mode:STRING ngram_counts:INTS ngram_indexes:INTS " +
		"pool_int64s:INTS pool_strings:STRINGS weights:FLOATS"},

	"ImageDecoder": {imageDecoder, "pixel_format:STRING"},

	"StringConcat":   {stringConcat, ""},
	"StringSplit":    {stringSplit, "delimiter:STRING maxsplit:INT"},
	"RegexFullMatch": {regexFullMatch, "pattern:STRING"},

	"Swish":            {alphaFunc(1, 0, swish, "alpha"), "alpha:FLOAT"},
	"RMSNormalization": {rmsNorm, "axis:INT epsilon:FLOAT stash_type:INT"},
	"RotaryEmbedding":  {rotaryEmbedding, "interleaved:INT num_heads:INT rotary_embedding_dim:INT"},
	"CumProd":          {cumProd, "exclusive:INT reverse:INT"},

	"TensorScatter": {tensorScatter, "axis:INT mode:STRING"},
	"CenterCropPad": {centerCropPad, "axes:INTS"},
	"BitCast":       {bitCast, "to:INT"},
	"Col2Im":        {col2Im, "dilations:INTS pads:INTS strides:INTS"},
	"AffineGrid":    {affineGrid, "align_corners:INT"},
	"DeformConv":    {deformConv, windowAttrs + " group:INT offset_group:INT"},
	"MaxRoiPool":    {maxRoiPool, "pooled_shape:INTS spatial_scale:FLOAT"},

	"Attention": {attention, "is_causal:INT kv_num_heads:INT q_num_heads:INT qk_matmul_output_mode:INT scale:FLOAT softcap:FLOAT softmax_precision:INT"},

	"LinearAttention":     {linearAttention, "chunk_size:INT kv_num_heads:INT q_num_heads:INT scale:FLOAT update_rule:STRING"},
	"CausalConvWithState": {causalConv, "activation:STRING"},

	"RandomUniform":     {randomNumbers(false, false), "dtype:INT high:FLOAT low:FLOAT seed:FLOAT shape:INTS"},
	"RandomUniformLike": {randomNumbers(false, true), "dtype:INT high:FLOAT low:FLOAT seed:FLOAT"},
	"RandomNormal":      {randomNumbers(true, false), "dtype:INT mean:FLOAT scale:FLOAT seed:FLOAT shape:INTS"},
	"RandomNormalLike":  {randomNumbers(true, true), "dtype:INT mean:FLOAT scale:FLOAT seed:FLOAT"},
	"Bernoulli":         {bernoulli, "dtype:INT seed:FLOAT"},
	"Multinomial":       {multinomial, "dtype:INT sample_size:INT seed:FLOAT"},

	mlDomain + ".ArrayFeatureExtractor": {arrayFeatureExtractor, ""},
	mlDomain + ".Binarizer":             {binarizer, "threshold:FLOAT"},
	mlDomain + ".CategoryMapper":        {categoryMapper, "cats_int64s:INTS cats_strings:STRINGS default_int64:INT default_string:STRING"},
	mlDomain + ".CastMap":               {castMap, "cast_to:STRING map_form:STRING max_map:INT"},
	mlDomain + ".DictVectorizer":        {dictVectorizer, "int64_vocabulary:INTS string_vocabulary:STRINGS"},
	mlDomain + ".FeatureVectorizer":     {featureVectorizer, "inputdimensions:INTS"},
	mlDomain + ".Imputer":               {imputer, "imputed_value_floats:FLOATS imputed_value_int64s:INTS replaced_value_float:FLOAT replaced_value_int64:INT"},
	mlDomain + ".LabelEncoder": {labelEncoder, "classes_strings:STRINGS keys_strings:STRINGS keys_int64s:INTS keys_floats:FLOATS keys_tensor:TENSOR " +
		"values_strings:STRINGS values_int64s:INTS values_floats:FLOATS values_tensor:TENSOR default_string:STRING default_int64:INT default_float:FLOAT default_tensor:TENSOR"},
	mlDomain + ".LinearClassifier": {linearClassifier, "coefficients:FLOATS intercepts:FLOATS multi_class:INT post_transform:STRING classlabels_ints:INTS classlabels_strings:STRINGS"},
	mlDomain + ".LinearRegressor":  {linearRegressor, "coefficients:FLOATS intercepts:FLOATS post_transform:STRING targets:INT"},
	mlDomain + ".Normalizer":       {normalizer, "norm:STRING"},
	mlDomain + ".OneHotEncoder":    {oneHotEncoder, "cats_int64s:INTS cats_strings:STRINGS zeros:INT"},
	mlDomain + ".Scaler":           {scaler, "offset:FLOATS scale:FLOATS"},
	mlDomain + ".SVMClassifier":    {svmClassify, svmAttrs + " classlabels_ints:INTS classlabels_strings:STRINGS prob_a:FLOATS prob_b:FLOATS vectors_per_class:INTS"},
	mlDomain + ".SVMRegressor":     {svmRegressor, svmAttrs + " n_supports:INT one_class:INT"},
	mlDomain + ".TreeEnsemble": {viaFloat32(treeEnsemble), "aggregate_function:INT leaf_targetids:INTS leaf_weights:TENSOR membership_values:TENSOR n_targets:INT nodes_falseleafs:INTS nodes_falsenodeids:INTS " +
		"nodes_featureids:INTS nodes_hitrates:TENSOR nodes_missing_value_tracks_true:INTS nodes_modes:TENSOR nodes_splits:TENSOR nodes_trueleafs:INTS nodes_truenodeids:INTS post_transform:INT tree_roots:INTS"},
	mlDomain + ".TreeEnsembleClassifier": {treeClassifier, treeAttrs + " class_ids:INTS class_nodeids:INTS class_treeids:INTS class_weights:FLOATS class_weights_as_tensor:TENSOR " +
		"classlabels_int64s:INTS classlabels_strings:STRINGS"},
	mlDomain + ".TreeEnsembleRegressor": {treeRegressor, treeAttrs + " aggregate_function:STRING n_targets:INT target_ids:INTS target_nodeids:INTS target_treeids:INTS target_weights:FLOATS " +
		"target_weights_as_tensor:TENSOR"},
	mlDomain + ".ZipMap": {zipMap, "classlabels_int64s:INTS classlabels_strings:STRINGS"},

	flexDomain + ".FlexAttention": {nil, "scale:FLOAT softmax_precision:INT score_mod:GRAPH prob_mod:GRAPH"}, // see withoutFlex

	previewDomain + ".Adagrad":  {optimizer(1, previewAdagrad), "decay_factor:FLOAT epsilon:FLOAT norm_coefficient:FLOAT"},
	previewDomain + ".Adam":     {optimizer(2, previewAdam), "alpha:FLOAT beta:FLOAT epsilon:FLOAT norm_coefficient:FLOAT norm_coefficient_post:FLOAT"},
	previewDomain + ".Momentum": {optimizer(1, previewMomentum), "alpha:FLOAT beta:FLOAT mode:STRING norm_coefficient:FLOAT"},

	graph.MillraceDomain + ".SoftmaxCrossEntropy":        {floats(softmaxCrossEntropyOf[float32], softmaxCrossEntropyOf[float64]), "label_smoothing:FLOAT"},
	graph.MillraceDomain + ".ReluGradient":               {floats(reluGradientOf[float32], reluGradientOf[float64]), ""},
	graph.MillraceDomain + ".ConvGradientWeights":        {convGradientWeights, "kernel_shape:INTS strides:INTS pads:INTS dilations:INTS group:INT"},
	graph.MillraceDomain + ".MaxPoolGradient":            {floats(maxPoolGradientOf[float32], maxPoolGradientOf[float64]), ""},
	graph.MillraceDomain + ".BatchNormalizationGradient": {floats(batchNormGradientOf[float32], batchNormGradientOf[float64]), "epsilon:FLOAT"},
	graph.MillraceDomain + ".GatherGradient":             {floats(gatherGradientOf[float32], gatherGradientOf[float64]), ""},
	graph.MillraceDomain + ".SumToShape":                 {floats(sumToShapeOf[float32], sumToShapeOf[float64]), ""},
	graph.MillraceDomain + ".MomentumUpdate":             {momentumUpdate, ""},
	graph.MillraceDomain + ".NesterovUpdate":             {nesterovUpdate, ""},
	graph.MillraceDomain + ".RmsPropUpdate":              {rmsPropUpdate, ""},
	graph.MillraceDomain + ".AdamUpdate":                 {adamUpdate, ""},
}

// seluByOpset has the constants as ONNX wrote them before opset 6 and since.
func seluByOpset(c *prep) error {
	if c.opset < 6 {
		return alphaFunc(1.6732, 1.0507, selu, "alpha", "gamma")(c)
	}
	return alphaFunc(1.67326319217681884765625, 1.05070102214813232421875, selu, "alpha", "gamma")(c)
}
