package main

import (
	"fmt"
	"math"
)

// The instructions, with the encodings of the Arm Architecture Reference Manual (C4 and C7). Registers of four float32 or int32
// where nothing else is said. Those that give a result write it to a new register.

func (g *neon) three(word uint32, name string, a, b vreg) vreg {
	d := g.new()
	g.op(word, name+" v%d.4s, v%d.4s, v%d.4s", d, a, b)
	return d
}

func (g *neon) two(word uint32, name string, a vreg) vreg {
	d := g.new()
	g.op(word, name+" v%d.4s, v%d.4s", d, a)
	return d
}

func (g *neon) add(a, b vreg) vreg  { return g.three(0x4e20d400, "fadd", a, b) }
func (g *neon) sub(a, b vreg) vreg  { return g.three(0x4ea0d400, "fsub", a, b) }
func (g *neon) mul(a, b vreg) vreg  { return g.three(0x6e20dc00, "fmul", a, b) }
func (g *neon) div(a, b vreg) vreg  { return g.three(0x6e20fc00, "fdiv", a, b) }
func (g *neon) sqrt(a vreg) vreg    { return g.two(0x6ea1f800, "fsqrt", a) }
func (g *neon) round(a vreg) vreg   { return g.two(0x4e218800, "frintn", a) } // halves to even
func (g *neon) abs(a vreg) vreg     { return g.two(0x4ea0f800, "fabs", a) }
func (g *neon) neg(a vreg) vreg     { return g.two(0x6ea0f800, "fneg", a) }
func (g *neon) toInt(a vreg) vreg   { return g.two(0x4e21a800, "fcvtns", a) } // halves to even, NaN is 0
func (g *neon) toFloat(a vreg) vreg { return g.two(0x4e21d800, "scvtf", a) }
func (g *neon) addInt(a, b vreg) vreg {
	return g.three(0x4ea08400, "add", a, b)
}
func (g *neon) subInt(a, b vreg) vreg {
	return g.three(0x6ea08400, "sub", a, b)
}

// max and min are NaN where one of both is; maxNumber is the other one then.
func (g *neon) max(a, b vreg) vreg       { return g.three(0x4e20f400, "fmax", a, b) }
func (g *neon) min(a, b vreg) vreg       { return g.three(0x4ea0f400, "fmin", a, b) }
func (g *neon) maxNumber(a, b vreg) vreg { return g.three(0x4e20c400, "fmaxnm", a, b) }

// The comparisons set all bits of a lane or none; none where there is a NaN.
func (g *neon) equal(a, b vreg) vreg        { return g.three(0x4e20e400, "fcmeq", a, b) }
func (g *neon) greater(a, b vreg) vreg      { return g.three(0x6ea0e400, "fcmgt", a, b) }
func (g *neon) greaterEqual(a, b vreg) vreg { return g.three(0x6e20e400, "fcmge", a, b) }

// fma adds a*b to sum, fms takes it away.
func (g *neon) fma(sum, a, b vreg) { g.op(0x4e20cc00, "fmla v%d.4s, v%d.4s, v%d.4s", sum, a, b) }
func (g *neon) fms(sum, a, b vreg) { g.op(0x4ea0cc00, "fmls v%d.4s, v%d.4s, v%d.4s", sum, a, b) }

// addTo is sum += a, of float32.
func (g *neon) addTo(sum, a vreg) { g.op(0x4e20d400, "fadd v%d.4s, v%d.4s, v%d.4s", sum, sum, a) }

func (g *neon) bits(word uint32, name string, a, b vreg) vreg {
	d := g.new()
	g.op(word, name+" v%d.16b, v%d.16b, v%d.16b", d, a, b)
	return d
}

func (g *neon) and(a, b vreg) vreg { return g.bits(0x4e201c00, "and", a, b) }
func (g *neon) or(a, b vreg) vreg  { return g.bits(0x4ea01c00, "orr", a, b) }
func (g *neon) xor(a, b vreg) vreg { return g.bits(0x6e201c00, "eor", a, b) }

// choose is yes where the mask has bits, else no. The mask is lost.
func (g *neon) choose(mask, yes, no vreg) vreg {
	g.op(0x6e601c00, "bsl v%d.16b, v%d.16b, v%d.16b", mask, yes, no)
	return mask
}

// put sets to to a where the mask has bits.
func (g *neon) put(to, a, mask vreg) { g.op(0x6ea01c00, "bit v%d.16b, v%d.16b, v%d.16b", to, a, mask) }

func (g *neon) copyTo(to, a vreg) {
	g.opAt(0x4ea01c00, "mov v%[1]d.16b, v%[2]d.16b", []int{0, 5, 16}, to, a, a)
}

func (g *neon) copy(a vreg) vreg {
	d := g.new()
	g.copyTo(d, a)
	return d
}

func (g *neon) zero(r vreg) { g.op(0x6f00e400, "movi v%d.2d, #0x0", r) }

func (g *neon) shiftLeft(a vreg, n int) vreg {
	return g.shifted(0x4f005400|uint32(32+n)<<16, "shl", a, n)
}
func (g *neon) shiftRight(a vreg, n int) vreg { // of uint32
	return g.shifted(0x6f000400|uint32(64-n)<<16, "ushr", a, n)
}
func (g *neon) shiftRightSigned(a vreg, n int) vreg {
	return g.shifted(0x4f000400|uint32(64-n)<<16, "sshr", a, n)
}
func (g *neon) shifted(word uint32, name string, a vreg, n int) vreg {
	d := g.new()
	g.op(word, fmt.Sprintf("%s v%%d.4s, v%%d.4s, #%d", name, n), d, a)
	return d
}

// pair is an instruction that mixes the elements of two registers, of an arrangement: "4s", "2d", "8b" and so on.
func (g *neon) pair(name, arrangement string, a, b vreg) vreg {
	word := map[string]uint32{"trn1": 0x0e002800, "trn2": 0x0e006800, "uzp1": 0x0e001800, "zip1": 0x0e003800}[name] |
		map[string]uint32{"4s": 0x40800000, "2d": 0x40c00000, "2s": 0x00800000, "4h": 0x00400000, "8b": 0}[arrangement]
	d := g.new()
	g.op(word, fmt.Sprintf("%s v%%d.%[2]s, v%%d.%[2]s, v%%d.%[2]s", name, arrangement), d, a, b)
	return d
}

// splat fills a register with the lowest 32 bits of a general one.
func (g *neon) splat(r vreg, from int) {
	g.op(0x4e040c00|uint32(from)<<5, fmt.Sprintf("dup v%%d.4s, w%d", from), r)
}

// mem is an address: a general register and bytes beyond it, as far as the instruction allows.
type mem struct{ base, off int }

func (m mem) plus(n int) mem { return mem{m.base, m.off + n} }

func (m mem) String() string {
	if m.off == 0 {
		return fmt.Sprintf("[x%d]", m.base)
	}
	return fmt.Sprintf("[x%d, #%d]", m.base, m.off)
}

// access reads or writes one register of 4, 8 or 16 bytes.
func (g *neon) access(store bool, size int, r vreg, m mem) {
	word, letter := map[int]uint32{4: 0xbd400000, 8: 0xfd400000, 16: 0x3dc00000}[size], map[int]string{4: "s", 8: "d", 16: "q"}[size]
	name := "ldr"
	if store {
		name, word = "str", word&^0x00400000
	}
	if m.off < 0 || m.off%size != 0 || m.off/size > 4095 {
		panic(fmt.Sprint("no offset of an access: ", m))
	}
	g.op(word|uint32(m.off/size)<<10|uint32(m.base)<<5, fmt.Sprintf("%s %s%%d, %s", name, letter, m), r)
}

func (g *neon) load(m mem) vreg {
	r := g.new()
	g.access(false, 16, r, m)
	return r
}

func (g *neon) store(r vreg, m mem) { g.access(true, 16, r, m) }

// loadNear reads a vector from any byte offset up to 255.
func (g *neon) loadNear(m mem) vreg {
	r := g.new()
	g.op(0x3cc00000|uint32(m.off)<<12|uint32(m.base)<<5, fmt.Sprintf("ldur q%%d, %s", m), r)
	return r
}

// loadAt reads a vector, or 4 bytes of one, from the sum of two general registers.
func (g *neon) loadAt(r vreg, size, base, index int) {
	word, letter := uint32(0x3ce06800), "q"
	if size == 4 {
		word, letter = 0xbc606800, "s"
	}
	g.op(word|uint32(index)<<16|uint32(base)<<5, fmt.Sprintf("ldr %s%%d, [x%d, x%d]", letter, base, index), r)
}

// loadTwo reads two vectors that follow each other.
func (g *neon) loadTwo(a, b vreg, m mem) {
	g.opAt(0xad400000|uint32(m.off/16)<<15|uint32(m.base)<<5, fmt.Sprintf("ldp q%%d, q%%d, %s", m), []int{0, 10}, a, b)
}

// lane reads or writes 4 bytes at a general register's address as lane i, or 8 as the lower two where wide is true.
func (g *neon) lane(store, wide bool, r vreg, i, base int) {
	word, part := uint32(0x0d408000)|uint32(i&1)<<12|uint32(i>>1)<<30, "s"
	if wide {
		word, part = 0x0d408400, "d"
	}
	name := "ld1"
	if store {
		name, word = "st1", word&^0x00400000
	}
	g.op(word|uint32(base)<<5, fmt.Sprintf("%s {v%%d.%s}[%d], [x%d]", name, part, i, base), r)
}

// broadcast fills a register with the 4 bytes at a general register's address.
func (g *neon) broadcast(r vreg, base int) {
	g.op(0x4d40c800|uint32(base)<<5, fmt.Sprintf("ld1r {v%%d.4s}, [x%d]", base), r)
}

// part reads or writes the n lowest lanes, 1 to 3, which a general register has. It changes R16.
func (g *neon) part(store bool, r vreg, n, base int) {
	one, done := g.label("one"), g.label("done")
	g.do("\tTBZ\t$1, R%d, %s", n, one)
	g.lane(store, true, r, 0, base)
	g.do("\tTBZ\t$0, R%d, %s", n, done)
	g.do("\tADD\t$8, R%d, R16", base)
	g.lane(store, false, r, 2, 16)
	g.do("\tB\t%s", done)
	g.mark(one)
	g.lane(store, false, r, 0, base)
	g.mark(done)
}

// partOf is part for a number of lanes that is known.
func (g *neon) partOf(store bool, r vreg, n, base int) {
	if n == 1 {
		g.lane(store, false, r, 0, base)
		return
	}
	g.lane(store, true, r, 0, base)
	if n == 3 {
		g.do("\tADD\t$8, R%d, R16", base)
		g.lane(store, false, r, 2, 16)
	}
}

// value reads a constant's vector from the table; valueBits one that is given by its bits.
func (g *neon) value(x float64) vreg { return g.valueBits(math.Float32bits(float32(x))) }

func (g *neon) valueBits(b uint32) vreg { return g.load(mem{17, g.constant(b)}) }

// clip limits x to what lo and hi have, which must not be lost. A NaN in x stays, one in a limit is no limit.
func (g *neon) clip(x, lo, hi vreg) {
	g.put(x, lo, g.greater(lo, x))
	g.put(x, hi, g.greater(x, hi))
}
