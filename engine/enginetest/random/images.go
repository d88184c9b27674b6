package random

import (
	"math"

	"github.com/millrace/millrace/graph"
)

// The steps here take values of four dimensions: a batch of images with channels.

func isImages(v value) bool { return len(v.shape) == 4 && v.shape[2] > 1 && v.shape[3] > 1 }

// window chooses a kernel's size and how it moves, and returns the attributes and the height and width that come out.
func (m *maker) window(v value, dilate bool) (attrs graph.Attrs, kernel, out [2]int, ok bool) {
	attrs = graph.Attrs{}
	var strides, dilations [2]int
	for i := range 2 {
		kernel[i], strides[i], dilations[i] = 1+m.IntN(min(4, v.shape[2+i])), 1+m.IntN(2), 1
		if dilate && m.IntN(4) == 0 {
			dilations[i] = 2
		}
	}
	auto := m.oneOf("NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
	if dilations != [2]int{1, 1} && auto != "VALID" {
		auto = "NOTSET" // onnxruntime refuses dilation with automatic padding, at the run
	}
	var pads [4]int64
	for i := range 2 {
		reach := dilations[i]*(kernel[i]-1) + 1
		switch auto {
		case "NOTSET":
			pads[i], pads[i+2] = int64(m.IntN(kernel[i])), int64(m.IntN(kernel[i]))
			out[i] = (v.shape[2+i]+int(pads[i]+pads[i+2])-reach)/strides[i] + 1
			if v.shape[2+i]+int(pads[i]+pads[i+2]) < reach {
				return nil, kernel, out, false
			}
		case "VALID":
			if v.shape[2+i] < reach {
				return nil, kernel, out, false
			}
			out[i] = (v.shape[2+i]-reach)/strides[i] + 1
		default:
			if kernel[i] < strides[i] {
				return nil, kernel, out, false // padding below zero, which onnxruntime refuses at the run
			}
			out[i] = (v.shape[2+i] + strides[i] - 1) / strides[i]
		}
	}
	attrs["kernel_shape"] = []int64{int64(kernel[0]), int64(kernel[1])}
	attrs["strides"] = []int64{int64(strides[0]), int64(strides[1])}
	if dilate {
		attrs["dilations"] = []int64{int64(dilations[0]), int64(dilations[1])}
	}
	if auto == "NOTSET" {
		attrs["pads"] = pads[:]
	} else {
		attrs["auto_pad"] = auto
	}
	return attrs, kernel, out, true
}

func conv(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	attrs, kernel, out, ok := m.window(v, true)
	if !ok {
		return value{}, false
	}
	channels := v.shape[1]
	groups := 1
	for _, g := range []int{channels, 2} {
		if channels%g == 0 && m.IntN(4) == 0 {
			groups = g
		}
	}
	attrs["group"] = int64(groups)
	filters := groups * (1 + m.IntN(4))
	in := channels / groups
	inputs := []string{v.name, m.b.Init("w", m.normal(1/math.Sqrt(float64(in*kernel[0]*kernel[1])), filters, in, kernel[0], kernel[1]))}
	if m.IntN(2) == 0 {
		inputs = append(inputs, m.b.Init("b", m.normal(0.5, filters)))
	}
	return m.op([]int{v.shape[0], filters, out[0], out[1]}, "Conv", attrs, inputs...)
}

func convTranspose(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	k, stride := 1+m.IntN(4), 1+m.IntN(2)
	filters := 1 + m.IntN(6)
	shape := []int{v.shape[0], filters, stride*(v.shape[2]-1) + k, stride*(v.shape[3]-1) + k}
	w := m.b.Init("w", m.normal(1/math.Sqrt(float64(v.shape[1]*k)), v.shape[1], filters, k, k))
	return m.op(shape, "ConvTranspose", graph.Attrs{"strides": []int64{int64(stride), int64(stride)}, "kernel_shape": []int64{int64(k), int64(k)}}, v.name, w)
}

func pool(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	op := m.oneOf("MaxPool", "AveragePool")
	attrs, _, out, ok := m.window(v, op == "MaxPool")
	if !ok {
		return value{}, false
	}
	if op == "AveragePool" && m.IntN(2) == 0 {
		attrs["count_include_pad"] = int64(1)
	}
	return m.op([]int{v.shape[0], v.shape[1], out[0], out[1]}, op, attrs, v.name)
}

func globalPool(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	return m.op([]int{v.shape[0], v.shape[1], 1, 1}, m.oneOf("GlobalAveragePool", "GlobalMaxPool"), nil, v.name)
}

// perChannel adds constants with one number a channel.
func (m *maker) perChannel(n int, ranges ...[2]float64) []string {
	var names []string
	for _, r := range ranges {
		names = append(names, m.b.Init("c", m.between(r[0], r[1], n)))
	}
	return names
}

func batchNorm(m *maker, v value) (value, bool) {
	if len(v.shape) < 2 {
		return value{}, false
	}
	c := m.perChannel(v.shape[1], [2]float64{0.5, 1.5}, [2]float64{-1, 1}, [2]float64{-1, 1}, [2]float64{0.5, 1.5})
	return m.op(v.shape, "BatchNormalization", graph.Attrs{"epsilon": float32(1e-3)}, append([]string{v.name}, c...)...)
}

func instanceNorm(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	c := m.perChannel(v.shape[1], [2]float64{0.5, 1.5}, [2]float64{-1, 1})
	return m.op(v.shape, "InstanceNormalization", graph.Attrs{"epsilon": float32(1e-1)}, append([]string{v.name}, c...)...)
}

func layerNorm(m *maker, v value) (value, bool) {
	last := v.shape[len(v.shape)-1]
	if last < 3 {
		return value{}, false // the mean of two equal numbers has no deviation to divide by
	}
	c := m.perChannel(last, [2]float64{0.5, 1.5}, [2]float64{-1, 1})
	return m.op(v.shape, "LayerNormalization", graph.Attrs{"axis": int64(-1), "epsilon": float32(1e-1)}, append([]string{v.name}, c...)...)
}

func lrn(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	return m.op(v.shape, "LRN", graph.Attrs{"size": int64(1 + 2*m.IntN(3)), "alpha": float32(0.1), "beta": float32(0.75), "bias": float32(1)}, v.name)
}

func resize(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	// Sizes that are a whole multiple: where a place falls between two pixels must not depend on rounding.
	up := 1 + m.IntN(3)
	shape := []int{v.shape[0], v.shape[1], up * v.shape[2], up * v.shape[3]}
	attrs := graph.Attrs{"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
	if m.IntN(2) == 0 {
		attrs = graph.Attrs{"mode": "linear", "coordinate_transformation_mode": m.oneOf("half_pixel", "asymmetric")}
	}
	sizes := m.b.Ints(int64(shape[0]), int64(shape[1]), int64(shape[2]), int64(shape[3]))
	return m.op(shape, "Resize", attrs, v.name, "", "", sizes)
}

func prelu(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	return m.op(v.shape, "PRelu", nil, v.name, m.b.Init("slope", m.between(-0.5, 0.5, v.shape[1], 1, 1)))
}

func depth(m *maker, v value) (value, bool) {
	if !isImages(v) {
		return value{}, false
	}
	if v.shape[1]%4 == 0 {
		return m.op([]int{v.shape[0], v.shape[1] / 4, 2 * v.shape[2], 2 * v.shape[3]}, "DepthToSpace",
			graph.Attrs{"blocksize": int64(2), "mode": m.oneOf("DCR", "CRD")}, v.name)
	}
	if v.shape[2]%2 == 0 && v.shape[3]%2 == 0 {
		return m.op([]int{v.shape[0], 4 * v.shape[1], v.shape[2] / 2, v.shape[3] / 2}, "SpaceToDepth", graph.Attrs{"blocksize": int64(2)}, v.name)
	}
	return value{}, false
}
