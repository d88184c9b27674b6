package native

import (
	"slices"

	"github.com/millrace/millrace/graph"
)

// A rowRule reports, for a prepared node of which an input has rows, whether row i of its outputs depends on row i of
// those inputs alone and its kernel's loops begin with the rows. That the outputs have the batch as their first dimension is
// known from shape inference and checked beside it.
type rowRule func(c *prep) bool

// rowRules are the operators that plans of rows may have.
var rowRules = joinRules(
	rulesFor(rowsFirst, "Relu", "Neg", "Abs", "Sign", "Sqrt", "Exp", "Log", "Erf", "Sigmoid", "Tanh", "Softplus", "Softsign",
		"Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "HardSwish", "Mish", "Reciprocal",
		"Floor", "Ceil", "Round", "Gelu", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "ThresholdedRelu", "Shrink", "Not", "IsNaN", "IsInf", "BitwiseNot",
		"Clip", "Cast", "CastLike", "Dropout", "Identity",
		"ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
		"InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth"),
	rulesFor(rowsBroadcast, "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Sum", "Mean", "Pow", "PRelu",
		"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "Where"),
	// Another name for the same elements: where the first dimension stays, so do the rows.
	rulesFor(func(c *prep) bool { return c.in[0].carries == carriesRows }, "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
	rulesFor(rowsReduced(18), "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2",
		"ReduceLogSum", "ReduceLogSumExp"),
	map[string]rowRule{
		"MatMul":             rowsMatMul,
		"Gemm":               rowsGemm,
		"Conv":               rowsConv,
		"BatchNormalization": rowsBatchNorm,
		"LayerNormalization": rowsLayerNorm,
		"Softmax":            rowsSoftmax,
		"LogSoftmax":         rowsSoftmax,
		"Hardmax":            rowsSoftmax,
		"ArgMax":             rowsAlong(0),
		"ArgMin":             rowsAlong(0),
		"TopK":               rowsAlong(-1),
		"CumSum":             rowsCumulative,
		"CumProd":            rowsCumulative,
		"ReduceSum":          rowsReduced(13),
		"Transpose": func(c *prep) bool {
			perm := c.attrs.Ints("perm", nil)
			return rowsFirst(c) && len(perm) > 0 && perm[0] == 0
		},
		"Concat":          rowsConcat,
		"Split":           rowsAlong(0),
		"Slice":           rowsSlice,
		"Pad":             rowsPad,
		"Tile":            rowsTile,
		"Resize":          rowsResize,
		"Upsample":        rowsResize,
		"Gather":          rowsGather,
		"OneHot":          rowsOneHot,
		"Expand":          rowsExpand,
		"ConstantOfShape": func(*prep) bool { return true },
	},
)

func rulesFor(rule rowRule, ops ...string) map[string]rowRule {
	m := map[string]rowRule{}
	for _, op := range ops {
		m[op] = rule
	}
	return m
}

func joinRules(tables ...map[string]rowRule) map[string]rowRule {
	all := map[string]rowRule{}
	for _, t := range tables {
		for op, rule := range t {
			all[graph.OpName(graph.OnnxDomain, op)] = rule
		}
	}
	return all
}

// fixed reports whether the inputs from i on are left out or the same for every batch.
func (c *prep) fixed(i int) bool {
	return i >= len(c.in) || !slices.ContainsFunc(c.in[i:], func(in info) bool { return in.has() && in.carries != carriesNothing })
}

// rowsFirst is for operators of one input with rows; others are parameters.
func rowsFirst(c *prep) bool { return c.in[0].carries == carriesRows && c.fixed(1) }

// repeats reports whether an input is broadcast over the first of rank dimensions.
func (in *info) repeats(rank int) bool {
	return in.carries == carriesNothing && (len(in.shape) < rank || len(in.shape) == rank && in.shape[0] == 1)
}

// follows reports whether an input of an operator that broadcasts has rows where the output has them, or none at all.
func (in *info) follows(rank int) bool {
	return in.carries == carriesRows && len(in.shape) == rank || in.repeats(rank)
}

func rowsBroadcast(c *prep) bool {
	if c.opset < 7 { // which aligns shapes from the left
		return false
	}
	rank := len(c.outs[0].shape)
	for i := range c.in {
		if !c.in[i].follows(rank) {
			return false
		}
	}
	return true
}

func rowsMatMul(c *prep) bool {
	a, b := &c.in[0], &c.in[1]
	if !c.fixed(2) {
		return false
	}
	if b.carries == carriesNothing { // a vector or a matrix, or several that are not the batch's
		return len(a.shape) >= 2 && (len(b.shape) <= 2 || b.repeats(len(a.shape)))
	}
	rank := len(b.shape)
	return rank >= 3 && a.follows(rank) && b.follows(rank)
}

func rowsGemm(c *prep) bool {
	return c.in[0].carries == carriesRows && !c.attrs.Bool("transA", false) && c.in[1].carries == carriesNothing &&
		(!c.opt(2).has() || c.in[2].follows(2))
}

func rowsConv(c *prep) bool {
	return c.in[0].carries == carriesRows && c.in[1].carries == carriesNothing &&
		(!c.opt(2).has() || c.in[2].carries == carriesNothing) && (!c.opt(3).has() || c.in[3].follows(len(c.outs[0].shape)))
}

func rowsBatchNorm(c *prep) bool {
	return rowsFirst(c) && len(c.in[0].shape) >= 2 && !c.attrs.Bool("training_mode", false) && !c.wants(1)
}

// rowsAlong is for operators that work along an axis, or from it on, which must not be the batch.
func rowsAlong(def int64) rowRule {
	return func(c *prep) bool { return rowsFirst(c) && c.pastBatch(c.attrs.Int("axis", def)) }
}

// pastBatch reports whether an axis of the first input is not the first.
func (c *prep) pastBatch(axis int64) bool {
	a, err := c.axis(axis, len(c.in[0].shape))
	return err == nil && a > 0
}

// rowsLayerNorm leaves out scales that have to be expanded first, in a loop of their own.
func rowsLayerNorm(c *prep) bool {
	if !rowsAlong(-1)(c) {
		return false
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(c.in[0].shape))
	for i := range min(len(c.in), 3) {
		if in := &c.in[i]; err != nil || i > 0 && in.has() && in.size() != c.in[0].shape[axis:].Size() {
			return false
		}
	}
	return true
}

func rowsSoftmax(c *prep) bool {
	if c.opset < 13 {
		return rowsAlong(1)(c)
	}
	return rowsAlong(-1)(c)
}

func rowsCumulative(c *prep) bool {
	axis, err := c.scalarInt(1)
	return err == nil && rowsFirst(c) && c.pastBatch(int64(axis))
}

// rowsReduced is for reductions, whose axes are an input since an opset.
func rowsReduced(since int64) rowRule {
	return func(c *prep) bool {
		axes, given, err := c.axesOf(1, since, len(c.in[0].shape))
		return err == nil && given && len(axes) > 0 && axes[0] > 0 && rowsFirst(c)
	}
}

func rowsConcat(c *prep) bool {
	def := int64(0)
	if c.opset < 4 {
		def = 1
	}
	for i := range c.in {
		if c.in[i].carries != carriesRows {
			return false
		}
	}
	return c.pastBatch(c.attrs.Int("axis", def))
}

func rowsSlice(c *prep) bool {
	if !rowsFirst(c) {
		return false
	}
	if len(c.outs) > 0 && c.outs[0].alias > 0 { // the whole of it
		return true
	}
	axes := toInts(c.attrs.Ints("axes", nil))
	if c.opset >= 10 {
		var err error
		if axes, err = c.ints(3); err != nil {
			return false
		}
	}
	for _, a := range axes {
		if !c.pastBatch(int64(a)) {
			return false
		}
	}
	return len(axes) > 0 // without axes they begin at the first
}

func rowsPad(c *prep) bool {
	begin, end, err := c.padAmounts(len(c.in[0].shape))
	return err == nil && rowsFirst(c) && begin[0] == 0 && end[0] == 0
}

// rowsResize takes sizes that depend on the batch, as long as the batch keeps its length, and transformations that then
// take row i from row i.
func rowsResize(c *prep) bool {
	if c.in[0].carries != carriesRows || c.attrs.String("keep_aspect_ratio_policy", "stretch") != "stretch" {
		return false
	}
	switch c.attrs.String("coordinate_transformation_mode", "half_pixel") {
	case "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric":
	default:
		return false
	}
	for i := 1; i < min(len(c.in), 3); i++ {
		if c.in[i].carries != carriesNothing {
			return false
		}
	}
	return true
}

func rowsTile(c *prep) bool {
	if c.opset < 6 || !rowsFirst(c) {
		return false
	}
	repeats, err := c.ints(1)
	return err == nil && len(repeats) > 0 && repeats[0] == 1
}

func rowsGather(c *prep) bool {
	a, err := c.axis(c.attrs.Int("axis", 0), len(c.in[0].shape))
	if err != nil {
		return false
	}
	if a == 0 {
		return c.in[0].carries == carriesNothing && c.in[1].carries == carriesRows
	}
	return rowsFirst(c)
}

func rowsOneHot(c *prep) bool {
	a, err := c.axis(c.attrs.Int("axis", -1), len(c.in[0].shape)+1)
	return err == nil && a > 0 && rowsFirst(c)
}

// rowsExpand takes a shape that may depend on the batch.
func rowsExpand(c *prep) bool { return c.in[0].follows(len(c.outs[0].shape)) }
