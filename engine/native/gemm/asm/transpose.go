package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose writes the transposition of one block of at most 16 x 16.
func transpose(g *gen) {
	g.function("transposeBlockAVX512", "func(dst *float32, ldd int, src *float32, lds, rows, cols int)",
		"transposeBlockAVX512 transposes rows x cols, each 1 to 16; the strides are in bytes.")
	dst, ldd, src, lds, tmp, full := reg.RAX, reg.RBX, reg.RSI, reg.RDX, reg.RDI, reg.R8
	z := avx512.regs
	g.Load(g.Param("dst"), dst)
	g.Load(g.Param("ldd"), ldd)
	g.Load(g.Param("src"), src)
	g.Load(g.Param("lds"), lds)
	mask := func(param string, to reg.Register) {
		g.Load(g.Param(param), reg.RCX)
		g.MOVQ(operand.I32(1), full)
		g.SHLQ(reg.CL, full)
		g.DECQ(full)
		g.KMOVW(full.As32(), to)
	}
	mask("cols", reg.K1)
	mask("rows", reg.K2)
	// Rows that are not there are left as they are: what becomes of them is not
	// stored.
	g.Load(g.Param("rows"), tmp)
	loaded := g.label("loaded")
	for r := range 16 {
		g.VMOVUPS_Z(operand.Mem{Base: src}, reg.K1, z[r])
		if r < 15 {
			g.CMPQ(tmp, operand.U8(r+1))
			g.JE(operand.LabelRef(loaded))
			g.ADDQ(lds, src)
		}
	}
	g.Label(loaded)
	// Four rounds of exchanging halves: single elements, pairs, then quarters.
	for r := 0; r < 16; r += 2 {
		g.VUNPCKLPS(z[r+1], z[r], z[16+r])
		g.VUNPCKHPS(z[r+1], z[r], z[17+r])
	}
	for r := 0; r < 16; r += 4 {
		g.VUNPCKLPD(z[16+r+2], z[16+r], z[r])
		g.VUNPCKHPD(z[16+r+2], z[16+r], z[r+1])
		g.VUNPCKLPD(z[16+r+3], z[16+r+1], z[r+2])
		g.VUNPCKHPD(z[16+r+3], z[16+r+1], z[r+3])
	}
	// z[4i+j] holds, in quarter q, column 4q+j of rows 4i..4i+3.
	for j := range 4 {
		g.VSHUFF32X4(operand.U8(0x88), z[4+j], z[j], z[16+j])    // quarters 0, 2 of rows 0-7
		g.VSHUFF32X4(operand.U8(0xdd), z[4+j], z[j], z[20+j])    // quarters 1, 3
		g.VSHUFF32X4(operand.U8(0x88), z[12+j], z[8+j], z[24+j]) // rows 8-15
		g.VSHUFF32X4(operand.U8(0xdd), z[12+j], z[8+j], z[28+j])
	}
	for j := range 4 {
		g.VSHUFF32X4(operand.U8(0x88), z[24+j], z[16+j], z[j])
		g.VSHUFF32X4(operand.U8(0x88), z[28+j], z[20+j], z[4+j])
		g.VSHUFF32X4(operand.U8(0xdd), z[24+j], z[16+j], z[8+j])
		g.VSHUFF32X4(operand.U8(0xdd), z[28+j], z[20+j], z[12+j])
	}
	g.Load(g.Param("cols"), tmp)
	stored := g.label("stored")
	for r := range 16 {
		g.VMOVUPS(z[r], reg.K2, operand.Mem{Base: dst})
		if r < 15 {
			g.CMPQ(tmp, operand.U8(r+1))
			g.JE(operand.LabelRef(stored))
			g.ADDQ(ldd, dst)
		}
	}
	g.Label(stored)
	g.VZEROUPPER()
	g.RET()
}
