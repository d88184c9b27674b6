package random

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// tableDomain is ONNX's domain of operators for tables.
const tableDomain = "ai.onnx.ml"

// Table makes the case of that seed with one operator of tables: the same one every time.
func Table(seed uint64) (Case, error) {
	m := begin("table", seed, 2)
	rows, columns := 1+m.IntN(9), 1+m.IntN(6)
	if m.IntN(4) == 0 {
		rows = 60 + m.IntN(80)
	}
	make := tables[seed%uint64(len(tables))]
	make(m, rows, columns)
	c, err := m.finish("table", seed)
	if err != nil {
		return Case{}, err
	}
	c.Graph.Opset[tableDomain] = 3
	return c, nil
}

// tables each make a graph.
var tables = []func(m *maker, rows, columns int){
	treeClassifier, treeRegressor, linearClassifier, linearRegressor, svmClassifier, svmRegressor, prepared, treeClassifier, treeRegressor, named,
}

// rowsOf is an input of rows.
func (m *maker) rowsOf(rows, columns int) string {
	t := m.normal(1, rows, columns)
	if m.IntN(4) == 0 {
		d := tensor.Data[float32](t)
		d[m.IntN(len(d))] = float32(math.NaN())
	}
	if m.IntN(6) == 0 {
		wide := tensor.Must(tensor.New(tensor.Float64, rows, columns))
		for i, v := range tensor.Data[float32](t) {
			tensor.Data[float64](wide)[i] = float64(v)
		}
		t = wide
	}
	return m.table("x", t)
}

func (m *maker) table(name string, t *tensor.Tensor) string {
	m.b.Input(name, t.DType(), graph.Dims(t.Shape()...))
	m.inputs[name] = t
	return name
}

func (m *maker) floats(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(m.NormFloat64())
	}
	return out
}

// apply adds the operator with n outputs.
func (m *maker) apply(op string, n int, attrs graph.Attrs, inputs ...string) {
	m.b.Output(m.b.Ops(graph.OpName(tableDomain, op), n, attrs, inputs...)...)
}

// classesOf names classes by words or numbers.
func (m *maker) classesOf(attrs graph.Attrs, numbers string, n int) {
	if m.IntN(2) == 0 {
		words := make([]string, n)
		for i := range words {
			words[i] = fmt.Sprint("class ", i)
		}
		attrs["classlabels_strings"] = words
		return
	}
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(10 * i)
	}
	attrs[numbers] = ids
}

// forest fills in the nodes of trees, and weights for the leaves, of which target draws whose they are.
func (m *maker) forest(attrs graph.Attrs, columns int, of string, positive bool, target func() int64) {
	modes := []string{m.oneOf("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")}
	if m.IntN(4) == 0 {
		modes = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}
	}
	tracked := m.IntN(3) == 0
	lists := map[string][]int64{}
	add := func(name string, v int64) { lists[name] = append(lists[name], v) }
	var values, weights []float32
	var names []string
	for tree := range int64(1 + m.IntN(12)) {
		next := int64(1)
		type open struct{ id, depth int64 }
		for queue := []open{{0, 0}}; len(queue) > 0; queue = queue[1:] {
			o := queue[0]
			add("nodes_treeids", tree)
			add("nodes_nodeids", o.id)
			add("nodes_missing_value_tracks_true", int64(m.IntN(2)))
			if o.depth >= 5 || o.depth > 0 && m.IntN(4) == 0 {
				names, values = append(names, "LEAF"), append(values, 0)
				add("nodes_featureids", 0)
				add("nodes_truenodeids", 0)
				add("nodes_falsenodeids", 0)
				w := m.floats(1)
				if positive {
					w[0] = float32(m.Float64() / 8)
				}
				weights = append(weights, w...)
				add(of+"_treeids", tree)
				add(of+"_nodeids", o.id)
				add(of+"_ids", target())
				continue
			}
			names, values = append(names, modes[m.IntN(len(modes))]), append(values, m.floats(1)...)
			add("nodes_featureids", int64(m.IntN(columns)))
			add("nodes_truenodeids", next)
			add("nodes_falsenodeids", next+1)
			queue = append(queue, open{next, o.depth + 1}, open{next + 1, o.depth + 1})
			next += 2
		}
	}
	for name, l := range lists {
		if name != "nodes_missing_value_tracks_true" || tracked {
			attrs[name] = l
		}
	}
	attrs["nodes_modes"], attrs["nodes_values"], attrs[of+"_weights"] = names, values, weights
}

func treeClassifier(m *maker, rows, columns int) {
	attrs := graph.Attrs{"post_transform": m.oneOf("NONE", "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")}
	n := 2 + m.IntN(4)
	m.classesOf(attrs, "classlabels_int64s", n)
	target := func() int64 { return int64(m.IntN(n)) }
	if n == 2 { // with weights for both the library's label is not that of the largest score
		one := int64(m.IntN(2))
		target = func() int64 { return one }
	}
	m.forest(attrs, columns, "class", m.IntN(2) == 0, target)
	if n > 2 && m.IntN(3) == 0 {
		attrs["base_values"] = m.floats(n)
	}
	if n == 2 && m.IntN(3) == 0 {
		attrs["base_values"] = m.floats(1)
	}
	m.apply("TreeEnsembleClassifier", 2, attrs, m.rowsOf(rows, columns))
}

func treeRegressor(m *maker, rows, columns int) {
	n := 1 + m.IntN(3)
	attrs := graph.Attrs{"n_targets": int64(n), "aggregate_function": m.oneOf("SUM", "SUM", "AVERAGE", "MIN", "MAX"), "post_transform": m.oneOf("NONE", "NONE", "SOFTMAX", "LOGISTIC")}
	m.forest(attrs, columns, "target", m.IntN(2) == 0, func() int64 { return int64(m.IntN(n)) })
	if n == 1 && m.IntN(3) == 0 { // of several targets the library drops the base of those that a row has no weight for
		attrs["base_values"] = m.floats(1)
	}
	m.apply("TreeEnsembleRegressor", 1, attrs, m.rowsOf(rows, columns))
}

func linearClassifier(m *maker, rows, columns int) {
	attrs := graph.Attrs{"post_transform": m.oneOf("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")}
	n := 2 + m.IntN(3)
	m.classesOf(attrs, "classlabels_ints", n)
	scores := n
	if n == 2 && m.IntN(2) == 0 {
		scores = 1
	}
	attrs["coefficients"], attrs["intercepts"] = m.floats(scores*columns), m.floats(scores)
	m.apply("LinearClassifier", 2, attrs, m.table("x", m.normal(1, rows, columns)))
}

func linearRegressor(m *maker, rows, columns int) {
	n := 1 + m.IntN(3)
	attrs := graph.Attrs{"targets": int64(n), "coefficients": m.floats(n * columns), "post_transform": m.oneOf("NONE", "SOFTMAX", "LOGISTIC")}
	if m.IntN(2) == 0 {
		attrs["intercepts"] = m.floats(n)
	}
	m.apply("LinearRegressor", 1, attrs, m.table("x", m.normal(1, rows, columns)))
}

func (m *maker) kernel() graph.Attrs {
	attrs := graph.Attrs{"kernel_type": m.oneOf("LINEAR", "RBF", "SIGMOID", "POLY"), "kernel_params": []float32{0.3, 0.4, 3}}
	return attrs
}

func svmClassifier(m *maker, rows, columns int) {
	attrs, n := m.kernel(), 2+m.IntN(3)
	m.classesOf(attrs, "classlabels_ints", n)
	attrs["post_transform"] = m.oneOf("NONE", "NONE", "LOGISTIC", "SOFTMAX")
	pairs := n * (n - 1) / 2
	if m.IntN(4) == 0 {
		attrs["coefficients"], attrs["rho"] = m.floats(n*columns), m.floats(1)
	} else {
		per, total := make([]int64, n), 0
		for i := range per {
			per[i] = int64(1 + m.IntN(4))
			total += int(per[i])
		}
		attrs["vectors_per_class"], attrs["support_vectors"] = per, m.floats(total*columns)
		attrs["coefficients"], attrs["rho"] = m.floats((n-1)*total), m.floats(pairs)
		if m.IntN(2) == 0 {
			attrs["prob_a"], attrs["prob_b"] = m.floats(pairs), m.floats(pairs)
		}
	}
	m.apply("SVMClassifier", 2, attrs, m.table("x", m.normal(1, rows, columns)))
}

func svmRegressor(m *maker, rows, columns int) {
	attrs, n := m.kernel(), m.IntN(6)
	attrs["n_supports"], attrs["rho"] = int64(n), m.floats(1)
	if n > 0 {
		attrs["support_vectors"], attrs["coefficients"] = m.floats(n*columns), m.floats(n)
	} else {
		attrs["coefficients"] = m.floats(columns)
	}
	if m.IntN(4) == 0 {
		attrs["one_class"] = int64(1)
	}
	m.apply("SVMRegressor", 1, attrs, m.table("x", m.normal(1, rows, columns)))
}

// prepared is an operator that prepares columns.
func prepared(m *maker, rows, columns int) {
	switch m.IntN(6) {
	case 0:
		m.apply("Normalizer", 1, graph.Attrs{"norm": m.oneOf("MAX", "L1", "L2")}, m.table("x", m.normal(1, rows, columns)))
	case 1:
		n := []int{1, columns}[m.IntN(2)]
		m.apply("Scaler", 1, graph.Attrs{"offset": m.floats(n), "scale": m.floats(n)}, m.table("x", m.normal(1, rows, columns)))
	case 2:
		m.apply("Binarizer", 1, graph.Attrs{"threshold": m.floats(1)[0]}, m.table("x", m.normal(1, rows, columns)))
	case 3:
		x := m.normal(1, rows, columns)
		tensor.Data[float32](x)[0] = float32(math.NaN())
		m.apply("Imputer", 1, graph.Attrs{"imputed_value_floats": m.floats(columns), "replaced_value_float": float32(math.NaN())}, m.table("x", x))
	case 4:
		other := 1 + m.IntN(3)
		m.apply("FeatureVectorizer", 1, graph.Attrs{"inputdimensions": []int64{int64(columns), int64(other)}}, m.table("x", m.normal(1, rows, columns)), m.table("y", m.normal(1, rows, other)))
	default:
		at := make([]int64, 1+m.IntN(3))
		for i := range at {
			at[i] = int64(m.IntN(columns))
		}
		m.apply("ArrayFeatureExtractor", 1, nil, m.table("x", m.normal(1, rows, columns)), m.b.Init("at", tensor.Vector(at...)))
	}
}

// named is an operator that gives elements other names.
func named(m *maker, rows, columns int) {
	words, numbers := []string{"red", "green", "blue", "red"}, []int64{7, 3, 9, 3}
	x := tensor.Must(tensor.New(tensor.String, rows, columns))
	y := tensor.Must(tensor.New(tensor.Int64, rows, columns))
	for i := range rows * columns {
		tensor.Data[string](x)[i], tensor.Data[int64](y)[i] = m.oneOf("red", "green", "blue", "black"), []int64{7, 3, 9, 1}[m.IntN(4)]
	}
	switch m.IntN(5) {
	case 0:
		m.apply("LabelEncoder", 1, graph.Attrs{"keys_strings": words[:3], "values_floats": m.floats(3), "default_float": float32(-1)}, m.table("x", x))
	case 1:
		m.apply("LabelEncoder", 1, graph.Attrs{"keys_int64s": numbers[:3], "values_strings": words[:3]}, m.table("x", y))
	case 2:
		m.apply("OneHotEncoder", 1, graph.Attrs{"cats_strings": words[:3]}, m.table("x", x))
	case 3:
		m.apply("OneHotEncoder", 1, graph.Attrs{"cats_int64s": numbers[:3]}, m.table("x", y))
	default:
		m.apply("CategoryMapper", 1, graph.Attrs{"cats_strings": words[:3], "cats_int64s": numbers[:3]}, m.table("x", x))
	}
}
