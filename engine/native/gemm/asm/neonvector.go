package main

import (
	"fmt"
	"math"
	"strings"
)

// The general registers of a vector function.
const (
	vecDst = 0
	vecX   = 1
	vecY   = 2
	vecN   = 3
	vecTmp = 4
)

// neonVectors writes the element-wise functions and the reductions.
func neonVectors(g *neon) {
	g.binaries()
	g.unaries()
	g.scalars()
	g.sums()
	g.extreme("largest", "is the largest element of x, or NaN.", math.Inf(-1), g.max)
	g.extreme("smallest", "is the smallest element of x, or NaN.", math.Inf(1), g.min)
}

// each writes a loop over the elements whose number vecN has: unroll vectors at a time, then single ones, then the lanes that are left. body
// does so many vectors at the pointers; part says that there are fewer lanes.
func (g *neon) each(pointers []int, unroll int, body func(vectors int, part bool)) {
	rest, end := g.label("rest"), g.label("end")
	for _, u := range []int{unroll, 1} {
		next := g.label("next")
		again := g.label("again")
		g.mark(again)
		from := len(g.lines)
		g.do("\tSUBS\t$%d, R%d, R%d", 4*u, vecN, vecTmp)
		g.do("\tBLT\t%s", next)
		body(u, false)
		for _, p := range pointers {
			g.do("\tADD\t$%d, R%d", 16*u, p)
		}
		g.do("\tMOVD\tR%d, R%d", vecTmp, vecN)
		g.do("\tB\t%s", again)
		g.loops = append(g.loops, loopSpan{from, len(g.lines)})
		g.mark(next)
		if unroll == 1 {
			break
		}
	}
	g.mark(rest)
	g.do("\tCBZ\tR%d, %s", vecN, end)
	body(1, true)
	g.mark(end)
}

// get and set move vector i at a pointer, or, where part is true, the valid lanes; the others are 0 then.
func (g *neon) get(pointer, i int, part bool) vreg {
	if !part {
		return g.load(mem{pointer, 16 * i})
	}
	r := g.new()
	g.zero(r)
	g.part(false, r, vecN, pointer)
	return r
}

func (g *neon) set(r vreg, pointer, i int, part bool) {
	if part {
		g.part(true, r, vecN, pointer)
		return
	}
	g.store(r, mem{pointer, 16 * i})
}

func (g *neon) argument(name string, off, to int) { g.do("\tMOVD\t%s+%d(FP), R%d", name, off, to) }

// number fills a register with a float32 or int32 that is an argument.
func (g *neon) number(name string, off int) vreg {
	r := g.pin()
	g.do("\tMOVWU\t%s+%d(FP), R%d", name, off, vecTmp)
	g.splat(r, vecTmp)
	return r
}

// binaries are dst = f(x, y).
func (g *neon) binaries() {
	for _, b := range []struct {
		name, doc string
		f         func(x, y vreg) vreg
	}{
		{"add", "sets dst = x + y.", g.add},
		{"sub", "sets dst = x - y.", g.sub},
		{"mul", "sets dst = x * y.", g.mul},
		{"div", "sets dst = x / y.", g.div},
		{"max", "sets dst to the larger of x and y, or NaN.", g.max},
		{"min", "sets dst to the smaller of x and y, or NaN.", g.min},
		{"reluGrad", "sets dst to x where y > 0, else to 0.", func(x, y vreg) vreg {
			zero := g.new()
			g.zero(zero)
			return g.and(x, g.greater(y, zero))
		}},
	} {
		g.function(b.name+"NEON", "(dst, x, y *float32, n int)", b.doc, 32)
		g.argument("dst", 0, vecDst)
		g.argument("x", 8, vecX)
		g.argument("y", 16, vecY)
		g.argument("n", 24, vecN)
		g.each([]int{vecDst, vecX, vecY}, 4, func(vectors int, part bool) {
			for i := range vectors {
				g.set(b.f(g.get(vecX, i, part), g.get(vecY, i, part)), vecDst, i, part)
			}
		})
		g.do("\tRET")
		g.end()
	}
}

// unaries are dst = f(x).
func (g *neon) unaries() {
	for _, u := range []struct {
		name, doc string
		unroll    int
		f         func(x vreg) vreg
	}{
		{"sqrt", "sets dst to the square root of x.", 2, g.sqrt},
		{"exp", "sets dst to e to the power of x.", 2, g.exp},
		{"log", "sets dst to the natural logarithm of x.", 2, g.log},
		{"tanh", "sets dst to the hyperbolic tangent of x.", 2, g.tanh},
		{"sigmoid", "sets dst = 1/(1+exp(-x)).", 2, g.sigmoid},
		{"erf", "sets dst to the error function of x.", 2, g.erf},
	} {
		g.function(u.name+"NEON", "(dst, x *float32, n int)", u.doc, 24)
		g.argument("dst", 0, vecDst)
		g.argument("x", 8, vecX)
		g.argument("n", 16, vecN)
		g.table()
		g.each([]int{vecDst, vecX}, u.unroll, func(vectors int, part bool) {
			for i := range vectors {
				g.set(u.f(g.get(vecX, i, part)), vecDst, i, part)
			}
		})
		g.do("\tRET")
		g.end()
	}
}

// scalars are dst = f(x, numbers), or dst += f(x, numbers).
func (g *neon) scalars() {
	for _, s := range []struct {
		name, doc string
		numbers   []string
		f         func(x vreg, i int, part bool, a []vreg) vreg
	}{
		{"affine", "sets dst = x*a + b.", []string{"a", "b"}, func(x vreg, _ int, _ bool, a []vreg) vreg {
			sum := g.copy(a[1])
			g.fma(sum, x, a[0])
			return sum
		}},
		{"scale", "sets dst = x*a.", []string{"a"}, func(x vreg, _ int, _ bool, a []vreg) vreg { return g.mul(x, a[0]) }},
		{"shift", "sets dst = x + a.", []string{"a"}, func(x vreg, _ int, _ bool, a []vreg) vreg { return g.add(x, a[0]) }},
		{"clip", "sets dst = min(max(x, a), b), or NaN.", []string{"a", "b"}, func(x vreg, _ int, _ bool, a []vreg) vreg {
			g.clip(x, a[0], a[1])
			return x
		}},
		{"axpy", "sets dst += x*a.", []string{"a"}, func(x vreg, i int, part bool, a []vreg) vreg {
			sum := g.get(vecDst, i, part)
			g.fma(sum, x, a[0])
			return sum
		}},
	} {
		g.function(s.name+"NEON", fmt.Sprintf("(dst, x *float32, n int, %s float32)", strings.Join(s.numbers, ", ")), s.doc, 24+4*len(s.numbers))
		g.argument("dst", 0, vecDst)
		g.argument("x", 8, vecX)
		g.argument("n", 16, vecN)
		var numbers []vreg
		for i, name := range s.numbers {
			numbers = append(numbers, g.number(name, 24+4*i))
		}
		g.each([]int{vecDst, vecX}, 4, func(vectors int, part bool) {
			for i := range vectors {
				g.set(s.f(g.get(vecX, i, part), i, part, numbers), vecDst, i, part)
			}
		})
		g.do("\tRET")
		g.end()
	}
}

// result gives lane 0 of a register back.
func (g *neon) result(r vreg, off int) {
	g.opAt(0x1e260000|vecTmp, fmt.Sprintf("fmov w%d, s%%d", vecTmp), []int{5}, r)
	g.do("\tMOVW\tR%d, ret+%d(FP)", vecTmp, off)
}

// sums are the sum and the product with another vector, four vectors at a time, which are added up in pairs.
func (g *neon) sums() {
	for _, s := range []struct {
		name, parameters, doc string
		two                   int
	}{{"sum", "x *float32", "is the sum of x.", 0}, {"dot", "x, y *float32", "is the sum of x*y.", 1}} {
		off := 8 + 8*s.two
		g.function(s.name+"NEON", fmt.Sprintf("(%s, n int) float32", s.parameters), s.doc, off+12)
		g.argument("x", 0, vecX)
		pointers := []int{vecX}
		if s.two == 1 {
			g.argument("y", 8, vecY)
			pointers = append(pointers, vecY)
		}
		g.argument("n", off, vecN)
		var acc []vreg
		for range 4 {
			acc = append(acc, g.pin())
			g.zero(acc[len(acc)-1])
		}
		g.each(pointers, 4, func(vectors int, part bool) {
			for i := range vectors {
				x := g.get(vecX, i, part)
				if s.two == 1 {
					g.fma(acc[i], x, g.get(vecY, i, part))
				} else {
					g.addTo(acc[i], x)
				}
			}
		})
		g.addTo(acc[0], acc[1])
		g.addTo(acc[2], acc[3])
		g.addTo(acc[0], acc[2])
		for range 2 { // neighbours
			g.op(0x6e20d400, "faddp v%d.4s, v%d.4s, v%d.4s", acc[0], acc[0], acc[0])
		}
		g.result(acc[0], off+8)
		g.do("\tRET")
		g.end()
	}
}

// extreme is a reduction by a maximum or a minimum, which a NaN passes.
func (g *neon) extreme(name, doc string, start float64, join func(a, b vreg) vreg) {
	g.function(name+"NEON", "(x *float32, n int) float32", doc, 20)
	g.argument("x", 0, vecX)
	g.argument("n", 8, vecN)
	g.table()
	var acc []vreg
	for range 4 {
		r := g.pin()
		acc = append(acc, r)
		g.access(false, 16, r, mem{17, g.constant(math.Float32bits(float32(start)))})
	}
	g.each([]int{vecX}, 4, func(vectors int, part bool) {
		for i := range vectors {
			if part {
				r := g.value(start)
				g.part(false, r, vecN, vecX)
				g.copyTo(acc[0], join(acc[0], r))
				continue
			}
			g.copyTo(acc[i], join(acc[i], g.get(vecX, i, false)))
		}
	})
	r := join(join(acc[0], acc[1]), join(acc[2], acc[3]))
	across := map[string]uint32{"largest": 0x6e30f800, "smallest": 0x6eb0f800}[name]
	s := g.new()
	g.op(across, map[string]string{"largest": "fmaxv", "smallest": "fminv"}[name]+" s%d, v%d.4s", s, r)
	g.result(s, 16)
	g.do("\tRET")
	g.end()
}
