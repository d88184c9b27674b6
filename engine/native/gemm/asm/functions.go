package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exp reduces x to n*ln 2 + r, |r| <= ln 2 / 2, and evaluates a polynomial of
// r; method and coefficients are those of expf in Moshier's Cephes library. The
// ends are where the result is infinite or 0 anyway; NaN passes.
func (v *vec) exp(x value) value {
	x = v.max(v.constant(-105), v.min(v.constant(89), x))
	n := v.round(v.mul(x, v.f(math.Log2E)))
	r := v.new()
	v.VMOVAPS(x, r)
	v.VFNMADD231PS(v.f(0.693359375), n, r)
	v.VFNMADD231PS(v.f(-2.12194440e-4), n, r)
	p := v.poly(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	p = v.fma(p, v.mul(r, r), r)
	return v.scalb(v.add(p, v.f(1)), n)
}

// scalb is x * 2^n, with results that are too small for a normal number right.
func (v *vec) scalb(x, n value) value {
	if v.bytes == 64 {
		r := v.new()
		v.VSCALEFPS(n, x, r)
		return r
	}
	// Half of the exponent at a time: the first product is exact.
	whole, half := v.new(), v.new()
	v.VCVTPS2DQ(n, whole)
	v.VPSRAD(operand.U8(1), whole, half)
	v.VPSUBD(half, whole, whole)
	for _, e := range []value{half, whole} {
		v.VPADDD(v.mem(127), e, e)
		v.VPSLLD(operand.U8(23), e, e)
	}
	return v.mul(v.mul(x, half), whole)
}

// log is logf of the Cephes library: x = 2^e * m, m between the square roots of
// a half and of two.
func (v *vec) log(x value) value {
	m, e := v.new(), v.new()
	if v.bytes == 64 {
		v.VGETEXPPS(x, e)
		v.VGETMANTPS(operand.U8(0), x, m) // 1 to 2
	} else {
		// Denormals are made normal first.
		small := v.choose(less, x, v.f(0x1p-126), v.constant(0x1p23), v.constant(1))
		bias := v.choose(less, x, v.f(0x1p-126), v.constant(23+127), v.constant(127))
		y := v.mul(x, small)
		v.VPSRLD(operand.U8(23), y, e)
		v.VCVTDQ2PS(e, e)
		e = v.sub(e, bias)
		m = v.or(v.and(y, v.mem(0x007fffff)), v.mem(0x3f800000))
	}
	large := v.constant(math.Sqrt2)
	half := v.mul(m, v.f(0.5))
	up := v.add(e, v.f(1))
	e = v.choose(less, large, m, up, e)
	m = v.choose(less, large, m, half, m)
	m = v.sub(m, v.f(1))
	z := v.mul(m, m)
	p := v.poly(m, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	p = v.mul(v.mul(p, m), z)
	v.VFMADD231PS(v.f(-2.12194440e-4), e, p)
	v.VFMADD231PS(v.f(-0.5), z, p)
	r := v.add(m, p)
	v.VFMADD231PS(v.f(0.693359375), e, r)
	// The ends: infinity, 0, negative numbers and NaN.
	r = v.choose(lessEqual, v.constant(math.Inf(1)), x, x, r)
	zero := v.xor(x, x)
	nan := v.new()
	v.VMOVUPS(v.mem(0x7fc00000), nan)
	r = v.choose(less, x, zero, nan, r)
	r = v.choose(0, x, zero, v.constant(math.Inf(-1)), r)
	return v.choose(unordered, x, x, x, r)
}

func (v *vec) abs(x value) value      { return v.and(x, v.mem(0x7fffffff)) }
func (v *vec) signOf(x value) value   { return v.and(x, v.mem(0x80000000)) }
func (v *vec) negative(x value) value { return v.xor(x, v.mem(0x80000000)) }

// tanh is tanhf of the Cephes library: a polynomial near 0, else by exp.
func (v *vec) tanh(x value) value {
	a := v.abs(x)
	e := v.exp(v.add(a, a))
	big := v.sub(v.constant(1), v.div(v.constant(2), v.add(e, v.f(1))))
	big = v.or(big, v.signOf(x))
	z := v.mul(x, x)
	p := v.poly(z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	p = v.fma(v.mul(p, z), x, x)
	return v.choose(less, a, v.f(0.625), p, big)
}

func (v *vec) sigmoid(x value) value {
	return v.div(v.constant(1), v.add(v.exp(v.negative(x)), v.f(1)))
}

// erf is x*P(x*x) up to 0.92, else 1-exp(Q(x)); P interpolates erf(x)/x and Q
// log(1-erf(x)) at Chebyshev nodes, with relative errors of 5e-10 and 3e-9.
func (v *vec) erf(x value) value {
	a := v.abs(x)
	far := v.min(v.constant(4.05), a)
	q := v.poly(far, 1.6250899458976433e-06, -4.5831305795507e-05, 0.0005949834472944121, -0.004751415970408574,
		0.026398675028576818, -0.11004139847399566, -0.6318669325360382, -1.1302091711733278, 0.0003139465734793845)
	big := v.sub(v.constant(1), v.exp(q))
	big = v.or(big, v.signOf(x))
	z := v.mul(x, x)
	p := v.poly(z, 8.351897075013065e-05, -0.0008138792383225079, 0.005200729666368106, -0.02685929726057817,
		0.11283694149666962, -0.3761263368813245, 1.128379166638322)
	return v.choose(less, a, v.f(0.92), v.mul(p, x), big)
}

// reductions are numbers made of a vector.
func (v *vec) reductions() {
	zero := func() value { return v.constant(0) }
	sum := func(a, x value) { v.VADDPS(x, a, a) }
	v.reduce("sum", "is the sum of x.", false, zero, func(a, x, _ value) { sum(a, x) }, v.VADDPS)
	v.reduce("dot", "is the sum of x*y.", true, zero, func(a, x, y value) { v.VFMADD231PS(x, y, a) }, v.VADDPS)
	v.reduceExtreme("largest", "is the largest element of x, or NaN.", math.Inf(-1), v.VMAXPS)
	v.reduceExtreme("smallest", "is the smallest element of x, or NaN.", math.Inf(1), v.VMINPS)
}

// reduce accumulates four vectors at a time and adds them up in pairs.
func (v *vec) reduce(name, doc string, two bool, start func() value, step func(a, x, y value), join func(...operand.Op)) {
	signature := "func(x *float32, n int) float32"
	if two {
		signature = "func(x, y *float32, n int) float32"
	}
	v.begin(name, signature, doc)
	x := v.pointer("x")
	pointers := []reg.GPVirtual{x}
	y := x
	if two {
		y = v.pointer("y")
		pointers = append(pointers, y)
	}
	n := v.pointer("n")
	var acc []value
	for range 4 {
		acc = append(acc, start())
	}
	v.loop(n, pointers, 4, func(vectors int, part bool) {
		for i := range vectors {
			a := v.load(v.at(x, i), part)
			b := a
			if two {
				b = v.load(v.at(y, i), part)
			}
			step(acc[i], a, b)
		}
	})
	join(acc[1], acc[0], acc[0])
	join(acc[3], acc[2], acc[2])
	join(acc[2], acc[0], acc[0])
	v.Store(v.fold(acc[0], join).AsX(), v.ReturnIndex(0))
	v.end()
}

// fold joins the lanes of a.
func (v *vec) fold(a value, join func(...operand.Op)) value {
	y := a
	if v.bytes == 64 {
		high := v.YMM()
		v.VEXTRACTF32X8(operand.U8(1), a, high)
		low := v.YMM()
		v.VMOVAPS(a.(reg.Vec).AsY(), low)
		join(high, low, low)
		y = low
	}
	x := v.XMM()
	if v.bytes == 64 {
		v.VEXTRACTF32X4(operand.U8(1), y.(reg.Vec).AsY(), x)
	} else {
		v.VEXTRACTF128(operand.U8(1), y.(reg.Vec).AsY(), x)
	}
	low := v.XMM()
	v.VMOVAPS(y.(reg.Vec).AsX(), low)
	join(x, low, low)
	v.VPERMILPS(operand.U8(0x4e), low, x)
	join(x, low, low)
	v.VPERMILPS(operand.U8(0xb1), low, x)
	join(x, low, low)
	return low
}

// reduceExtreme is a reduction by a maximum or a minimum that remembers whether
// it met a NaN.
func (v *vec) reduceExtreme(name, doc string, start float64, join func(...operand.Op)) {
	v.begin(name, "func(x *float32, n int) float32", doc)
	x, n := v.pointer("x"), v.pointer("n")
	acc := []value{v.constant(start), v.constant(start)}
	nan := v.constant(0) // not 0 where there was a NaN
	first := v.constant(start)
	v.loop(n, []reg.GPVirtual{x}, 2, func(vectors int, part bool) {
		for i := range vectors {
			a := v.load(v.at(x, i), part)
			if part {
				if v.bytes == 64 {
					v.VBLENDMPS(a, first, v.tail, a)
				} else {
					v.VBLENDVPS(v.tail, a, first, a)
				}
			}
			v.nanBits(nan, a)
			join(a, acc[i], acc[i])
		}
	})
	join(acc[1], acc[0], acc[0])
	r := v.fold(acc[0], join)
	bits, clean := v.fold(nan, v.VORPS), v.label("clean")
	b := v.GP32()
	v.VMOVD(bits.AsX(), b)
	v.TESTL(b, b)
	v.JZ(operand.LabelRef(clean))
	v.VMOVSS(v.mem(0x7fc00000), r.AsX())
	v.Label(clean)
	v.Store(r.AsX(), v.ReturnIndex(0))
	v.end()
}

// nanBits sets the lanes of acc where a is NaN to all ones.
func (v *vec) nanBits(acc, a value) {
	m := v.new()
	if v.bytes == 64 {
		k := v.K()
		v.VCMPPS(operand.U8(unordered), a, a, k)
		v.VMOVUPS(v.mem(0xffffffff), k, acc)
		return
	}
	v.VCMPPS(operand.U8(unordered), a, a, m)
	v.VORPS(m, acc, acc)
}
