package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// patchOps take parts of pictures.
var patchOps = map[string]operator{
	"ExtractImagePatches": one(patches), "CropAndResize": one(cropAndResize), "MaxPoolWithArgmax": maxPoolWithArgmax,
	"LinSpace": one(linSpace), "QuantizeAndDequantizeV2": one(quantizeAndDequantize), "QuantizeAndDequantizeV3": one(quantizeAndDequantize),
}

// patches lays the windows of a picture side by side as channels: it takes rows, then columns, by their numbers.
func patches(c *call) *value {
	x := c.arg(0)
	w := &window{spatial: 2, padding: c.string("padding", "")}
	w.kernel = c.perAxis(w, "ksizes", c.ints("ksizes"))
	w.strides = c.perAxis(w, "strides", c.ints("strides"))
	w.dilations = c.perAxis(w, "rates", c.ints("rates"))
	if c.needRank(x) != 4 || !x.shape[1].Known() || !x.shape[2].Known() {
		c.refuse("the height and width of its picture are not known")
	}
	first := graph.Shape{x.shape[0], x.shape[3], x.shape[1], x.shape[2]}
	pads, lengths := make([]int64, 8), make([]int64, 2)
	for i := range 2 {
		if w.padding == "SAME" {
			pads[1+i], pads[5+i], _ = w.same(i, first)
		}
		lengths[i] = (x.shape[i+1].Size+pads[1+i]+pads[5+i]-w.reach(i))/w.strides[i] + 1
		if lengths[i] < 1 || lengths[i]*w.kernel[i] > 1<<20 {
			c.damaged("patches of %v in a picture of shape %v", w.kernel, x.shape)
		}
	}
	if slices.ContainsFunc(pads, func(p int64) bool { return p != 0 }) {
		x = c.onnx("Pad", nil, x, c.i64(pads...))
	}
	for i := range 2 {
		c.spend(8 * lengths[i] * w.kernel[i])
		var at []int64
		for o := range lengths[i] {
			for k := range w.kernel[i] {
				at = append(at, o*w.strides[i]+k*w.dilations[i])
			}
		}
		x = c.onnx("Gather", graph.Attrs{"axis": int64(i + 1)}, x, c.i64(at...))
	}
	depth := c.dim(x, 3)
	x = c.reshapeTo(x, c.concat(c.dim(x, 0), c.i64(lengths[0], w.kernel[0], lengths[1], w.kernel[1]), depth))
	x = c.transpose(x, 0, 1, 3, 2, 4, 5)
	return c.reshapeTo(x, c.concat(c.dim(x, 0), c.i64(lengths...), c.onnx("Mul", nil, depth, c.i64(w.kernel[0]*w.kernel[1]))))
}

// cropAndResize scales boxes of pictures, whose corners are numbers from 0 to 1, to one size.
func cropAndResize(c *call) *value {
	x, boxes, which, size := c.cast(c.arg(0), tensor.Float32), c.arg(1), c.cast(c.arg(2), tensor.Int64), c.constInts(3, "crop_size")
	method := c.string("method", "bilinear")
	if c.needRank(x) != 4 || len(size) != 2 || size[0] < 1 || size[1] < 1 || size[0]*size[1] > 1<<24 {
		c.damaged("crops of %v of a picture of shape %v", size, x.shape)
	}
	column := func(i int64) *value { return c.slice(boxes, []int64{1}, []int64{i}, []int64{i + 1}) }
	k := func(v float64) *value { return c.scalar(tensor.Float32, v) }
	var low, high, part, inside [2]*value
	for i := range 2 {
		n := c.cast(c.onnx("Sub", nil, c.squeeze(c.dim(x, i+1), 0), c.index(1)), tensor.Float32)
		from, to := column(int64(i)), column(int64(i+2))
		start := c.onnx("Mul", nil, from, n)
		at := c.onnx("Mul", nil, c.onnx("Mul", nil, c.onnx("Add", nil, from, to), n), k(0.5))
		if size[i] > 1 {
			step := c.onnx("Div", nil, c.onnx("Mul", nil, c.onnx("Sub", nil, to, from), n), k(float64(size[i]-1)))
			c.spend(4 * size[i])
			steps := make([]float32, size[i])
			for j := range steps {
				steps[j] = float32(j)
			}
			at = c.onnx("Add", nil, start, c.onnx("Mul", nil, c.constant(c.hint("steps"), tensor.Must(tensor.Of(steps, 1, int(size[i])))), step))
		}
		inside[i] = c.onnx("And", nil, c.onnx("GreaterOrEqual", nil, at, k(0)), c.onnx("LessOrEqual", nil, at, n))
		at = c.onnx("Where", nil, inside[i], at, k(0))
		if method == "nearest" { // half away from zero
			at = c.onnx("Floor", nil, c.onnx("Add", nil, at, k(0.5)))
		}
		floor := c.onnx("Floor", nil, at)
		part[i] = c.onnx("Sub", nil, at, floor)
		low[i], high[i] = c.cast(floor, tensor.Int64), c.cast(c.onnx("Ceil", nil, at), tensor.Int64)
	}
	// Places are [boxes, height, width, 3].
	shape := c.concat(c.dim(boxes, 0), c.i64(size...), c.i64(1))
	spread := func(v *value, axes ...int64) *value { return c.onnx("Expand", nil, c.unsqueeze(v, axes...), shape) }
	pick := func(y, x2 *value) *value {
		at := c.join(3, spread(which, 1, 2, 3), spread(y, 2, 3), spread(x2, 1, 3))
		return c.onnx("GatherND", nil, x, at)
	}
	mix := func(a, b, t *value) *value {
		return c.onnx("Add", nil, a, c.onnx("Mul", nil, c.onnx("Sub", nil, b, a), t))
	}
	y := pick(low[0], low[1])
	switch method {
	case "bilinear":
		ty, tx := c.unsqueeze(part[0], 2, 3), c.unsqueeze(part[1], 1, 3)
		y = mix(mix(y, pick(low[0], high[1]), tx), mix(pick(high[0], low[1]), pick(high[0], high[1]), tx), ty)
	case "nearest":
	default:
		c.damaged("method %q", method)
	}
	both := c.onnx("And", nil, c.unsqueeze(inside[0], 2, 3), c.unsqueeze(inside[1], 1, 3))
	return c.where(both, y, k(float64(c.float("extrapolation_value", 0))))
}

// maxPoolWithArgmax gives places as TensorFlow counts them: rows, columns, then channels, of one picture or of all.
func maxPoolWithArgmax(c *call) []*value {
	x := c.arg(0)
	w := &window{spatial: 2, padding: c.string("padding", "")}
	w.kernel = c.perAxis(w, "ksize", c.ints("ksize"))
	w.strides = c.perAxis(w, "strides", c.ints("strides"))
	w.dilations = []int64{1, 1}
	if c.needRank(x) != 4 || !x.shape[1].Known() || !x.shape[2].Known() || !x.shape[3].Known() {
		c.refuse("the height, width and channels of its picture are not known")
	}
	if x.dtype != tensor.Float32 && x.dtype != tensor.Float64 {
		c.refuse("places of the largest of %v", x.dtype)
	}
	attrs, first := c.windowAttrs(w, c.toFirst(w, x), 0)
	out := c.multi("MaxPool", 2, attrs, first)
	area, depth := x.shape[1].Size*x.shape[2].Size, x.shape[3].Size
	at := c.toLast(w, out[1])
	pixel := c.onnx("Mod", nil, at, c.index(area))
	plane := c.onnx("Div", nil, at, c.index(area)) // of all pictures
	channel := c.onnx("Mod", nil, plane, c.index(depth))
	places := c.onnx("Add", nil, c.onnx("Mul", nil, pixel, c.index(depth)), channel)
	if c.bool("include_batch_in_index", false) {
		picture := c.onnx("Div", nil, plane, c.index(depth))
		places = c.onnx("Add", nil, places, c.onnx("Mul", nil, picture, c.index(area*depth)))
	}
	return []*value{c.toLast(w, out[0]), c.cast(places, c.dtype("Targmax", graphdef.Int64))}
}

// linSpace goes from start to stop in even steps; the last one is stop itself.
func linSpace(c *call) *value {
	start, stop := c.pair()
	n := c.cast(c.arg(2), tensor.Int64)
	last := c.onnx("Sub", nil, n, c.index(1))
	steps := c.onnx("Range", nil, c.index(0), c.squeezeAll(n), c.index(1))
	from := start.dtype
	to := computing(from)
	start, stop = c.cast(start, to), c.cast(stop, to)
	step := c.onnx("Div", nil, c.onnx("Sub", nil, stop, start), c.cast(c.onnx("Max", nil, last, c.index(1)), to))
	y := c.onnx("Add", nil, start, c.onnx("Mul", nil, c.cast(steps, to), step))
	end := c.onnx("And", nil, c.onnx("Equal", nil, steps, last), c.onnx("Greater", nil, last, c.index(0)))
	return c.cast(c.where(end, stop, y), from)
}

// quantizeAndDequantize rounds to the steps of a range that is given, or that of the input.
func quantizeAndDequantize(c *call) *value {
	x := c.arg(0)
	bits := c.int("num_bits", 8)
	if c.op == "QuantizeAndDequantizeV3" {
		bits = c.constInt(3, "num_bits")
	}
	if bits < 1 || bits > 31 {
		c.damaged("num_bits %d", bits)
	}
	if mode := c.string("round_mode", "HALF_TO_EVEN"); mode != "HALF_TO_EVEN" && mode != "HALF_UP" {
		c.damaged("round_mode %q", mode)
	}
	from := x.dtype
	signed, narrow := c.bool("signed_input", true), c.bool("narrow_range", false)
	axis := c.int("axis", -1)
	x = c.cast(x, computing(from))
	k := func(v float64) *value { return c.like(x, v) }
	var low, high *value
	var axes, inner []int64
	for i := range c.needRank(x) {
		if int64(i) != axis {
			axes = append(axes, int64(i))
		}
		if int64(i) > axis && axis >= 0 {
			inner = append(inner, int64(i)-axis)
		}
	}
	if c.bool("range_given", false) {
		low, high = c.cast(c.arg(1), x.dtype), c.cast(c.arg(2), x.dtype)
	} else {
		low, high = c.reduce("ReduceMin", x, axes, false), c.reduce("ReduceMax", x, axes, false)
	}
	qmin, qmax := 0.0, float64(int64(1)<<bits-1)
	if signed {
		qmin, qmax = -float64(int64(1)<<(bits-1)), float64(int64(1)<<(bits-1)-1)
		if narrow {
			qmin++
		}
	}
	zero := k(0)
	// The side that needs the larger step says what the step is, and the range becomes one of whole steps.
	ratio := func(q float64, v *value, is bool) *value {
		if !is {
			return k(3.4028234663852886e38)
		}
		s := c.onnx("Div", nil, k(q), v)
		good := c.onnx("Greater", nil, c.onnx("Mul", nil, k(q), v), zero)
		return c.where(good, s, k(3.4028234663852886e38))
	}
	down, up := ratio(qmin, low, qmin != 0), ratio(qmax, high, true)
	byDown := c.onnx("Less", nil, down, up)
	scale := c.where(byDown, down, up)
	inverse := c.where(byDown, c.onnx("Div", nil, low, k(qmin)), c.onnx("Div", nil, high, k(qmax)))
	if qmin == 0 {
		inverse = c.onnx("Div", nil, high, k(qmax))
	}
	low2 := c.where(byDown, low, c.onnx("Mul", nil, k(qmin), inverse))
	high2 := c.where(byDown, c.onnx("Mul", nil, k(qmax), inverse), high)
	wide := func(v *value) *value { return c.unsqueeze(v, inner...) }
	y := c.onnx("Max", nil, c.onnx("Min", nil, x, wide(high2)), wide(low2))
	y = c.onnx("Mul", nil, y, wide(scale))
	if c.string("round_mode", "HALF_TO_EVEN") == "HALF_UP" {
		y = c.onnx("Floor", nil, c.onnx("Add", nil, y, k(0.5)))
	} else {
		y = c.onnx("Round", nil, y)
	}
	return c.cast(c.onnx("Mul", nil, y, wide(inverse)), from)
}
