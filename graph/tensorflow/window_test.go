package tensorflow_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// placeholderText is a placeholder in the text form; a dimension of -1 is left open.
func placeholderText(name, dtype string, shape ...int) string {
	var dims strings.Builder
	for _, d := range shape {
		fmt.Fprintf(&dims, " dim { size: %d }", d)
	}
	return fmt.Sprintf(`node { name: %q op: "Placeholder" attr { key: "dtype" value { type: %s } } attr { key: "shape" value { shape {%s } } } }`+"\n", name, dtype, dims.String())
}

// attrText is attributes in the text form: pairs of a name and an AttrValue's fields.
func attrText(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, ` attr { key: %q value { %s } }`, pairs[i], pairs[i+1])
	}
	return b.String()
}

func nodeText(name, op string, inputs []string, attrs ...string) string {
	var b strings.Builder
	for _, in := range inputs {
		fmt.Fprintf(&b, ` input: %q`, in)
	}
	return fmt.Sprintf("node { name: %q op: %q%s%s }\n", name, op, b.String(), attrText(attrs...))
}

func intsText(v ...int) string {
	return "list { i: " + strings.ReplaceAll(fmt.Sprint(v), " ", ", ") + " }"
}

func randomFloats(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(r.IntN(17) - 8)
	}
	return t
}

// axis says where a window lies along one axis, as TensorFlow pads: of what SAME adds, the odd one comes at the end.
type axis struct{ in, kernel, stride, dilation, before, out int }

func axisOf(in, kernel, stride, dilation int, same bool) axis {
	reach := (kernel-1)*dilation + 1
	a := axis{in: in, kernel: kernel, stride: stride, dilation: dilation}
	if same {
		a.out = (in + stride - 1) / stride
		a.before = max(0, (a.out-1)*stride+reach-in) / 2
	} else {
		a.out = (in-reach)/stride + 1
	}
	return a
}

// each calls f with the places in the input that the window at o covers, and their places in the kernel.
func (a axis) each(o int, f func(in, k int)) {
	for k := range a.kernel {
		if i := o*a.stride - a.before + k*a.dilation; i >= 0 && i < a.in {
			f(i, k)
		}
	}
}

// Windows of every size, stride, dilation and padding lie where TensorFlow puts them.
func TestWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const channels, filters = 2, 3
	for n := range 60 {
		same := n%2 == 0
		padding := map[bool]string{true: "SAME", false: "VALID"}[same]
		var y, x axis
		for _, a := range []*axis{&y, &x} {
			kernel, stride, dilation := 1+r.IntN(4), 1+r.IntN(3), 1
			if n%3 == 0 {
				stride, dilation = 1, 1+r.IntN(3)
			}
			*a = axisOf((kernel-1)*dilation+1+r.IntN(6), kernel, stride, dilation, same)
		}
		if x.dilation > 1 && y.stride > 1 || y.dilation > 1 && x.stride > 1 {
			y.stride, x.stride = 1, 1
			y, x = axisOf(y.in, y.kernel, 1, y.dilation, same), axisOf(x.in, x.kernel, 1, x.dilation, same)
		}
		in := randomFloats(r, 2, y.in, x.in, channels)
		filter := randomFloats(r, y.kernel, x.kernel, channels, filters)
		at := func(b, i, j, c int) float64 {
			return float64(tensor.Data[float32](in)[((b*y.in+i)*x.in+j)*channels+c])
		}
		weight := func(k, l, c, f int) float64 {
			return float64(tensor.Data[float32](filter)[((k*x.kernel+l)*channels+c)*filters+f])
		}
		strides, dilations := intsText(1, y.stride, x.stride, 1), intsText(1, y.dilation, x.dilation, 1)
		wants := map[string]func(b, i, j int) []float64{
			"Conv2D": func(b, i, j int) []float64 {
				sum := make([]float64, filters)
				y.each(i, func(p, k int) {
					x.each(j, func(q, l int) {
						for c := range channels {
							for f := range filters {
								sum[f] += at(b, p, q, c) * weight(k, l, c, f)
							}
						}
					})
				})
				return sum
			},
			"DepthwiseConv2dNative": func(b, i, j int) []float64 {
				sum := make([]float64, channels*filters)
				y.each(i, func(p, k int) {
					x.each(j, func(q, l int) {
						for c := range channels {
							for f := range filters {
								sum[c*filters+f] += at(b, p, q, c) * weight(k, l, c, f)
							}
						}
					})
				})
				return sum
			},
			"MaxPool": func(b, i, j int) []float64 {
				out := []float64{math.Inf(-1), math.Inf(-1)}
				y.each(i, func(p, _ int) {
					x.each(j, func(q, _ int) {
						for c := range channels {
							out[c] = max(out[c], at(b, p, q, c))
						}
					})
				})
				return out
			},
			"AvgPool": func(b, i, j int) []float64 {
				sum, count := make([]float64, channels), 0.0
				y.each(i, func(p, _ int) {
					x.each(j, func(q, _ int) {
						count++
						for c := range channels {
							sum[c] += at(b, p, q, c)
						}
					})
				})
				return []float64{sum[0] / count, sum[1] / count}
			},
		}
		for op, want := range wants {
			pool := strings.HasSuffix(op, "Pool")
			if pool && (x.dilation > 1 || y.dilation > 1) || op == "DepthwiseConv2dNative" && x.stride != y.stride {
				continue // TensorFlow has none of these
			}
			name := fmt.Sprintf("%s of %s, rows %+v, columns %+v", op, padding, y, x)
			text := placeholderText("x", "DT_FLOAT", -1, y.in, x.in, channels)
			feeds := map[string]*tensor.Tensor{"x:0": in}
			if pool {
				text += nodeText("out", op, []string{"x"}, "T", "type: DT_FLOAT", "padding", fmt.Sprintf("s: %q", padding), "strides", strides, "ksize", intsText(1, y.kernel, x.kernel, 1))
			} else {
				text += placeholderText("f", "DT_FLOAT", filter.Shape()...)
				feeds["f:0"] = filter
				text += nodeText("out", op, []string{"x", "f"}, "T", "type: DT_FLOAT", "padding", fmt.Sprintf("s: %q", padding), "strides", strides, "dilations", dilations)
			}
			var all []float64
			for b := range 2 {
				for i := range y.out {
					for j := range x.out {
						all = append(all, want(b, i, j)...)
					}
				}
			}
			checkOutput(t, name, text, feeds, "out:0", []int{2, y.out, x.out, len(all) / 2 / y.out / x.out}, all)
		}
	}
}

// checkOutput imports a graph in the text form and holds one output of every engine against numbers.
func checkOutput(t *testing.T, name, text string, feeds map[string]*tensor.Tensor, output string, shape []int, want []float64) {
	t.Helper()
	g, _, err := importText(t, "graph.pbtxt", text, tensorflow.Options{Outputs: []string{output}})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for engine, out := range runAll(t, g, feeds) {
		got := out[output]
		if !got.Shape().Equal(shape) {
			t.Errorf("%s: %s: shape %v, want %v", name, engine, got.Shape(), shape)
			continue
		}
		for i, w := range want {
			if v := numberAt(got, i); math.Abs(v-w) > 1e-5*max(1, math.Abs(w)) || math.IsNaN(v) != math.IsNaN(w) || math.IsInf(v, 0) != math.IsInf(w, 0) {
				t.Errorf("%s: %s: element %d is %v, want %v\n%s", name, engine, i, v, w, text)
				break
			}
		}
	}
}

// numberAt is an element as a float; booleans are 0 and 1.
func numberAt(t *tensor.Tensor, i int) float64 {
	switch d := t.Raw().(type) {
	case []float32:
		return float64(d[i])
	case []float64:
		return d[i]
	case []tensor.Half:
		return float64(d[i].Float32())
	case []tensor.BHalf:
		return float64(d[i].Float32())
	case []int8:
		return float64(d[i])
	case []int16:
		return float64(d[i])
	case []int32:
		return float64(d[i])
	case []int64:
		return float64(d[i])
	case []uint8:
		return float64(d[i])
	case []uint16:
		return float64(d[i])
	case []uint32:
		return float64(d[i])
	case []uint64:
		return float64(d[i])
	case []bool:
		if d[i] {
			return 1
		}
		return 0
	}
	panic(fmt.Sprintf("no numbers: %v", t.DType()))
}
