package tensorflow_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// Both resizings in each of their coordinate modes, up and down and to one.
func TestResizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	modes := map[string][2]bool{"legacy": {false, false}, "align_corners": {true, false}, "half_pixel_centers": {false, true}}
	for n := range 16 {
		h, w, oh, ow := 1+r.IntN(6), 1+r.IntN(6), 1+r.IntN(12), 1+r.IntN(12)
		if n == 0 { // a tie for every rule
			h, w, oh, ow = 5, 4, 10, 2
		}
		in := randomFloats(r, 1, h, w, 2)
		at := func(i, j, c int) float64 { return float64(tensor.Data[float32](in)[(i*w+j)*2+c]) }
		for mode, m := range modes {
			align, half := m[0], m[1]
			// As TensorFlow does, in float32.
			scale := func(in, out int) float32 {
				if align && out > 1 {
					return float32(in-1) / float32(out-1)
				}
				return float32(in) / float32(out)
			}
			nearest := func(o, in, out int) int {
				s := scale(in, out)
				var p float32
				switch {
				case half:
					p = float32(math.Floor(float64((float32(o) + 0.5) * s)))
				case align:
					p = float32(math.Round(float64(float32(o) * s)))
				default:
					p = float32(math.Floor(float64(float32(o) * s)))
				}
				return max(0, min(int(p), in-1))
			}
			linear := func(o, in, out int) (lo, hi int, part float64) {
				s := scale(in, out)
				p := float32(o) * s
				if half {
					p = (float32(o)+0.5)*s - 0.5
				}
				floor := float32(math.Floor(float64(p)))
				return max(0, int(floor)), max(0, min(int(math.Ceil(float64(p))), in-1)), float64(p - floor)
			}
			for _, op := range []string{"ResizeNearestNeighbor", "ResizeBilinear"} {
				var want []float64
				for i := range oh {
					for j := range ow {
						for c := range 2 {
							if op == "ResizeNearestNeighbor" {
								want = append(want, at(nearest(i, h, oh), nearest(j, w, ow), c))
								continue
							}
							y0, y1, fy := linear(i, h, oh)
							x0, x1, fx := linear(j, w, ow)
							top := at(y0, x0, c) + (at(y0, x1, c)-at(y0, x0, c))*fx
							bottom := at(y1, x0, c) + (at(y1, x1, c)-at(y1, x0, c))*fx
							want = append(want, top+(bottom-top)*fy)
						}
					}
				}
				text := placeholderText("x", "DT_FLOAT", 1, h, w, 2) + constText("size", "DT_INT32", []int{2}, fmt.Sprintf("int_val: [%d, %d]", oh, ow)) +
					nodeText("out", op, []string{"x", "size"}, "T", "type: DT_FLOAT", "align_corners", fmt.Sprint("b: ", align), "half_pixel_centers", fmt.Sprint("b: ", half))
				checkOutput(t, fmt.Sprintf("%s %s of %dx%d to %dx%d", op, mode, h, w, oh, ow), text, map[string]*tensor.Tensor{"x:0": in}, "out:0", []int{1, oh, ow, 2}, want)
			}
		}
	}
}

// constText is a constant in the text form; values is the field that has its elements.
func constText(name, dtype string, shape []int, values string) string {
	dims := ""
	for _, d := range shape {
		dims += fmt.Sprintf(" dim { size: %d }", d)
	}
	return nodeText(name, "Const", nil, "dtype", "type: "+dtype, "value", fmt.Sprintf("tensor { dtype: %s tensor_shape {%s } %s }", dtype, dims, values))
}
