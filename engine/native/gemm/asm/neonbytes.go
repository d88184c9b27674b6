package main

import "fmt"

// neonBytes writes what turns int32 sums and float32 numbers into bytes and back, 8 at a time; lengths are multiples of 8.
func neonBytes(g *neon) {
	g.requantize()
	g.quantize("quantize", "scale", "is zero + round(limit(x/scale)), and zero where that is NaN.", func(x, scale vreg) vreg {
		q := g.div(x, scale)
		return g.and(q, g.equal(q, q))
	})
	g.quantize("quantizeBy", "by", "is zero + round(limit(x*by)).", g.mul)
	g.dequantize("Unsigned", 0x20000000, "uxtl")
	g.dequantize("Signed", 0, "sxtl")
	g.transposeBytes()
}

// eights writes a loop over the elements whose number vecN has; there is at least one turn.
func (g *neon) eights(body func()) {
	g.loop("eight", func() {
		body()
		g.do("\tSUBS\t$8, R%d", vecN)
	}, func(l string) { g.do("\tBGT\t%s", l) })
}

// toBytes limits two vectors, rounds halves to even, adds the zero point, and stores the lowest bytes. NaN becomes the lower limit.
func (g *neon) toBytes(x [2]vreg, low, high, zero vreg, dst int) {
	halves := g.new()
	for i, v := range x {
		n := g.addInt(g.toInt(g.min(g.maxNumber(v, low), high)), zero)
		if i == 0 {
			g.op(0x0e612800, "xtn v%d.4h, v%d.4s", halves, n)
		} else {
			g.op(0x4e612800, "xtn2 v%d.8h, v%d.4s", halves, n)
		}
	}
	b := g.new()
	g.op(0x0e212800, "xtn v%d.8b, v%d.8h", b, halves)
	g.access(true, 8, b, mem{dst, 0})
	g.do("\tADD\t$8, R%d", dst)
}

func (g *neon) requantize() {
	const dst, sums, add, n, by, rows = 0, 1, 2, vecN, 5, 6
	g.function("requantizeNEON", "(dst *byte, sums, add *int32, by *float32, rows, n int, low, high float32, zero int32)",
		"is zero + round(limit(float32(sums+add)*by)), for rows of n elements, at least one of each.", 60)
	g.argument("dst", 0, dst)
	g.argument("sums", 8, sums)
	g.argument("rows", 32, rows)
	low, high, zero := g.number("low", 48), g.number("high", 52), g.number("zero", 56)
	g.loop("row", func() {
		g.argument("add", 16, add)
		g.argument("by", 24, by)
		g.argument("n", 40, n)
		g.eights(func() {
			var x [2]vreg
			for i := range x {
				x[i] = g.mul(g.toFloat(g.addInt(g.load(mem{sums, 16 * i}), g.load(mem{add, 16 * i}))), g.load(mem{by, 16 * i}))
			}
			for _, p := range []int{sums, add, by} {
				g.do("\tADD\t$32, R%d", p)
			}
			g.toBytes(x, low, high, zero, dst)
		})
		g.do("\tSUB\t$1, R%d", rows)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", rows, l) })
	g.do("\tRET")
	g.end()
}

// quantize is zero + round(limit(f(x, number))).
func (g *neon) quantize(name, number, doc string, f func(x, number vreg) vreg) {
	const dst, from = 0, 1
	g.function(name+"NEON", fmt.Sprintf("(dst *byte, x *float32, n int, %s, low, high float32, zero int32)", number), doc, 40)
	g.argument("dst", 0, dst)
	g.argument("x", 8, from)
	g.argument("n", 16, vecN)
	with, low, high, zero := g.number(number, 24), g.number("low", 28), g.number("high", 32), g.number("zero", 36)
	g.eights(func() {
		var x [2]vreg
		for i := range x {
			x[i] = f(g.load(mem{from, 16 * i}), with)
		}
		g.do("\tADD\t$32, R%d", from)
		g.toBytes(x, low, high, zero, dst)
	})
	g.do("\tRET")
	g.end()
}

func (g *neon) dequantize(kind string, unsigned uint32, widen string) {
	const dst, from = 0, 1
	g.function("dequantize"+kind+"NEON", "(dst *float32, x *byte, n int, zero int32, scale float32)", "is float32(x-zero)*scale.", 32)
	g.argument("dst", 0, dst)
	g.argument("x", 8, from)
	g.argument("n", 16, vecN)
	zero, scale := g.number("zero", 24), g.number("scale", 28)
	g.eights(func() {
		b, h := g.new(), g.new()
		g.access(false, 8, b, mem{from, 0})
		g.do("\tADD\t$8, R%d", from)
		g.op(0x0f08a400|unsigned, widen+" v%d.8h, v%d.8b", h, b)
		for half, name := range []string{widen + " v%d.4s, v%d.4h", widen + "2 v%d.4s, v%d.8h"} {
			w := g.new()
			g.op(0x0f10a400|unsigned|uint32(half)<<30, name, w, h)
			g.store(g.mul(g.toFloat(g.subInt(w, zero)), scale), mem{dst, 16 * half})
		}
		g.do("\tADD\t$32, R%d", dst)
	})
	g.do("\tRET")
	g.end()
}

// transposeBytes mixes neighbouring rows, then pairs, then halves.
func (g *neon) transposeBytes() {
	const dst, ldd, src, lds, blocks, flip, tmp = 0, 1, 2, 3, 4, 5, 6
	g.function("transposeBytesNEON", "(dst *byte, ldd int, src *byte, lds, blocks int, flip uint64)",
		"transposes 8 rows of 8*blocks columns, at least one block, and flips the bits that flip says in each byte of eight.", 48)
	for i, name := range []string{"dst", "ldd", "src", "lds", "blocks", "flip"} {
		g.argument(name, 8*i, i)
	}
	mask := g.pin()
	g.op(0x4e080c00|flip<<5, fmt.Sprintf("dup v%%d.2d, x%d", flip), mask)
	g.loop("block", func() {
		rows := g.rowsAt(8, 8, src, lds, tmp)
		for _, round := range []struct {
			apart       int
			arrangement string
		}{{1, "8b"}, {2, "4h"}, {4, "2s"}} {
			next := make([]vreg, 8)
			for i := range next {
				if i&round.apart == 0 {
					a, b := rows[i], rows[i+round.apart]
					next[i], next[i+round.apart] = g.pair("trn1", round.arrangement, a, b), g.pair("trn2", round.arrangement, a, b)
				}
			}
			rows = next
		}
		for _, r := range rows {
			g.access(true, 8, g.xor(r, mask), mem{dst, 0})
			g.do("\tADD\tR%d, R%d", ldd, dst)
		}
		g.do("\tSUB\t$1, R%d", blocks)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", blocks, l) })
	g.do("\tRET")
	g.end()
}
