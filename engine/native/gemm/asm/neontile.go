package main

import "fmt"

// neonTile is the register tile of [tile] for arm64: up to 6 rows by 4 vectors, of 32 registers 24 sums, 4 of B and 4 of A. There are no masks: what is
// left of the columns, 1 to 3, has tiles of its own. At least 16 independent chains hide the latency of the multiply-add where there are
// four units for it.
type neonTile struct {
	*neon
	kind       kind
	rows, vecs int
	rest       int // columns of the only vector, where it has not all
	chains     int // sums for one element, a power of two
	unroll     int
}

// The general registers of a tile.
const (
	tileArgsReg = 0
	tileSteps   = 1
	tileEnd     = 2 // of the steps
	tileB       = 3
	tileLDB     = 4
	tileAt      = 5 // a step's offset
	tilePtr     = 6 // the first of the rows of A
	tileMain    = 12
	tileC       = 13
	tileLDC     = 14
	tileFlags   = 15
)

const neonTileRows, neonTileVecs = 6, 4

// neonTiles writes every tile of a kind. Integers have whole pairs of vectors.
func neonTiles(g *neon, k kind) {
	for vecs := 1; vecs <= neonTileVecs; vecs++ {
		for rows := 1; rows <= neonTileRows && (k == floats || vecs%2 == 0); rows++ {
			t := neonTile{neon: g, kind: k, rows: rows, vecs: vecs}
			t.write(fmt.Sprintf("tile%sNEON%dx%d", [...]string{"", "Quads", "Pairs"}[k], rows, vecs), fmt.Sprintf("%d vectors", vecs))
		}
	}
	for rest := 1; rest <= 3 && k == floats; rest++ {
		for rows := 1; rows <= neonTileRows; rows++ {
			t := neonTile{neon: g, rows: rows, vecs: 1, rest: rest}
			t.write(fmt.Sprintf("tileNEON%drest%d", rows, rest), fmt.Sprintf("%d columns", rest))
		}
	}
	t := neonTile{neon: g, kind: k}
	t.dispatch()
}

func (t *neonTile) acc(chain, r, v int) vreg { return vreg(chain*t.rows*t.vecs + r*t.vecs + v) }

// Pairs have two registers for a vector of B, and their sides of A must be among the lower 16.
func (t *neonTile) bvec(v int) vreg {
	if t.kind == pairs {
		return vreg(28 + 2*(v%2))
	}
	return vreg(24 + v)
}

func (t *neonTile) avec(r int) vreg {
	if t.kind == pairs {
		return vreg(r % 4)
	}
	return vreg(28 + r%4)
}

func (t *neonTile) write(name, width string) {
	t.function(name, "(t *byte)", fmt.Sprintf("computes the tile t, a *tileArgs, of %d rows and %s.", t.rows, width), 8)
	t.chains = 1
	for t.chains*t.rows*t.vecs < 16 && 2*t.chains*t.rows*t.vecs <= 24 && t.chains < 4 {
		t.chains *= 2
	}
	t.unroll = max(2, t.chains)
	field := func(off, to int) { t.do("\tMOVD\t%d(R%d), R%d", off, tileArgsReg, to) }
	t.do("\tMOVD\tt+0(FP), R%d", tileArgsReg)
	field(argSteps, tileSteps)
	field(argDepth, tileAt)
	t.do("\tADD\tR%d<<2, R%d, R%d", tileAt, tileSteps, tileEnd)
	t.do("\tAND\t$%d, R%d, R%d", -t.unroll, tileAt, tileAt)
	t.do("\tADD\tR%d<<2, R%d, R%d", tileAt, tileSteps, tileMain)
	field(argB, tileB)
	field(argLDB, tileLDB)
	field(argA, tileAt)
	for r := range t.rows {
		field(argRows+8*r, tilePtr+r)
		t.do("\tADD\tR%d, R%d", tileAt, tilePtr+r)
	}
	t.begin(field)

	tail, done := t.label("tail"), t.label("end")
	t.do("\tCMP\tR%d, R%d", tileMain, tileSteps)
	t.do("\tBHS\t%s", tail)
	t.loop("main", func() {
		for u := range t.unroll {
			t.step(u % t.chains)
		}
		t.do("\tCMP\tR%d, R%d", tileMain, tileSteps)
	}, func(l string) { t.do("\tBLO\t%s", l) })
	t.mark(tail)
	t.do("\tCMP\tR%d, R%d", tileEnd, tileSteps)
	t.do("\tBHS\t%s", done)
	t.loop("left", func() {
		t.step(0)
		t.do("\tCMP\tR%d, R%d", tileEnd, tileSteps)
	}, func(l string) { t.do("\tBLO\t%s", l) })
	t.mark(done)
	t.finish(field)
	t.do("\tRET")
	t.end()
}

// begin sets the sums to what they begin with: 0, or for quads the columns' numbers.
func (t *neonTile) begin(field func(off, to int)) {
	first := t.rows * t.vecs
	if t.kind == quads {
		field(argCol, tileC)
		for v := range t.vecs {
			t.access(false, 16, t.acc(0, 0, v), mem{tileC, 16 * v})
		}
		for r := 1; r < t.rows; r++ {
			for v := range t.vecs {
				t.copyTo(t.acc(0, r, v), t.acc(0, 0, v))
			}
		}
	} else {
		first = 0
	}
	for i := first; i < t.chains*t.rows*t.vecs; i++ {
		t.zero(t.sum(vreg(i)))
	}
}

// sum is the register of a sum: those of pairs leave the lowest four to A.
func (t *neonTile) sum(i vreg) vreg {
	if t.kind == pairs {
		return i + 4
	}
	return i
}

// step is one step of the reduction.
func (t *neonTile) step(chain int) {
	t.do("\tMOVW.P\t4(R%d), R%d", tileSteps, tileAt)
	if t.kind == pairs {
		t.stepPairs(chain)
		return
	}
	switch {
	case t.rest > 0:
		t.partOf(false, t.bvec(0), t.rest, tileB)
	case t.vecs == 1:
		t.access(false, 16, t.bvec(0), mem{tileB, 0})
	default:
		for v := 0; v+1 < t.vecs; v += 2 {
			t.loadTwo(t.bvec(v), t.bvec(v+1), mem{tileB, 16 * v})
		}
		if t.vecs == 3 {
			t.access(false, 16, t.bvec(2), mem{tileB, 32})
		}
	}
	t.do("\tADD\tR%d, R%d", tileLDB, tileB)
	for r := range t.rows {
		t.loadAt(t.avec(r), 4, tilePtr+r, tileAt)
		for v := range t.vecs {
			if t.kind == quads {
				t.op(0x4f80e000, "sdot v%d.4s, v%d.16b, v%d.4b[0]", t.acc(chain, r, v), t.bvec(v), t.avec(r))
			} else {
				t.op(0x4f801000, "fmla v%d.4s, v%d.4s, v%d.s[0]", t.acc(chain, r, v), t.bvec(v), t.avec(r))
			}
		}
	}
}

// stepPairs takes two vectors of B at a time, each as a register of first and one of second numbers.
func (t *neonTile) stepPairs(chain int) {
	for v := 0; v < t.vecs; v += 2 {
		for i := range 2 {
			b := t.bvec(v + i)
			t.opAt(0x0cdf8400|uint32(tileB)<<5, fmt.Sprintf("ld2 {v%%d.4h, v%%d.4h}, [x%d], #16", tileB), []int{0, -1}, b, b+1)
		}
		for r := range t.rows {
			t.loadAt(t.avec(r), 4, tilePtr+r, tileAt)
			for i := range 2 {
				for h := range 2 {
					t.op(0x0f402000|uint32(h)<<20, fmt.Sprintf("smlal v%%d.4s, v%%d.4h, v%%d.h[%d]", h),
						t.sum(t.acc(chain, r, v+i)), t.bvec(v+i)+vreg(h), t.avec(r))
				}
			}
		}
	}
}

// finish joins the chains, adds C and the biases, clips, and stores.
func (t *neonTile) finish(field func(off, to int)) {
	for n := t.chains / 2; n > 0; n /= 2 {
		for i := range n * t.rows * t.vecs {
			a, b := t.sum(vreg(i)), t.sum(vreg(i+n*t.rows*t.vecs))
			if t.kind == floats {
				t.addTo(a, b)
			} else {
				t.op(0x4ea08400, "add v%d.4s, v%d.4s, v%d.4s", a, a, b)
			}
		}
	}
	field(argLDC, tileLDC)
	if t.kind == floats {
		field(argFlags, tileFlags)
		t.adding(field)
	}
	field(argC, tileC)
	for r := range t.rows {
		for v := range t.vecs {
			if t.rest > 0 {
				t.partOf(true, t.acc(0, r, 0), t.rest, tileC)
				continue
			}
			t.store(t.sum(t.acc(0, r, v)), mem{tileC, 16 * v})
		}
		t.nextRow(r)
	}
}

func (t *neonTile) nextRow(r int) {
	if r+1 < t.rows {
		t.do("\tADD\tR%d, R%d", tileLDC, tileC)
	}
}

// vector reads vector v of a row that begins at a general register's address.
func (t *neonTile) vector(to vreg, v, base int) {
	if t.rest > 0 {
		t.partOf(false, to, t.rest, base)
		return
	}
	t.access(false, 16, to, mem{base, 16 * v})
}

func (t *neonTile) adding(field func(off, to int)) {
	skip := t.label("nosum")
	t.do("\tTBZ\t$0, R%d, %s", tileFlags, skip)
	field(argC, tileC)
	for r := range t.rows {
		for v := range t.vecs {
			t.vector(t.bvec(v), v, tileC)
			t.addTo(t.acc(0, r, v), t.bvec(v))
		}
		t.nextRow(r)
	}
	t.mark(skip)

	skip = t.label("nocol")
	field(argCol, tileAt)
	t.do("\tCBZ\tR%d, %s", tileAt, skip)
	for v := range t.vecs {
		t.vector(t.bvec(v), v, tileAt)
	}
	for r := range t.rows {
		for v := range t.vecs {
			t.addTo(t.acc(0, r, v), t.bvec(v))
		}
	}
	t.mark(skip)

	skip = t.label("norow")
	field(argRow, tileAt)
	t.do("\tCBZ\tR%d, %s", tileAt, skip)
	for r := range t.rows {
		t.broadcast(t.avec(r), tileAt)
		for v := range t.vecs {
			t.addTo(t.acc(0, r, v), t.avec(r))
		}
		if r+1 < t.rows {
			t.do("\tADD\t$4, R%d", tileAt)
		}
	}
	t.mark(skip)

	skip = t.label("noclip")
	t.do("\tTBZ\t$1, R%d, %s", tileFlags, skip)
	for i, off := range []int{argLo, argHi} {
		t.do("\tMOVWU\t%d(R%d), R%d", off, tileArgsReg, tileAt)
		t.splat(t.avec(i), tileAt)
	}
	for i := range t.rows * t.vecs {
		// A limit that is NaN is none: the comparisons say no. So does a sum that is NaN.
		mask := t.bvec(i % 2)
		t.op(0x6ea0e400, "fcmgt v%d.4s, v%d.4s, v%d.4s", mask, t.avec(0), vreg(i))
		t.put(vreg(i), t.avec(0), mask)
		t.op(0x6ea0e400, "fcmgt v%d.4s, v%d.4s, v%d.4s", mask, vreg(i), t.avec(1))
		t.put(vreg(i), t.avec(1), mask)
	}
	t.mark(skip)
}

// dispatch writes the function in Go that calls the tile of a size. The calls are spelled out because a call through a variable would move the
// arguments to the heap.
func (t *neonTile) dispatch() {
	kind := [...]string{"", "Quads", "Pairs"}[t.kind]
	out := &t.stub
	fmt.Fprintf(out, "\n// tile%[1]sNEON calls the tile for mr rows and so many columns.\nfunc tile%[1]sNEON(t *byte, mr, cols int) {\n\tswitch cols {\n", kind)
	one := func(cols int, name func(rows int) string) {
		fmt.Fprintf(out, "\tcase %d:\n\t\tswitch mr {\n", cols)
		for rows := 1; rows <= neonTileRows; rows++ {
			fmt.Fprintf(out, "\t\tcase %d:\n\t\t\t%s(t)\n", rows, name(rows))
		}
		fmt.Fprintf(out, "\t\t}\n")
	}
	for rest := 1; rest <= 3 && t.kind == floats; rest++ {
		one(rest, func(rows int) string { return fmt.Sprintf("tileNEON%drest%d", rows, rest) })
	}
	for vecs := 1; vecs <= neonTileVecs; vecs++ {
		if t.kind == floats || vecs%2 == 0 {
			one(4*vecs, func(rows int) string { return fmt.Sprintf("tile%sNEON%dx%d", kind, rows, vecs) })
		}
	}
	fmt.Fprintf(out, "\t}\n}\n")
}
