package random

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Newer makes the case of that seed with one operator that came after opset 17: the same one every time.
func Newer(seed uint64) (Case, error) {
	m := begin("newer", seed, 3)
	newer[seed%uint64(len(newer))](m)
	c, err := m.finish("newer", seed)
	if err != nil {
		return Case{}, err
	}
	switch c.Graph.Nodes[0].OpType {
	case "Attention":
		c.Graph.Opset[""] = 24
	case "QuantizeLinear":
		c.Graph.Opset[""] = 21 // in which Transpose moves float8
	}
	return c, nil
}

// newer each make a graph of one operator.
var newer = []func(m *maker){attention, attention, tensorScatter, centerCropPad, col2im, affineGrid, deformConv, maxRoiPool, small}

// small quantizes to a type of 8 or 4 bits and back, with one scale, one for each place of an axis, or one for each block, and casts what
// comes of it.
func small(m *maker) {
	rows, cols := 1+m.IntN(5), 1+m.IntN(9)
	to := []tensor.DType{tensor.Int4, tensor.Uint4, tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ}[m.IntN(6)]
	attrs, scales := graph.Attrs{}, []int{}
	switch m.IntN(3) {
	case 0:
		attrs["axis"], scales = int64(1), []int{cols}
	case 1:
		if to == tensor.Int4 || to == tensor.Uint4 { // the library has blocks for these
			block := 1 + m.IntN(cols)
			attrs["axis"], attrs["block_size"], scales = int64(1), int64(block), []int{rows, (cols + block - 1) / block}
		}
	}
	scale := m.normal(1, scales...)
	for i, v := range tensor.Data[float32](scale) {
		tensor.Data[float32](scale)[i] = 0.1 + v*v
	}
	zero := tensor.Must(tensor.New(to, scales...))
	if to == tensor.Int4 || to == tensor.Uint4 {
		for i := range zero.Bytes() {
			zero.Bytes()[i] = byte(m.IntN(8))
		}
	}
	s, z := m.b.Init("scale", scale), m.b.Init("zero", zero)
	q := m.b.Op("QuantizeLinear", attrs, m.table("x", m.normal(3, rows, cols)), s, z)
	m.b.Output(m.b.Op("DequantizeLinear", attrs, q, s, z))
	m.b.Output(m.b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, m.b.Op("Transpose", nil, q)))
}

func tensorScatter(m *maker) {
	batch, rows, dim, wide := 1+m.IntN(4), 1+m.IntN(4), 4+m.IntN(4), 1+m.IntN(4)
	in := []string{m.table("past", m.normal(1, batch, 2, dim, wide)), m.table("update", m.normal(1, batch, 2, rows, wide))}
	attrs := graph.Attrs{"mode": m.oneOf("linear", "circular")}
	if m.IntN(3) > 0 {
		most := dim - rows + 1
		if attrs["mode"] == "circular" {
			most = dim
		}
		at := make([]int64, batch)
		for i := range at {
			at[i] = m.Int64N(int64(most))
		}
		in = append(in, m.table("at", tensor.Vector(at...)))
	}
	m.b.Output(m.b.Op("TensorScatter", attrs, in...))
}

func centerCropPad(m *maker) {
	x := m.table("x", m.normal(1, 1+m.IntN(6), 1+m.IntN(6), 1+m.IntN(6)))
	if m.IntN(2) == 0 {
		m.b.Output(m.b.Op("CenterCropPad", nil, x, m.b.Ints(1+m.Int64N(8), 1+m.Int64N(8), 1+m.Int64N(8))))
		return
	}
	m.b.Output(m.b.Op("CenterCropPad", graph.Attrs{"axes": []int64{2, -3}}, x, m.b.Ints(1+m.Int64N(8), 1+m.Int64N(8))))
}

func col2im(m *maker) {
	n := 1 + m.IntN(3)
	var image, block, strides, dilations, pads []int64
	each, places := 1, 1
	for range n {
		s, d, b := 1+m.Int64N(2), 1+m.Int64N(2), 1+m.Int64N(3)
		if n != 2 { // where the library takes the dilations wrong
			d = 1
		}
		i := (b-1)*d + 1 + m.Int64N(4)
		strides, dilations, block, image = append(strides, s), append(dilations, d), append(block, b), append(image, i)
		pads = append(pads, m.Int64N(2))
		each *= int(b)
	}
	for i := range n {
		pads = append(pads, m.Int64N(2))
		places *= int((image[i]+pads[i]+pads[n+i]-(block[i]-1)*dilations[i]-1)/strides[i] + 1)
	}
	x := m.table("x", m.normal(1, 1+m.IntN(2), each*(1+m.IntN(3)), places))
	m.b.Output(m.b.Op("Col2Im", graph.Attrs{"strides": strides, "dilations": dilations, "pads": pads}, x, m.b.Ints(image...), m.b.Ints(block...)))
}

func affineGrid(m *maker) {
	n, batch := 2+m.IntN(2), 1+m.IntN(3)
	size := []int64{int64(batch), 3}
	for range n {
		size = append(size, 2+m.Int64N(6))
	}
	m.b.Output(m.b.Op("AffineGrid", graph.Attrs{"align_corners": int64(m.IntN(2))}, m.table("x", m.normal(1, batch, n, n+1)), m.b.Ints(size...)))
}

func deformConv(m *maker) {
	batch, groups, offsetGroups := 1+m.IntN(2), 1+m.IntN(2), 1+m.IntN(2)
	in, filters := groups*offsetGroups*(1+m.IntN(2)), groups*(1+m.IntN(3))
	var kernel, image, out [2]int
	strides, dilations, pads := make([]int64, 2), make([]int64, 2), make([]int64, 4)
	for i := range 2 {
		kernel[i], strides[i], dilations[i], pads[i], pads[2+i] = 1+m.IntN(3), 1+m.Int64N(2), 1+m.Int64N(2), m.Int64N(2), m.Int64N(2)
		extent := (kernel[i]-1)*int(dilations[i]) + 1
		image[i] = extent + m.IntN(5)
		out[i] = (image[i]+int(pads[i]+pads[2+i])-extent)/int(strides[i]) + 1
	}
	each := offsetGroups * kernel[0] * kernel[1]
	inputs := []string{
		m.table("x", m.normal(1, batch, in, image[0], image[1])), m.table("w", m.normal(1, filters, in/groups, kernel[0], kernel[1])),
		m.table("offset", m.normal(1, batch, 2*each, out[0], out[1])), "", "",
	}
	if m.IntN(2) == 0 {
		inputs[3] = m.table("b", m.normal(1, filters))
	}
	if m.IntN(2) == 0 {
		inputs[4] = m.table("mask", m.normal(1, batch, each, out[0], out[1]))
	}
	attrs := graph.Attrs{"group": int64(groups), "offset_group": int64(offsetGroups), "strides": strides, "dilations": dilations, "pads": pads}
	m.b.Output(m.b.Op("DeformConv", attrs, inputs...))
}

func maxRoiPool(m *maker) {
	batch, regions, high, wide := 1+m.IntN(2), 1+m.IntN(4), 2+m.IntN(8), 2+m.IntN(8)
	rois := tensor.Must(tensor.New(tensor.Float32, regions, 5))
	d := tensor.Data[float32](rois)
	for i := range regions {
		x, y := m.IntN(wide), m.IntN(high)
		copy(d[5*i:], []float32{float32(m.IntN(batch)), float32(2 * x), float32(2 * y), float32(2 * (x + m.IntN(wide-x))), float32(2 * (y + m.IntN(high-y)))})
	}
	attrs := graph.Attrs{"pooled_shape": []int64{1 + m.Int64N(4), 1 + m.Int64N(4)}, "spatial_scale": float32(0.5)}
	m.b.Output(m.b.Op("MaxRoiPool", attrs, m.table("x", m.normal(1, batch, 1+m.IntN(3), high, wide)), m.table("rois", rois)))
}

// attention has one of its forms: packed heads or not, a past or an outer cache, a mask of one of its shapes.
func attention(m *maker) {
	batch, groups, kv, size, wide := 1+m.IntN(3), 1+m.IntN(3), 1+m.IntN(3), 1+m.IntN(9), 1+m.IntN(9)
	queries, keys, past := 1+m.IntN(6), 1+m.IntN(6), 0
	if m.IntN(8) == 0 {
		queries, keys, size = 20+m.IntN(30), 40+m.IntN(50), 16+m.IntN(50)
	}
	attrs := graph.Attrs{}
	if queries > 1 && m.IntN(2) == 0 { // the library lets a single query see all keys
		attrs["is_causal"] = int64(1)
	}
	heads := groups * kv
	shape := func(n, rows, size int) []int { return []int{batch, n, rows, size} }
	if m.IntN(2) == 0 {
		attrs["q_num_heads"], attrs["kv_num_heads"] = int64(heads), int64(kv)
		shape = func(n, rows, size int) []int { return []int{batch, rows, n * size} }
	}
	in := []string{
		m.table("q", m.normal(1, shape(heads, queries, size)...)), m.table("k", m.normal(1, shape(kv, keys, size)...)), m.table("v", m.normal(1, shape(kv, keys, wide)...)),
		"", "", "", "",
	}
	outer := m.IntN(4) == 0
	if !outer && m.IntN(2) == 0 {
		past = 1 + m.IntN(5)
		in[4], in[5] = m.table("pk", m.normal(1, batch, kv, past, size)), m.table("pv", m.normal(1, batch, kv, past, wide))
	}
	if outer {
		lengths := make([]int64, batch)
		for i := range lengths {
			lengths[i] = 1 + m.Int64N(int64(keys))
		}
		in[6] = m.table("n", tensor.Vector(lengths...))
	}
	if m.IntN(2) == 0 {
		dims := [][]int{{queries, past + keys}, {1, queries, past + keys}, {heads, queries, past + keys}, {batch, 1, queries, past + keys}, {batch, heads, queries, past + keys}}[m.IntN(5)]
		mask := m.normal(1, dims...)
		if m.IntN(2) == 0 {
			seen := make([]bool, mask.Size())
			for i, v := range tensor.Data[float32](mask) {
				seen[i] = v > -0.7
			}
			mask = tensor.Must(tensor.Of(seen, dims...))
		}
		in[3] = m.table("m", mask)
	}
	if m.IntN(3) == 0 {
		attrs["softcap"] = float32(0.5 + m.Float64())
	}
	if queries < 20 && m.IntN(3) == 0 {
		attrs["scale"] = float32(m.Float64())
	}
	outputs := 1
	if past > 0 {
		outputs = 3
	}
	if outputs == 3 && m.IntN(2) == 0 {
		outputs = 4
		attrs["qk_matmul_output_mode"] = int64([]int{0, 1, 3}[m.IntN(3)]) // the library has the lowest number in 2, not minus infinity
	}
	m.b.Output(m.b.Ops("Attention", outputs, attrs, in...)...)
}
