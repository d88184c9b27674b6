package onnx

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// attribute writes an AttributeProto of a node of operator op.
func (e *encoder) attribute(op, name string, value any) {
	e.str(1, name)
	kind := graph.Attrs{name: value}.Kind(name)
	switch v := value.(type) {
	case graph.AttrRef:
		if e.f == nil {
			e.fail("%s: attribute %q refers to attribute %q, outside a function", op, name, string(v))
			return
		}
		if kind = e.refKind(string(v), name); kind == "" {
			e.fail("function %s: %s: the kind of attribute %q is not known; Function.Kinds must say it", e.f.Name, op, string(v))
			return
		}
		e.str(21, string(v))
	case float32:
		e.float(2, v)
	case int64:
		e.int(3, v)
	case string:
		e.str(4, v)
	case *tensor.Tensor:
		e.message(5, func() { e.tensor("", v) })
	case *graph.Graph:
		e.message(6, func() { e.graph(v) })
	case []float32:
		for _, x := range v {
			e.float(7, x)
		}
	case []int64:
		for _, x := range v {
			e.int(8, x)
		}
	case []string:
		for _, x := range v {
			e.str(9, x)
		}
	case []*tensor.Tensor:
		for _, x := range v {
			e.message(10, func() { e.tensor("", x) })
		}
	case []*graph.Graph:
		for _, x := range v {
			e.message(11, func() { e.graph(x) })
		}
	case graph.Value:
		e.message(14, func() { e.typ(&v, v.Container) })
	default:
		e.fail("%s: attribute %q has Go type %T, which ONNX has not", op, name, value)
		return
	}
	e.int(20, int64(slices.Index(attrKinds[:], kind)))
}

// refKind finds the kind of the attribute that a function's body refers to: what a file said, the default's, that of
// a call, or what ONNX's operators use for an attribute of the name that it stands for.
func (e *encoder) refKind(ref, name string) string {
	if kind := e.f.Kinds[ref]; kind != "" {
		return kind
	}
	if kind := e.f.Defaults.Kind(ref); kind != "" {
		return kind
	}
	kind := ""
	graph.Walk(e.model.Nodes, func(n *graph.Node) {
		if n.Domain == e.f.Domain && n.OpType == e.f.Name && kind == "" {
			if k := n.Attrs.Kind(ref); k != "REF" {
				kind = k
			}
		}
	})
	if kind != "" {
		return kind
	}
	return usualKinds[name]
}

// usualKinds are the kinds of the attributes of ONNX's operators.
var usualKinds = func() map[string]string {
	kinds := map[string]string{"value": "TENSOR", "scales": "FLOATS", "value_floats": "FLOATS"}
	for kind, names := range map[string]string{
		"INT": "allowzero axis batch_axis batch_dims blocksize ceil_mode count_include_pad detect_negative " +
			"detect_positive dtype end exclude_outside exclusive fmod group ignore_index is_causal k keepdims largest " +
			"num_groups num_outputs noop_with_empty_axes p reverse select_last_index size sorted spatial start " +
			"stash_type storage_order to training_mode transA transB upper value_int",
		"FLOAT": "alpha beta bias cubic_coeff_a epsilon extrapolation_value gamma high lambd low mean momentum " +
			"ratio scale seed value_float",
		"STRING": "approximate auto_pad coordinate_transformation_mode direction equation mode nearest_mode " +
			"padding_mode reduction value_string",
		"INTS": "axes dilations ends kernel_shape output_padding output_shape pads perm shape split starts strides value_ints",
	} {
		for _, name := range strings.Fields(names) {
			kinds[name] = kind
		}
	}
	return kinds
}()

// typ writes a TypeProto; container is what is left of v's, outermost first.
func (e *encoder) typ(v *graph.Value, container string) {
	if container == "" {
		e.message(1, func() {
			e.int(1, int64(v.DType))
			if v.Shape != nil {
				e.message(2, func() { e.shape(v.Shape) })
			}
		})
		return
	}
	kind, inner, _ := strings.Cut(container, "(")
	inner = strings.TrimSuffix(inner, ")")
	switch kind {
	case "sequence":
		e.message(4, func() { e.message(1, func() { e.typ(v, inner) }) })
	case "optional":
		e.message(9, func() { e.message(1, func() { e.typ(v, inner) }) })
	default:
		key, ok := graph.MapKey(container)
		if !ok {
			e.fail("value %q: unknown container %q", v.Name, container)
			return
		}
		e.message(5, func() {
			e.int(1, int64(key))
			e.message(2, func() { e.typ(v, "") })
		})
	}
}

func (e *encoder) shape(shape graph.Shape) {
	for _, dim := range shape {
		e.message(1, func() {
			if dim.Known() {
				e.int(1, dim.Size)
			} else {
				e.opt(2, dim.Symbol)
			}
		})
	}
}

// tensor writes a TensorProto: strings one by one, everything else as raw bytes.
func (e *encoder) tensor(name string, t *tensor.Tensor) {
	if t == nil {
		e.fail("tensor %q is nil", name)
		return
	}
	for _, n := range t.Shape() {
		e.int(1, int64(n))
	}
	e.int(2, int64(t.DType()))
	e.opt(8, name)
	if t.DType() == tensor.String {
		for _, v := range tensor.Data[string](t) {
			e.str(6, v)
		}
		return
	}
	e.elements(9, tensor.Pack(t))
}
