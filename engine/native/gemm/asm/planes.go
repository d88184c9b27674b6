package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The byte offsets of gemm's copyArgs.
const (
	copyDst      = 0
	copySrc      = 8
	copyPlanes   = 16
	copyRows     = 24
	copyCols     = 32
	copyDstRow   = 40
	copySrcRow   = 48
	copyDstPlane = 56
	copySrcPlane = 64
)

// planes writes the copying of the rows of many planes from one layout to another.
func planes(g *gen, s set) {
	v := &vec{gen: g, set: s, consts: map[uint32]int{}}
	if s.bytes == 32 {
		maskTable(g)
	}
	v.begin("copyPlanes", "func(t *byte)", "does t, a *copyArgs, of at least one plane, row and column.")
	args := v.pointer("t")
	field := func(off int) operand.Mem { return operand.Mem{Base: args, Disp: off} }
	get := func(off int) reg.GPVirtual {
		r := v.GP64()
		v.MOVQ(field(off), r)
		return r
	}
	lanes := v.bytes / 4
	dstPlane, srcPlane, count := get(copyDst), get(copySrc), get(copyPlanes)
	// The last, partial vector of each row has this mask.
	rest := get(copyCols)
	v.ANDQ(operand.I32(lanes-1), rest)
	v.makeTail(rest)
	whole := get(copyCols)
	v.ANDQ(operand.I32(-lanes), whole)
	v.SHLQ(operand.U8(2), whole) // bytes
	nextPlane, nextRow := v.label("plane"), v.label("row")
	v.Label(nextPlane)
	dst, src, rows := v.GP64(), v.GP64(), get(copyRows)
	v.MOVQ(dstPlane, dst)
	v.MOVQ(srcPlane, src)
	v.Label(nextRow)
	again, tail, done := v.label("vector"), v.label("tail"), v.label("done")
	at := v.GP64()
	v.XORQ(at, at)
	v.Label(again)
	v.CMPQ(at, whole)
	v.JGE(operand.LabelRef(tail))
	v.store(v.load(operand.Mem{Base: src, Index: at, Scale: 1}, false), operand.Mem{Base: dst, Index: at, Scale: 1}, false)
	v.ADDQ(operand.I32(v.bytes), at)
	v.JMP(operand.LabelRef(again))
	v.Label(tail)
	v.TESTQ(rest, rest)
	v.JZ(operand.LabelRef(done))
	if v.bytes == 32 {
		// Masked stores are slow on some processors: a row that fills a vector
		// writes its last one once more.
		masked := v.label("masked")
		v.TESTQ(at, at)
		v.JZ(operand.LabelRef(masked))
		back := v.GP64()
		v.LEAQ(operand.Mem{Base: at, Index: rest, Scale: 4, Disp: -v.bytes}, back)
		v.store(v.load(operand.Mem{Base: src, Index: back, Scale: 1}, false), operand.Mem{Base: dst, Index: back, Scale: 1}, false)
		v.JMP(operand.LabelRef(done))
		v.Label(masked)
	}
	v.store(v.load(operand.Mem{Base: src, Index: at, Scale: 1}, true), operand.Mem{Base: dst, Index: at, Scale: 1}, true)
	v.Label(done)
	v.ADDQ(field(copyDstRow), dst)
	v.ADDQ(field(copySrcRow), src)
	v.DECQ(rows)
	v.JNZ(operand.LabelRef(nextRow))
	v.ADDQ(field(copyDstPlane), dstPlane)
	v.ADDQ(field(copySrcPlane), srcPlane)
	v.DECQ(count)
	v.JNZ(operand.LabelRef(nextPlane))
	v.end()
}
