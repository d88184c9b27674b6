package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// byteFunctions writes what turns int32 sums and float32 numbers into bytes and back. Lengths are multiples of a vector's lanes.
func byteFunctions(g *gen, s set) {
	v := &vec{gen: g, set: s, consts: map[uint32]int{}}
	if s.bytes == 32 {
		// The lowest byte of each element goes to the front of each half.
		g.StaticGlobal("lowest")
		g.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 2 {
			g.AddDatum(16*i, operand.U32(0x0c080400))
			for j := 1; j < 4; j++ {
				g.AddDatum(16*i+4*j, operand.U32(0x80808080))
			}
		}
	}
	v.requantize()
	v.quantize()
	v.dequantize("dequantizeUnsigned", v.VPMOVZXBD)
	v.dequantize("dequantizeSigned", v.VPMOVSXBD)
	if s.bytes == 64 {
		transposeBytes(g)
	}
}

// each writes a loop over whole vectors: body moves the pointers.
func (v *vec) each(n reg.GPVirtual, body func()) {
	again, end := v.label("loop"), v.label("end")
	v.Label(again)
	v.SUBQ(operand.I32(v.bytes/4), n)
	v.JL(operand.LabelRef(end))
	body()
	v.JMP(operand.LabelRef(again))
	v.Label(end)
	v.end()
}

func (v *vec) broadcast(param string) value {
	r, m := v.new(), v.addr(param)
	v.VBROADCASTSS(m, r)
	return r
}

func (v *vec) addr(param string) operand.Mem {
	b, err := v.Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// toBytes limits x, rounds halves to even, adds the zero point, and stores the lowest bytes.
func (v *vec) toBytes(x, low, high, zero value, dst reg.GPVirtual) {
	x = v.min(v.max(x, low), high)
	n := v.new()
	v.VCVTPS2DQ(x, n)
	v.VPADDD(zero, n, n)
	if v.bytes == 64 {
		v.VPMOVDB(n, operand.Mem{Base: dst})
	} else {
		v.VPSHUFB(operand.NewDataAddr(operand.NewStaticSymbol("lowest"), 0), n, n)
		half := v.XMM()
		v.VEXTRACTI128(operand.U8(1), n, half)
		v.VPUNPCKLDQ(half, n.AsX(), half)
		v.VMOVQ(half, operand.Mem{Base: dst})
	}
	v.ADDQ(operand.I32(v.bytes/4), dst)
}

func (v *vec) requantize() {
	v.begin("requantize", "func(dst *byte, sums, add *int32, by *float32, rows, n int, low, high float32, zero int32)",
		"is zero + round(limit(float32(sums+add)*by)), for rows of n elements, at least one of each.")
	dst, sums, rows := v.pointer("dst"), v.pointer("sums"), v.pointer("rows")
	low, high, zero := v.broadcast("low"), v.broadcast("high"), v.broadcast("zero")
	row, again := v.label("row"), v.label("loop")
	v.Label(row)
	add, by, n := v.pointer("add"), v.pointer("by"), v.pointer("n")
	v.Label(again)
	x := v.new()
	v.VMOVUPS(operand.Mem{Base: sums}, x)
	v.VPADDD(operand.Mem{Base: add}, x, x)
	v.VCVTDQ2PS(x, x)
	v.VMULPS(operand.Mem{Base: by}, x, x)
	v.toBytes(x, low, high, zero, dst)
	for _, p := range []reg.GPVirtual{sums, add, by} {
		v.ADDQ(operand.I32(v.bytes), p)
	}
	v.SUBQ(operand.I32(v.bytes/4), n)
	v.JG(operand.LabelRef(again))
	v.DECQ(rows)
	v.JNZ(operand.LabelRef(row))
	v.end()
}

func (v *vec) quantize() {
	v.begin("quantize", "func(dst *byte, x *float32, n int, scale, low, high float32, zero int32)",
		"is zero + round(limit(x/scale)), and zero where that is NaN.")
	v.floats("scale", func(q, scale value) {
		v.VDIVPS(scale, q, q)
		if v.bytes == 64 {
			k := v.K()
			v.VCMPPS(operand.U8(7), q, q, k)
			v.VMOVAPS_Z(q, k, q)
		} else {
			m := v.new()
			v.VCMPPS(operand.U8(7), q, q, m)
			v.VANDPS(m, q, q)
		}
	})
	v.begin("quantizeBy", "func(dst *byte, x *float32, n int, by, low, high float32, zero int32)", "is zero + round(limit(x*by)).")
	v.floats("by", func(q, by value) { v.VMULPS(by, q, q) })
}

// floats makes bytes of what change makes of numbers.
func (v *vec) floats(number string, change func(q, number value)) {
	dst, x, n := v.pointer("dst"), v.pointer("x"), v.pointer("n")
	with, low, high, zero := v.broadcast(number), v.broadcast("low"), v.broadcast("high"), v.broadcast("zero")
	v.each(n, func() {
		q := v.new()
		v.VMOVUPS(operand.Mem{Base: x}, q)
		change(q, with)
		v.toBytes(q, low, high, zero, dst)
		v.ADDQ(operand.I32(v.bytes), x)
	})
}

func (v *vec) dequantize(name string, widen func(ops ...operand.Op)) {
	v.begin(name, "func(dst *float32, x *byte, n int, zero int32, scale float32)", "is float32(x-zero)*scale.")
	dst, x, n := v.pointer("dst"), v.pointer("x"), v.pointer("n")
	zero, scale := v.broadcast("zero"), v.broadcast("scale")
	v.each(n, func() {
		d := v.new()
		widen(operand.Mem{Base: x}, d)
		v.VPSUBD(zero, d, d)
		v.VCVTDQ2PS(d, d)
		v.VMULPS(scale, d, d)
		v.VMOVUPS(d, operand.Mem{Base: dst})
		v.ADDQ(operand.I32(v.bytes/4), x)
		v.ADDQ(operand.I32(v.bytes), dst)
	})
}

// transposeBytes writes the transposition of one block of at most 16 x 16 bytes.
func transposeBytes(g *gen) {
	g.function("transposeBytesAVX512", "func(dst *byte, ldd int, src *byte, lds, rows, cols int, flip uint64)",
		"transposeBytesAVX512 transposes rows x cols, each 1 to 16, and flips the bits that flip says in each byte of eight.")
	dst, ldd, src, lds, tmp, full := reg.RAX, reg.RBX, reg.RSI, reg.RDX, reg.RDI, reg.R8
	var x []reg.Register
	for _, z := range avx512.regs {
		x = append(x, z.(reg.VecPhysical).AsX())
	}
	g.Load(g.Param("dst"), dst)
	g.Load(g.Param("ldd"), ldd)
	g.Load(g.Param("src"), src)
	g.Load(g.Param("lds"), lds)
	g.lanesOf("cols", full, reg.K1)
	g.lanesOf("rows", full, reg.K2)
	// What rows that are not there become is not stored.
	g.Load(g.Param("rows"), tmp)
	loaded := g.label("loaded")
	for r := range 16 {
		g.VMOVDQU8_Z(operand.Mem{Base: src}, reg.K1, x[r])
		if r < 15 {
			g.CMPQ(tmp, operand.U8(r+1))
			g.JE(operand.LabelRef(loaded))
			g.ADDQ(lds, src)
		}
	}
	g.Label(loaded)
	// Each round of mixing row r with row r+8 turns the eight bits of row and column by one; four exchange them.
	from, to := x[:16], x[16:]
	for range 4 {
		for r := range 8 {
			g.VPUNPCKLBW(from[r+8], from[r], to[2*r])
			g.VPUNPCKHBW(from[r+8], from[r], to[2*r+1])
		}
		from, to = to, from
	}
	g.Load(g.Param("flip"), full)
	g.VPBROADCASTQ(full, to[0])
	g.Load(g.Param("cols"), tmp)
	done := g.label("done")
	for c := range 16 {
		g.VPXORD(to[0], from[c], from[c])
		g.VMOVDQU8(from[c], reg.K2, operand.Mem{Base: dst})
		if c < 15 {
			g.CMPQ(tmp, operand.U8(c+1))
			g.JE(operand.LabelRef(done))
			g.ADDQ(ldd, dst)
		}
	}
	g.Label(done)
	g.VZEROUPPER()
	g.RET()
}
