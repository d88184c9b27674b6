package infer

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
)

// A Window is how a kernel moves over the spatial dimensions, as the attributes of convolutions and pools say.
type Window struct {
	Kernel, Strides, Dilations []int64
	Begin, End                 []int64 // the pads that are given; auto_pad's are what Slide and Spread return
	Auto                       string  // auto_pad: "", "NOTSET", "VALID", "SAME_UPPER" or "SAME_LOWER"
}

// ReadWindow reads the attributes of a convolution or pool whose kernel has these lengths. All numbers of the window are within
// 32 bits, so that only lengths of data can make sums overflow.
func ReadWindow(attrs graph.Attrs, kernel []int64) (Window, error) {
	n := len(kernel)
	list := func(name string, def int64, n int) []int64 {
		if v := attrs.Ints(name, nil); len(v) > 0 {
			return v
		}
		return slices.Repeat([]int64{def}, n)
	}
	w := Window{Kernel: kernel, Auto: attrs.String("auto_pad", "NOTSET")}
	w.Strides, w.Dilations = list("strides", 1, n), list("dilations", 1, n)
	pads := list("pads", 0, 2*n)
	if len(w.Strides) != n || len(w.Dilations) != n || len(pads) != 2*n {
		return w, fmt.Errorf("strides %v, dilations %v, pads %v for a kernel of %d dimensions", w.Strides, w.Dilations, pads, n)
	}
	w.Begin, w.End = pads[:n], pads[n:]
	for i := range n {
		if min(kernel[i], w.Strides[i], w.Dilations[i]) < 1 || max(kernel[i], w.Strides[i], w.Dilations[i]) > math.MaxInt32 ||
			max(w.Begin[i], w.End[i]) > math.MaxInt32 || min(w.Begin[i], w.End[i]) < -math.MaxInt32 {
			return w, fmt.Errorf("kernel %v, strides %v, dilations %v, pads %v", kernel, w.Strides, w.Dilations, pads)
		}
	}
	switch w.Auto {
	case "", "NOTSET", "SAME_UPPER", "SAME_LOWER":
	case "VALID":
		w.Begin, w.End = make([]int64, n), make([]int64, n)
	default:
		return w, fmt.Errorf("auto_pad %q", w.Auto)
	}
	return w, nil
}

func (w Window) same() bool { return w.Auto == "SAME_UPPER" || w.Auto == "SAME_LOWER" }

// extent is how many elements the kernel reaches over.
func (w Window) extent(i int) int64 { return (w.Kernel[i]-1)*w.Dilations[i] + 1 }

// keeps reports whether there are as many places along dimension i as elements, however many these are.
func (w Window) keeps(i int) bool {
	return w.Strides[i] == 1 && (w.same() || w.Begin[i]+w.End[i] == w.extent(i)-1)
}

// Slide returns how many places the window has along spatial dimension i of n elements, and the padding before and behind them. With
// ceil, as pools have it, a last place that is only partly inside counts too, but none that begins in the padding at the end.
func (w Window) Slide(i int, n int64, ceil bool) (places, begin, end int64, err error) {
	stride, extent := w.Strides[i], w.extent(i)
	if w.same() {
		if places = n / stride; n%stride != 0 {
			places++
		}
		if places == 0 {
			return 0, 0, 0, nil
		}
		// The last place begins less than a stride before the end, so this does not overflow.
		begin, end = w.split(max((places-1)*stride-n+extent, 0), w.Auto == "SAME_LOWER")
		return places, begin, end, nil
	}
	begin, end = w.Begin[i], w.End[i]
	room, err := sumOf(n, begin, end, -extent)
	switch {
	case err != nil:
		return 0, 0, 0, fmt.Errorf("%d elements with pads of %d and %d: %w", n, begin, end, err)
	case room < 0:
		return 0, 0, 0, fmt.Errorf("a kernel of %d (dilation %d) does not fit into %d elements with pads of %d and %d", w.Kernel[i], w.Dilations[i], n, begin, end)
	}
	places = room/stride + 1
	if ceil {
		if room%stride != 0 {
			places++
		}
		most := int64(0)
		if inside := n + begin; inside > 0 { // where the padding at the end begins
			most = (inside-1)/stride + 1
		}
		places = min(places, most)
	}
	return places, begin, end, nil
}

// Spread returns how many elements a transposed convolution makes of n along spatial dimension i, with extra of them at the end
// (output_padding), and the padding that is cut off before and behind. A length that is not negative is what output_shape asks for.
func (w Window) Spread(i int, n, extra, length int64) (made, begin, end int64, err error) {
	fail := func(err error) (int64, int64, int64, error) {
		return 0, 0, 0, fmt.Errorf("%d elements spread by %d with output_padding %d: %w", n, w.Strides[i], extra, err)
	}
	if extra < 0 {
		return 0, 0, 0, fmt.Errorf("output_padding %d", extra)
	}
	full := -w.Strides[i] // without padding
	if n > 0 {
		if full, err = Product(w.Strides[i], n-1); err != nil {
			return fail(err)
		}
	}
	if full, err = sumOf(full, extra, w.extent(i)); err != nil {
		return fail(err)
	}
	switch {
	case length >= 0 || w.same():
		if made = length; length < 0 {
			if made, err = Product(n, w.Strides[i]); err != nil {
				return fail(err)
			}
		}
		begin, end = w.split(max(full-made, 0), w.Auto != "SAME_UPPER")
	default:
		begin, end = w.Begin[i], w.End[i]
		if made, err = sumOf(full, -begin, -end); err != nil {
			return fail(err)
		}
	}
	if made < 1 {
		return 0, 0, 0, fmt.Errorf("pads of %d and %d leave nothing of %d elements", begin, end, full)
	}
	return made, begin, end, nil
}

// split halves a padding; the larger half is before the data where larger says so.
func (w Window) split(total int64, larger bool) (begin, end int64) {
	if begin = total / 2; larger {
		begin = total - begin
	}
	return begin, total - begin
}

// OutputShape reads the attribute of a transposed convolution that asks for n spatial lengths; nil where there is none. Opset 1
// has files with all dimensions.
func OutputShape(attrs graph.Attrs, n int) ([]int64, error) {
	out := attrs.Ints("output_shape", nil)
	if len(out) == n+2 {
		out = out[2:]
	}
	if len(out) == 0 {
		return nil, nil
	}
	if len(out) != n || slices.Min(out) < 1 {
		return nil, fmt.Errorf("output_shape %v for %d spatial dimensions", out, n)
	}
	return out, nil
}
