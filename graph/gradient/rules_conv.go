package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
)

// A window is how a kernel goes over the spatial dimensions; pads are the begins, then the ends.
type window struct{ kernel, strides, pads, dilations []int64 }

func (w window) attrs() graph.Attrs {
	return graph.Attrs{"kernel_shape": w.kernel, "strides": w.strides, "pads": w.pads, "dilations": w.dilations}
}

// taps is the number of elements under the kernel.
func (w window) taps() int64 {
	p := int64(1)
	for _, k := range w.kernel {
		p *= k
	}
	return p
}

// window reads a node's window over x; kernel is what the weights say, where there are any.
func (t *tape) window(n *graph.Node, x string, kernel []int64) (window, error) {
	k := len(n.Attrs.Ints("kernel_shape", kernel))
	read, err := infer.ReadWindow(n.Attrs, n.Attrs.Ints("kernel_shape", kernel))
	s := t.shape(x)
	if err == nil && (k == 0 || s != nil && len(s) != k+2) {
		err = fmt.Errorf("a kernel of %d dimensions over shape %v", k, s)
	}
	if err != nil {
		return window{}, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
	}
	w := window{kernel: read.Kernel, strides: read.Strides, dilations: read.Dilations, pads: slices.Concat(read.Begin, read.End)}
	if read.Auto != "SAME_UPPER" && read.Auto != "SAME_LOWER" {
		return w, nil
	}
	for i := range k {
		if s == nil || !s[2+i].Known() {
			return w, fmt.Errorf("%w: %s: automatic padding over dimensions that are not known", ErrNoGradient, nodeName(n))
		}
		if _, w.pads[i], w.pads[k+i], err = read.Slide(i, s[2+i].Size, false); err != nil {
			return w, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
		}
	}
	return w, nil
}

// scatter is the transposed convolution that takes the gradient from the window's outputs back to its inputs, which have
// x's spatial dimensions; y has the outputs'.
func (t *tape) scatter(dy, weights string, w window, group int64, x, y string) string {
	k := len(w.kernel)
	sx, sy := t.shape(x), t.shape(y)
	attrs := w.attrs()
	attrs["group"] = group
	pads, extra, known := slices.Clone(w.pads), make([]int64, k), sx != nil && sy != nil
	for i := range k {
		if !known || !sx[2+i].Known() || !sy[2+i].Known() {
			known = false
			break
		}
		reach := (sy[2+i].Size-1)*w.strides[i] + (w.kernel[i]-1)*w.dilations[i] + 1
		rest := sx[2+i].Size + w.pads[i] - reach
		pads[k+i], extra[i] = max(-rest, 0), max(rest, 0)
	}
	if !known { // make it long enough, and cut it to x's length
		pads = w.pads
		for i := range extra {
			extra[i] = w.strides[i] - 1
		}
	}
	attrs["pads"] = pads
	if slices.Max(extra) > 0 {
		attrs["output_padding"] = extra
	}
	dx := t.with(attrs, "ConvTranspose", dy, weights)
	if known || slices.Max(extra) == 0 {
		return dx
	}
	axes := make([]int64, k)
	for i := range axes {
		axes[i] = int64(2 + i)
	}
	return t.op("Slice", dx, t.ints(make([]int64, k)...), t.section(t.op("Shape", x), 2, toEnd), t.ints(axes...))
}

// kernelOf returns the spatial dimensions of weights.
func (t *tape) kernelOf(n *graph.Node, weights string) ([]int64, error) {
	s := t.shape(weights)
	if k := n.Attrs.Ints("kernel_shape", nil); k != nil {
		return k, nil
	}
	if len(s) < 3 {
		return nil, fmt.Errorf("%w: %s: the shape of its weights is not known", ErrNoGradient, nodeName(n))
	}
	k := make([]int64, len(s)-2)
	for i, d := range s[2:] {
		if !d.Known() {
			return nil, fmt.Errorf("%w: %s: the shape of its weights is not known", ErrNoGradient, nodeName(n))
		}
		k[i] = d.Size
	}
	return k, nil
}

func convGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, weights := n.Input(0), n.Input(1)
	kernel, err := t.kernelOf(n, weights)
	if err != nil {
		return nil, err
	}
	w, err := t.window(n, x, kernel)
	if err != nil {
		return nil, err
	}
	group := n.Attrs.Int("group", 1)
	dx := make([]string, 3)
	if t.want(n, 0) {
		dx[0] = t.scatter(dy[0], weights, w, group, x, n.Output(0))
	}
	if t.want(n, 1) {
		attrs := w.attrs()
		attrs["group"] = group
		dx[1] = t.call(FuncConvGradientWeights, attrs, 1, x, dy[0])[0]
	}
	if t.want(n, 2) {
		dx[2] = t.reduce("ReduceSum", dy[0], false, axesBut(1, len(kernel)+2)...)
	}
	return dx, nil
}

// convTransposeGradient: a transposed convolution is the gradient of a convolution by its input, so its own gradients
// are that convolution, and the weights' gradient with the operands' roles exchanged.
func convTransposeGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, weights := n.Input(0), n.Input(1)
	kernel, err := t.kernelOf(n, weights)
	if err != nil {
		return nil, err
	}
	auto := n.Attrs.String("auto_pad", "NOTSET")
	if auto != "NOTSET" && auto != "" && auto != "VALID" || n.Attrs.Has("output_shape") {
		return nil, fmt.Errorf("%w: %s: with automatic padding or output_shape; write its pads", ErrNoGradient, nodeName(n))
	}
	w, err := t.window(n, x, kernel)
	if err != nil {
		return nil, err
	}
	attrs := w.attrs()
	attrs["group"] = n.Attrs.Int("group", 1)
	dx := make([]string, 3)
	if t.want(n, 0) {
		dx[0] = t.with(attrs, "Conv", dy[0], weights)
	}
	if t.want(n, 1) {
		dx[1] = t.call(FuncConvGradientWeights, attrs.Clone(), 1, dy[0], x)[0]
	}
	if t.want(n, 2) {
		dx[2] = t.reduce("ReduceSum", dy[0], false, axesBut(1, len(kernel)+2)...)
	}
	return dx, nil
}

// maxPoolGradient makes the pool give its indices, and adds the gradient up there.
func maxPoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	if n.Attrs.Int("storage_order", 0) != 0 {
		return nil, fmt.Errorf("%w: %s: with storage_order 1", ErrNoGradient, nodeName(n))
	}
	for len(n.Outputs) < 2 {
		n.Outputs = append(n.Outputs, "")
	}
	if n.Outputs[1] == "" {
		n.Outputs[1] = t.name("indices")
	}
	return one(t.call(FuncMaxPoolGradient, nil, 1, dy[0], n.Outputs[1], t.shapeOf(n.Input(0)))[0])
}

func averagePoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, y := n.Input(0), n.Output(0)
	w, err := t.window(n, x, nil)
	if err != nil {
		return nil, err
	}
	count, err := t.poolCount(n, w, x, y)
	if err != nil {
		return nil, err
	}
	return one(t.spread(t.op("Div", dy[0], count), w, x, y))
}

// spread gives each element of x the sum of g, which has the shape of y, over the windows that it is in.
func (t *tape) spread(g string, w window, x, y string) string {
	planes := t.op("Reshape", g, t.concatSizes([]string{t.ints(-1, 1), t.dims(y, 2, 2+len(w.kernel))}))
	shape := append([]int{1, 1}, toInts(w.kernel)...)
	ones := floatsOf(t.dtype, slices.Repeat([]float64{1}, int(w.taps())), shape...)
	return t.reshapeLike(t.scatter(planes, t.constant(ones), w, 1, x, y), x)
}

// power is |x|^(p-1) with the sign of x: the slope of |x|^p over p.
func (t *tape) power(x string, p int64) string {
	switch p {
	case 1:
		return t.op("Sign", x)
	case 2:
		return x
	}
	return t.op("Mul", t.op("Sign", x), t.op("Pow", t.op("Abs", x), t.num(float64(p-1))))
}

// normShare is y^(1-p), 0 where y is 0: a norm of nothing has no slope.
func (t *tape) normShare(y, dy string, p int64) string {
	zero := t.op("Equal", y, t.num(0))
	safe := t.op("Where", zero, t.num(1), y)
	return t.op("Where", zero, t.num(0), t.op("Mul", dy, t.op("Pow", safe, t.num(float64(1-p)))))
}

// lpPoolGradient is that of the p-norm of each window.
func lpPoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, y, p := n.Input(0), n.Output(0), n.Attrs.Int("p", 2)
	w, err := t.window(n, x, nil)
	if err != nil {
		return nil, err
	}
	return one(t.op("Mul", t.power(x, p), t.spread(t.normShare(y, dy[0], p), w, x, y)))
}

func globalLpPoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	p := n.Attrs.Int("p", 2)
	return one(t.op("Mul", t.power(n.Input(0), p), t.normShare(n.Output(0), dy[0], p)))
}

func toInts(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

// poolCount returns what each sum of an average pool was divided by.
func (t *tape) poolCount(n *graph.Node, w window, x, y string) (string, error) {
	k := len(w.kernel)
	withPads := n.Attrs.Int("count_include_pad", 0) != 0 || slices.Max(w.pads) == 0
	ceil := n.Attrs.Int("ceil_mode", 0) != 0
	if withPads && !ceil {
		return t.num(float64(w.taps())), nil
	}
	sx, sy := t.shape(x), t.shape(y)
	shape, counts := []int{1, 1}, []float64{1}
	for i := range k {
		if sx == nil || sy == nil || !sx[2+i].Known() || !sy[2+i].Known() {
			return "", fmt.Errorf("%w: %s: the lengths of its dimensions are not known", ErrNoGradient, nodeName(n))
		}
		low, high := int64(0), sx[2+i].Size
		if withPads {
			low, high = -w.pads[i], high+w.pads[k+i]
		}
		var next []float64
		for _, c := range counts {
			for o := range sy[2+i].Size {
				taps := 0.0
				for j := range w.kernel[i] {
					if at := o*w.strides[i] - w.pads[i] + j*w.dilations[i]; at >= low && at < high {
						taps++
					}
				}
				next = append(next, c*max(taps, 1))
			}
		}
		counts, shape = next, append(shape, int(sy[2+i].Size))
	}
	return t.constant(floatsOf(t.dtype, counts, shape...)), nil
}

func spatialAxes(rank int) []int64 {
	axes := make([]int64, 0, rank)
	for i := 2; i < rank; i++ {
		axes = append(axes, int64(i))
	}
	return axes
}

func globalAveragePoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	return one(t.expandLike(t.op("Div", dy[0], t.reducedCount(reduction{axes: spatialAxes(rank)}, x)), x))
}

func globalMaxPoolGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x := n.Input(0)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	mask := t.mask(t.op("Equal", x, n.Output(0)))
	share := t.op("Div", dy[0], t.reduce("ReduceSum", mask, true, spatialAxes(rank)...))
	return one(t.op("Mul", mask, share))
}
