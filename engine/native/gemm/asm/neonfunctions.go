package main

import "math"

// The functions are those of functions.go, with the same coefficients.

// poly evaluates a polynomial, highest coefficient first.
func (g *neon) poly(x vreg, c ...float64) vreg {
	r := g.value(c[0])
	for _, k := range c[1:] {
		sum := g.value(k)
		g.fma(sum, r, x)
		r = sum
	}
	return r
}

func (g *neon) exp(x vreg) vreg {
	x = g.max(g.value(-105), g.min(g.value(89), x))
	n := g.round(g.mul(x, g.value(math.Log2E)))
	r := g.copy(x)
	g.fms(r, n, g.value(0.693359375))
	g.fms(r, n, g.value(-2.12194440e-4))
	p := g.poly(r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	sum := g.copy(r)
	g.fma(sum, p, g.mul(r, r))
	return g.scalb(g.add(sum, g.value(1)), n)
}

// scalb is x * 2^n: half of the exponent at a time, since the first product is exact.
func (g *neon) scalb(x, n vreg) vreg {
	whole := g.toInt(n)
	half := g.shiftRightSigned(whole, 1)
	whole = g.subInt(whole, half)
	bias := g.valueBits(127)
	return g.mul(g.mul(x, g.shiftLeft(g.addInt(half, bias), 23)), g.shiftLeft(g.addInt(whole, bias), 23))
}

func (g *neon) log(x vreg) vreg {
	// Denormals are made normal first.
	small := g.greater(g.value(0x1p-126), x)
	bias := g.choose(g.copy(small), g.value(23+127), g.value(127))
	y := g.mul(x, g.choose(small, g.value(0x1p23), g.value(1)))
	e := g.sub(g.toFloat(g.shiftRight(y, 23)), bias)
	m := g.or(g.and(y, g.valueBits(0x007fffff)), g.valueBits(0x3f800000))
	large := g.greater(m, g.value(math.Sqrt2))
	e = g.choose(g.copy(large), g.add(e, g.value(1)), e)
	m = g.sub(g.choose(large, g.mul(m, g.value(0.5)), m), g.value(1))
	z := g.mul(m, m)
	p := g.poly(m, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
	p = g.mul(g.mul(p, m), z)
	g.fma(p, e, g.value(-2.12194440e-4))
	g.fma(p, z, g.value(-0.5))
	r := g.add(m, p)
	g.fma(r, e, g.value(0.693359375))
	// The ends: infinity, 0, negative numbers and NaN.
	r = g.choose(g.greaterEqual(x, g.value(math.Inf(1))), x, r)
	zero := g.new()
	g.zero(zero)
	r = g.choose(g.greater(zero, x), g.valueBits(0x7fc00000), r)
	r = g.choose(g.equal(x, zero), g.value(math.Inf(-1)), r)
	return g.choose(g.equal(x, x), r, x)
}

func (g *neon) signOf(x vreg) vreg { return g.and(x, g.valueBits(0x80000000)) }

func (g *neon) tanh(x vreg) vreg {
	a := g.abs(x)
	e := g.exp(g.add(a, a))
	big := g.sub(g.value(1), g.div(g.value(2), g.add(e, g.value(1))))
	big = g.or(big, g.signOf(x))
	z := g.mul(x, x)
	p := g.poly(z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	sum := g.copy(x)
	g.fma(sum, g.mul(p, z), x)
	return g.choose(g.greater(g.value(0.625), a), sum, big)
}

func (g *neon) sigmoid(x vreg) vreg {
	return g.div(g.value(1), g.add(g.exp(g.neg(x)), g.value(1)))
}

func (g *neon) erf(x vreg) vreg {
	a := g.abs(x)
	far := g.min(g.value(4.05), a)
	q := g.poly(far, 1.6250899458976433e-06, -4.5831305795507e-05, 0.0005949834472944121, -0.004751415970408574,
		0.026398675028576818, -0.11004139847399566, -0.6318669325360382, -1.1302091711733278, 0.0003139465734793845)
	big := g.sub(g.value(1), g.exp(q))
	big = g.or(big, g.signOf(x))
	z := g.mul(x, x)
	p := g.poly(z, 8.351897075013065e-05, -0.0008138792383225079, 0.005200729666368106, -0.02685929726057817,
		0.11283694149666962, -0.3761263368813245, 1.128379166638322)
	return g.choose(g.greater(g.value(0.92), a), g.mul(p, x), big)
}
