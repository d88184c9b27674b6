package catalogue

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

var columns = []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int32, tensor.Int64}

// tables are the operators of ai.onnx.ml.
func tables() []*Operator {
	ml := func(name, since string, types []tensor.DType, ex func(e *example)) *Operator {
		o := op(name, since, types, ex)
		o.Domain = Tables
		return o
	}
	words := []string{"a", "b"}
	support := func(e *example) *example {
		return e.set("kernel_type", "LINEAR").set("kernel_params", []float32{1, 0, 1}).set("support_vectors", []float32{1, 0, 0, 1}).set("coefficients", []float32{1, -1}).set("rho", []float32{0})
	}
	tree := func(e *example) *example {
		return e.set("nodes_treeids", []int64{0, 0, 0}).set("nodes_nodeids", []int64{0, 1, 2}).set("nodes_featureids", []int64{0, 0, 0}).set("nodes_modes", []string{"BRANCH_LEQ", "LEAF", "LEAF"}).
			set("nodes_values", []float32{1, 0, 0}).set("nodes_truenodeids", []int64{1, 0, 0}).set("nodes_falsenodeids", []int64{2, 0, 0})
	}
	return []*Operator{
		ml("ArrayFeatureExtractor", "1", []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int32, tensor.Int64, tensor.String}, func(e *example) { e.x(2, 3).ints(2, 0) }),
		ml("Binarizer", "1", columns, unary), ml("Normalizer", "1", columns, func(e *example) { unary(e.set("norm", "L1")) }),
		ml("CastMap", "1", []tensor.DType{tensor.Float32, tensor.String}, mapped),
		ml("DictVectorizer", "1", []tensor.DType{tensor.Float32, tensor.Float64, tensor.String}, func(e *example) { mapped(e.set("int64_vocabulary", []int64{2, 7})) }),
		ml("CategoryMapper", "1", []tensor.DType{tensor.Int64, tensor.String}, func(e *example) { e.x(2).set("cats_strings", words).set("cats_int64s", []int64{1, 2}) }),
		ml("FeatureVectorizer", "1", columns, func(e *example) { e.x(1, 2).set("inputdimensions", []int64{2}) }),
		ml("Imputer", "1", columns, func(e *example) {
			if e.x(2, 2); slices.Contains(integers, e.d) {
				e.set("imputed_value_int64s", []int64{9}).set("replaced_value_int64", int64(1))
				return
			}
			e.set("imputed_value_floats", []float32{9}).set("replaced_value_float", float32(1))
		}),
		ml("LabelEncoder", "4 2 1", []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int16, tensor.Int32, tensor.Int64, tensor.String}, func(e *example) {
			e.x(2).set("keys_tensor", value(e.d, 2)).set("values_tensor", tensor.Vector[int64](5, 6)).set("default_tensor", tensor.Vector[int64](-1))
		}),
		ml("LinearClassifier", "1", columns, func(e *example) {
			e.outs(2).x(1, 2).set("coefficients", []float32{1, 0, 0, 1}).set("intercepts", []float32{0, 1}).set("classlabels_ints", []int64{0, 1})
		}),
		ml("LinearRegressor", "1", columns, func(e *example) { e.x(1, 2).set("coefficients", []float32{1, 2}) }),
		ml("OneHotEncoder", "1", slices.Concat(columns, onlyText), func(e *example) {
			if e.x(2); e.d == tensor.String {
				e.set("cats_strings", words)
				return
			}
			e.set("cats_int64s", []int64{1, 2})
		}),
		ml("Scaler", "1", columns, func(e *example) { e.x(2, 2).set("offset", []float32{1, 1}).set("scale", []float32{2, 2}) }),
		ml("SVMClassifier", "1", columns, func(e *example) {
			support(e.outs(2)).x(1, 2).set("classlabels_ints", []int64{0, 1}).set("vectors_per_class", []int64{1, 1})
		}),
		ml("SVMRegressor", "1", columns, func(e *example) { support(e).x(1, 2).set("n_supports", int64(2)) }),
		ml("TreeEnsemble", "5", []tensor.DType{tensor.Float16, tensor.Float32, tensor.Float64}, func(e *example) {
			e.x(2, 1).set("tree_roots", []int64{0}).set("nodes_featureids", []int64{0}).set("nodes_modes", tensor.Vector[uint8](0)).set("nodes_splits", value(e.d, 1)).
				set("nodes_trueleafs", []int64{1}).set("nodes_truenodeids", []int64{0}).set("nodes_falseleafs", []int64{1}).set("nodes_falsenodeids", []int64{1}).
				set("leaf_targetids", []int64{0, 0}).set("leaf_weights", value(e.d, 2)).set("n_targets", int64(1))
		}),
		ml("TreeEnsembleClassifier", "5 3 1", columns, func(e *example) {
			tree(e.outs(2)).x(2, 1).set("class_treeids", []int64{0, 0}).set("class_nodeids", []int64{1, 2}).set("class_ids", []int64{0, 1}).set("class_weights", []float32{1, 1}).set("classlabels_int64s", []int64{0, 1})
			e.g.Opset[Tables] = 3
		}),
		ml("TreeEnsembleRegressor", "5 3 1", columns, func(e *example) {
			tree(e).x(2, 1).set("target_treeids", []int64{0, 0}).set("target_nodeids", []int64{1, 2}).set("target_ids", []int64{0, 0}).set("target_weights", []float32{1, 2}).set("n_targets", int64(1))
			e.g.Opset[Tables] = 3
		}),
		ml("ZipMap", "1", onlyFloat, func(e *example) { e.x(2, 2).set("classlabels_int64s", []int64{0, 1}) }),
	}
}

// mapped is an example whose input is a map of int64 to the main type.
func mapped(e *example) {
	e.n.Inputs = []string{"m"}
	e.g.Inputs = []graph.Value{{Name: "m", DType: e.d, Shape: graph.Shape{}, Container: graph.MapOf(tensor.Int64)}}
	e.in = []tensor.Value{{Kind: tensor.KindMap, Keys: tensor.Vector[int64](2, 1), Tensor: value(e.d, 2)}}
}

// previews are the operators that ONNX tries out.
func previews() []*Operator {
	half := []tensor.DType{tensor.Float32, tensor.Float64}
	step := func(name string, states int, ex func(e *example)) *Operator {
		o := op(name, "1", half, func(e *example) {
			e.outs(1 + states).t(scalar(float32(0.1))).c(scalar(int64(0))).x(2).x(2)
			for range states {
				e.x(2)
			}
			ex(e)
		})
		o.Domain = Training
		return o
	}
	flex := op("FlexAttention", "1", floats, func(e *example) { e.x(1, 1, 2, 2).x(1, 1, 2, 2).x(1, 1, 2, 2) })
	flex.Domain = Preview
	gradient := op("Gradient", "1", half, func(e *example) { e.x(2).set("xs", []string{"x0"}).set("y", "y").set("zs", []string{}) })
	gradient.Domain = Training
	return []*Operator{
		flex, gradient, step("Adagrad", 1, func(e *example) { e.set("norm_coefficient", float32(0)).set("epsilon", float32(1e-6)) }),
		step("Adam", 2, func(e *example) { e.set("epsilon", float32(1e-6)) }),
		step("Momentum", 1, func(e *example) {
			e.set("alpha", float32(0.9)).set("beta", float32(1)).set("mode", "standard").set("norm_coefficient", float32(0))
		}),
	}
}
