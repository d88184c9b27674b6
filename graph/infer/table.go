package infer

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// tableRules are the operators of ONNX's domain for tables, ai.onnx.ml.
var tableRules = map[string]rule{
	"ai.onnx.ml.Binarizer":             keep,
	"ai.onnx.ml.Imputer":               keep,
	"ai.onnx.ml.Normalizer":            keepAs(tensor.Float32),
	"ai.onnx.ml.Scaler":                keepAs(tensor.Float32),
	"ai.onnx.ml.LinearRegressor":       scoresOf(func(c *call) int64 { return c.attrs.Int("targets", 1) }),
	"ai.onnx.ml.SVMRegressor":          scoresOf(func(*call) int64 { return 1 }),
	"ai.onnx.ml.TreeEnsembleRegressor": scoresOf(func(c *call) int64 { return c.attrs.Int("n_targets", 1) }),
	"ai.onnx.ml.TreeEnsemble": func(c *call) error {
		if err := scoresOf(func(c *call) int64 { return c.attrs.Int("n_targets", 1) })(c); err != nil {
			return err
		}
		c.set(0, c.arg(0).dtype, c.out[0].shape)
		return nil
	},
	"ai.onnx.ml.TreeEnsembleClassifier": classifierOf("classlabels_int64s", func(_ *call, classes int64) int64 { return classes }),
	"ai.onnx.ml.LinearClassifier": classifierOf("classlabels_ints", func(c *call, classes int64) int64 {
		if n := int64(len(c.attrs.Floats("intercepts", nil))); n > 1 {
			return n
		}
		return classes
	}),
	"ai.onnx.ml.SVMClassifier": classifierOf("classlabels_ints", func(c *call, classes int64) int64 {
		if len(c.attrs.Ints("vectors_per_class", nil)) > 0 && len(c.attrs.Floats("prob_a", nil)) == 0 && classes > 2 {
			return classes * (classes - 1) / 2
		}
		return classes
	}),
	"ai.onnx.ml.CategoryMapper": func(c *call) error {
		c.set(0, otherName(c), c.arg(0).shape)
		return nil
	},
	"ai.onnx.ml.CastMap": func(c *call) error {
		dtype, wide := tensor.Float32, unknown
		switch c.attrs.String("cast_to", "TO_FLOAT") {
		case "TO_STRING":
			dtype = tensor.String
		case "TO_INT64":
			dtype = tensor.Int64
		}
		if c.attrs.String("map_form", "DENSE") == "SPARSE" {
			wide = graph.Dim{Size: max(c.attrs.Int("max_map", 1), -1)}
		}
		c.set(0, dtype, graph.Shape{{Size: 1}, wide})
		return nil
	},
	"ai.onnx.ml.DictVectorizer": func(c *call) error {
		n := max(len(c.attrs.Ints("int64_vocabulary", nil)), len(c.attrs.Strings("string_vocabulary", nil)))
		c.set(0, c.arg(0).dtype, graph.Shape{{Size: 1}, {Size: int64(n)}})
		return nil
	},
	"ai.onnx.ml.LabelEncoder":          inferLabelEncoder,
	"ai.onnx.ml.OneHotEncoder":         inferOneHotEncoder,
	"ai.onnx.ml.FeatureVectorizer":     inferFeatureVectorizer,
	"ai.onnx.ml.ArrayFeatureExtractor": inferArrayFeatureExtractor,
	"ai.onnx.ml.ZipMap": func(c *call) error {
		key := tensor.Int64
		if c.attrs.Has("classlabels_strings") {
			key = tensor.String
		}
		c.set(0, tensor.Float32, graph.Shape{})
		c.out[0].container = "sequence(" + graph.MapOf(key) + ")"
		return nil
	},
}

func keepAs(dtype tensor.DType) rule {
	return func(c *call) error {
		c.set(0, dtype, c.arg(0).shape)
		return nil
	}
}

// rowsOf is the number of rows of a table; a list is one row.
func rowsOf(c *call) graph.Dim {
	switch x := c.arg(0); x.rank() {
	case 1:
		return graph.Dim{Size: 1}
	case 2:
		return x.shape[0]
	}
	return unknown
}

// scoresOf is a number of float32 a row.
func scoresOf(width func(*call) int64) rule {
	return func(c *call) error {
		n := width(c)
		if n < 1 {
			return c.fail("%d targets", n)
		}
		c.set(0, tensor.Float32, graph.Shape{rowsOf(c), {Size: n}})
		return nil
	}
}

// classifierOf is a class a row, and scores.
func classifierOf(numbers string, width func(c *call, classes int64) int64) rule {
	return func(c *call) error {
		dtype, classes := tensor.Int64, int64(len(c.attrs.Ints(numbers, nil)))
		if words := c.attrs.Strings("classlabels_strings", nil); len(words) > 0 {
			dtype, classes = tensor.String, int64(len(words))
		}
		c.set(0, dtype, graph.Shape{rowsOf(c)})
		c.set(1, tensor.Float32, graph.Shape{rowsOf(c), {Size: width(c, classes)}})
		return nil
	}
}

// otherName is the type of words for numbers, and of numbers for words.
func otherName(c *call) tensor.DType {
	switch c.arg(0).dtype {
	case tensor.String:
		return tensor.Int64
	case tensor.Int64:
		return tensor.String
	}
	return tensor.Invalid
}

func inferLabelEncoder(c *call) error {
	dtype := otherName(c) // its first version
	switch {
	case c.attrs.Has("values_strings"):
		dtype = tensor.String
	case c.attrs.Has("values_int64s"):
		dtype = tensor.Int64
	case c.attrs.Has("values_floats"):
		dtype = tensor.Float32
	case c.attrs.Tensor("values_tensor") != nil:
		dtype = c.attrs.Tensor("values_tensor").DType()
	}
	c.set(0, dtype, c.arg(0).shape)
	return nil
}

func inferOneHotEncoder(c *call) error {
	n := max(len(c.attrs.Ints("cats_int64s", nil)), len(c.attrs.Strings("cats_strings", nil)))
	var shape graph.Shape
	if x := c.arg(0).shape; x != nil {
		shape = slices.Concat(x, graph.Shape{{Size: int64(n)}})
	}
	c.set(0, tensor.Float32, shape)
	return nil
}

func inferFeatureVectorizer(c *call) error {
	var n int64
	for _, d := range c.attrs.Ints("inputdimensions", nil) {
		n += d
	}
	if n < 0 {
		return c.fail("inputdimensions add up to %d", n)
	}
	c.set(0, tensor.Float32, graph.Shape{rowsOf(c), {Size: n}})
	return nil
}

func inferArrayFeatureExtractor(c *call) error {
	x, n := c.arg(0), unknown
	if at := c.arg(1).shape; at != nil {
		n = graph.Dim{Size: 1}
		for _, d := range at {
			if !d.Known() {
				n = unknown
				break
			}
			n.Size *= d.Size
		}
	}
	switch {
	case x.rank() == 1:
		c.set(0, x.dtype, graph.Shape{{Size: 1}, n})
	case x.rank() > 1:
		c.set(0, x.dtype, slices.Concat(x.shape[:x.rank()-1], graph.Shape{n}))
	default:
		c.set(0, x.dtype, nil)
	}
	return nil
}
