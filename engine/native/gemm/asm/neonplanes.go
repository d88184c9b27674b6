package main

import "fmt"

// The general registers of what goes through planes, beside those of a vector function.
const (
	planeArgsReg = 5
	planeRowsReg = 6
	planeSrcReg  = 7
	planeDstReg  = 8
	planeStep    = 9
	planeWeight  = 10
	planeTap     = 11
	planeAt      = 12
	planeLine    = 13
)

// neonPlanes writes the convolution of one plane by one kernel, the copying of the rows of many planes and the transposition.
func neonPlanes(g *neon) {
	g.depthwise()
	g.copyPlanes()
	g.transpose()
}

func (g *neon) field(off, to int) { g.do("\tMOVD\t%d(R%d), R%d", off, planeArgsReg, to) }

func (g *neon) depthwise() {
	g.function("planeNEON", "(t *byte)", "computes t, a *planeArgs.", 8)
	g.argument("t", 0, planeArgsReg)
	g.field(planeRows, planeRowsReg)
	g.field(planeSrc, planeSrcReg)
	g.field(planeDst, planeDstReg)
	var limits []vreg
	for _, off := range []int{planeBias, planeLow, planeHigh} {
		r := g.pin()
		g.do("\tMOVWU\t%d(R%d), R%d", off, planeArgsReg, vecTmp)
		g.splat(r, vecTmp)
		limits = append(limits, r)
	}
	var acc []vreg
	for range 4 {
		acc = append(acc, g.pin())
	}
	done := g.label("done")
	g.do("\tCBZ\tR%d, %s", planeRowsReg, done)
	g.loop("row", func() {
		g.do("\tMOVD\tR%d, R%d", planeSrcReg, vecX)
		g.do("\tMOVD\tR%d, R%d", planeDstReg, vecDst)
		g.field(planeCols, vecN)
		g.each([]int{vecX, vecDst}, 4, func(vectors int, part bool) { g.pixels(acc[:vectors], limits, part) })
		g.field(planeSrcStride, vecTmp)
		g.do("\tADD\tR%d, R%d", vecTmp, planeSrcReg)
		g.field(planeDstStride, vecTmp)
		g.do("\tADD\tR%d, R%d", vecTmp, planeDstReg)
		g.do("\tSUB\t$1, R%d", planeRowsReg)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", planeRowsReg, l) })
	g.mark(done)
	g.do("\tRET")
	g.end()
}

// pixels computes as many vectors of a row as there are sums.
func (g *neon) pixels(acc, limits []vreg, part bool) {
	for _, a := range acc {
		g.copyTo(a, limits[0])
	}
	g.field(planeSteps, planeStep)
	g.field(planeWeights, planeWeight)
	g.field(planeTaps, planeTap)
	g.loop("tap", func() {
		g.do("\tMOVW.P\t4(R%d), R%d", planeStep, planeAt)
		g.do("\tADD\tR%d, R%d, R%d", vecX, planeAt, planeLine)
		w := g.new()
		g.broadcast(w, planeWeight)
		for i, a := range acc {
			g.fma(a, g.get(planeLine, i, part), w)
		}
		g.do("\tADD\t$4, R%d", planeWeight)
		g.do("\tSUB\t$1, R%d", planeTap)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", planeTap, l) })
	g.field(planeFlags, planeTap)
	skip := g.label("nosum")
	g.do("\tTBZ\t$0, R%d, %s", planeTap, skip)
	for i, a := range acc {
		g.addTo(a, g.get(vecDst, i, part))
	}
	g.mark(skip)
	skip = g.label("noclip")
	g.do("\tTBZ\t$1, R%d, %s", planeTap, skip)
	for _, a := range acc {
		g.clip(a, limits[1], limits[2])
	}
	g.mark(skip)
	for i, a := range acc {
		g.set(a, vecDst, i, part)
	}
}

func (g *neon) copyPlanes() {
	const rows, dst, src = planeStep, planeWeight, planeTap
	g.function("copyPlanesNEON", "(t *byte)", "does t, a *copyArgs, of at least one plane, row and column.", 8)
	g.argument("t", 0, planeArgsReg)
	g.field(copyPlanes, planeRowsReg)
	g.field(copySrc, planeSrcReg)
	g.field(copyDst, planeDstReg)
	step := func(off, to int) {
		g.field(off, vecTmp)
		g.do("\tADD\tR%d, R%d", vecTmp, to)
	}
	again := func(counter int) func(string) {
		return func(l string) {
			g.do("\tSUB\t$1, R%d", counter)
			g.do("\tCBNZ\tR%d, %s", counter, l)
		}
	}
	g.loop("plane", func() {
		g.do("\tMOVD\tR%d, R%d", planeSrcReg, src)
		g.do("\tMOVD\tR%d, R%d", planeDstReg, dst)
		g.field(copyRows, rows)
		g.loop("row", func() {
			g.do("\tMOVD\tR%d, R%d", src, vecX)
			g.do("\tMOVD\tR%d, R%d", dst, vecDst)
			g.field(copyCols, vecN)
			g.each([]int{vecX, vecDst}, 4, func(vectors int, part bool) {
				for i := range vectors {
					g.set(g.get(vecX, i, part), vecDst, i, part)
				}
			})
			step(copySrcRow, src)
			step(copyDstRow, dst)
		}, again(rows))
		step(copySrcPlane, planeSrcReg)
		step(copyDstPlane, planeDstReg)
	}, again(planeRowsReg))
	g.do("\tRET")
	g.end()
}

// rowsAt reads so many rows of size bytes, a stride apart, and moves the first one's address on.
func (g *neon) rowsAt(n, size, src, stride, tmp int) []vreg {
	var rows []vreg
	g.do("\tMOVD\tR%d, R%d", src, tmp)
	for i := range n {
		r := g.new()
		g.access(false, size, r, mem{tmp, 0})
		rows = append(rows, r)
		if i+1 < n {
			g.do("\tADD\tR%d, R%d", stride, tmp)
		}
	}
	g.do("\tADD\t$%d, R%d", size, src)
	return rows
}

func (g *neon) transpose() {
	const dst, ldd, src, lds, blocks, tmp = 0, 1, 2, 3, 4, 5
	g.function("transposeStripNEON", "(dst *float32, ldd int, src *float32, lds, blocks int)",
		"transposes 4 rows of 4*blocks columns, at least one block; the strides are in bytes.", 40)
	for i, name := range []string{"dst", "ldd", "src", "lds", "blocks"} {
		g.argument(name, 8*i, i)
	}
	g.loop("block", func() {
		r := g.rowsAt(4, 16, src, lds, tmp)
		a, b := g.pair("trn1", "4s", r[0], r[1]), g.pair("trn2", "4s", r[0], r[1])
		c, d := g.pair("trn1", "4s", r[2], r[3]), g.pair("trn2", "4s", r[2], r[3])
		for _, column := range []vreg{g.pair("trn1", "2d", a, c), g.pair("trn1", "2d", b, d), g.pair("trn2", "2d", a, c), g.pair("trn2", "2d", b, d)} {
			g.store(column, mem{dst, 0})
			g.do("\tADD\tR%d, R%d", ldd, dst)
		}
		g.do("\tSUB\t$1, R%d", blocks)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", blocks, l) })
	g.do("\tRET")
	g.end()
}

// The general registers of the windows.
const (
	winDst     = 0
	winIndex   = 1
	winRow     = 2
	winRows    = 3
	winTmp     = 4
	winSrc     = 5
	winN       = 6
	winBase    = 7
	winSteps   = 8
	winTaps    = 9
	winAt      = 10
	winLine    = 11
	winRowStep = 12
	winFirst   = 13 // the base of the row
)

// neonWindows writes the maxima of windows and where they are, for strides 1 and 2.
func neonWindows(g *neon) {
	for stride := 1; stride <= 2; stride++ {
		g.function(fmt.Sprintf("windows%dNEON", stride),
			"(dst *float32, index *int64, src *float32, steps *int32, taps, cols, rows, rowStep int, base int64)",
			fmt.Sprintf("sets dst to the largest of src at steps, for rows x cols windows, %d elements apart in a row, "+
				"and index to where that is; index may be nil. There are at least 4 columns.", stride), 72)
		g.argument("dst", 0, winDst)
		g.argument("index", 8, winIndex)
		g.argument("src", 16, winRow)
		g.argument("rows", 48, winRows)
		g.argument("rowStep", 56, winRowStep)
		g.argument("base", 64, winFirst)
		g.table()
		lane, best, where := g.pin(), g.pin(), g.pin()
		s := uint32(stride)
		g.access(false, 16, lane, mem{17, g.vector([4]uint32{0, s, 2 * s, 3 * s})})
		g.loop("row", func() {
			g.do("\tMOVD\tR%d, R%d", winRow, winSrc)
			g.do("\tMOVD\tR%d, R%d", winFirst, winBase)
			g.argument("cols", 40, winN)
			tail, done := g.label("tail"), g.label("done")
			g.loop("again", func() {
				g.do("\tCMP\t$4, R%d", winN)
				g.do("\tBLT\t%s", tail)
				g.window(stride, lane, best, where)
				g.do("\tADD\t$%d, R%d", 16*stride, winSrc)
				g.do("\tADD\t$%d, R%d", 4*stride, winBase)
				g.do("\tSUB\t$4, R%d", winN)
			}, func(l string) { g.do("\tB\t%s", l) })
			g.mark(tail)
			g.do("\tCBZ\tR%d, %s", winN, done)
			// A whole vector that ends with the row.
			g.do("\tSUB\t$4, R%d, R%d", winN, winTmp)
			g.do("\tADD\tR%d<<%d, R%d", winTmp, 1+stride, winSrc)
			g.do("\tADD\tR%d<<%d, R%d", winTmp, stride-1, winBase)
			g.do("\tADD\tR%d<<2, R%d", winTmp, winDst)
			none := g.label("none")
			g.do("\tCBZ\tR%d, %s", winIndex, none)
			g.do("\tADD\tR%d<<3, R%d", winTmp, winIndex)
			g.mark(none)
			g.window(stride, lane, best, where)
			g.mark(done)
			g.do("\tADD\tR%d<<2, R%d", winRowStep, winRow)
			g.do("\tADD\tR%d, R%d", winRowStep, winFirst)
			g.do("\tSUB\t$1, R%d", winRows)
		}, func(l string) { g.do("\tCBNZ\tR%d, %s", winRows, l) })
		g.do("\tRET")
		g.end()
	}
}

// window does one vector of windows, and moves dst and index on.
func (g *neon) window(stride int, lane, best, where vreg) {
	fetch := func() (x, step vreg) {
		g.do("\tMOVW.P\t4(R%d), R%d", winSteps, winAt)
		g.do("\tADD\tR%d<<2, R%d, R%d", winAt, winSrc, winLine)
		x = g.load(mem{winLine, 0})
		if stride == 2 {
			// The last element of the second vector would be beyond the last window: the load begins one element earlier.
			late, turned := g.loadNear(mem{winLine, 12}), g.new()
			g.op(0x4ea00800, "rev64 v%d.4s, v%d.4s", turned, late)
			x = g.pair("uzp1", "4s", x, turned)
		}
		step = g.new()
		g.splat(step, winAt)
		return x, step
	}
	g.argument("steps", 24, winSteps)
	g.argument("taps", 32, winTaps)
	x, step := fetch()
	g.copyTo(best, x)
	g.copyTo(where, step)
	done := g.label("taps")
	g.do("\tSUB\t$1, R%d", winTaps)
	g.do("\tCBZ\tR%d, %s", winTaps, done)
	g.loop("tap", func() {
		x, step := fetch()
		// Larger, or the first NaN.
		first := g.bits(0x4e601c00, "bic", g.equal(best, best), g.equal(x, x))
		larger := g.or(g.greater(x, best), first)
		g.put(best, x, larger)
		g.put(where, step, larger)
		g.do("\tSUB\t$1, R%d", winTaps)
	}, func(l string) { g.do("\tCBNZ\tR%d, %s", winTaps, l) })
	g.mark(done)
	g.store(best, mem{winDst, 0})
	g.do("\tADD\t$16, R%d", winDst)
	none := g.label("none")
	g.do("\tCBZ\tR%d, %s", winIndex, none)
	at, base := g.addInt(where, lane), g.new()
	g.op(0x4e080c00|winBase<<5, fmt.Sprintf("dup v%%d.2d, x%d", winBase), base)
	for half, name := range []string{"sxtl v%d.2d, v%d.2s", "sxtl2 v%d.2d, v%d.4s"} {
		wide := g.new()
		g.op(0x0f20a400|uint32(half)<<30, name, wide, at)
		g.op(0x4ee08400, "add v%d.2d, v%d.2d, v%d.2d", wide, wide, base)
		g.store(wide, mem{winIndex, 16 * half})
	}
	g.do("\tADD\t$32, R%d", winIndex)
	g.mark(none)
}
