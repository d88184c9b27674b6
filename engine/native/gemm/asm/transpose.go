package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func transpose(g *gen) {
	maskTable(g)
	transpose16(g)
	transpose8(g)
}

// lanesOf makes the AVX-512 mask of as many lanes as a parameter says, by way of tmp and RCX.
func (g *gen) lanesOf(param string, tmp reg.GPPhysical, to reg.Register) {
	g.Load(g.Param(param), reg.RCX)
	g.MOVQ(operand.I32(1), tmp)
	g.SHLQ(reg.CL, tmp)
	g.DECQ(tmp)
	g.KMOVW(tmp.As32(), to)
}

// transpose16 writes the transposition of one block of at most 16 x 16.
func transpose16(g *gen) {
	g.function("transposeBlockAVX512", "func(dst *float32, ldd int, src *float32, lds, rows, cols int)",
		"transposeBlockAVX512 transposes rows x cols, each 1 to 16; the strides are in bytes.")
	dst, ldd, src, lds, tmp, full := reg.RAX, reg.RBX, reg.RSI, reg.RDX, reg.RDI, reg.R8
	z := avx512.regs
	g.Load(g.Param("dst"), dst)
	g.Load(g.Param("ldd"), ldd)
	g.Load(g.Param("src"), src)
	g.Load(g.Param("lds"), lds)
	g.lanesOf("cols", full, reg.K1)
	g.lanesOf("rows", full, reg.K2)
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

// transpose8 does the same for at most 8 x 8.
func transpose8(g *gen) {
	g.function("transposeBlockAVX2", "func(dst *float32, ldd int, src *float32, lds, rows, cols int)",
		"transposeBlockAVX2 transposes rows x cols, each 1 to 8; the strides are in bytes.")
	dst, ldd, src, lds, count, table := reg.RAX, reg.RBX, reg.RSI, reg.RDX, reg.RDI, reg.R8
	y := avx2.regs
	g.Load(g.Param("dst"), dst)
	g.Load(g.Param("ldd"), ldd)
	g.Load(g.Param("src"), src)
	g.Load(g.Param("lds"), lds)
	g.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("lanes"), 32), table)
	mask := func(param string, to reg.Register) {
		g.Load(g.Param(param), count)
		g.NEGQ(count)
		g.VMOVUPS(operand.Mem{Base: table, Index: count, Scale: 4}, to)
	}
	mask("cols", y[15])
	g.Load(g.Param("rows"), count)
	loaded := g.label("loaded")
	for r := range 8 {
		g.VMASKMOVPS(operand.Mem{Base: src}, y[15], y[r])
		if r < 7 {
			g.CMPQ(count, operand.U8(r+1))
			g.JE(operand.LabelRef(loaded))
			g.ADDQ(lds, src)
		}
	}
	g.Label(loaded)
	for r := 0; r < 8; r += 2 {
		g.VUNPCKLPS(y[r+1], y[r], y[8+r])
		g.VUNPCKHPS(y[r+1], y[r], y[9+r])
	}
	for r := 0; r < 8; r += 4 {
		g.VUNPCKLPD(y[8+r+2], y[8+r], y[r])
		g.VUNPCKHPD(y[8+r+2], y[8+r], y[r+1])
		g.VUNPCKLPD(y[8+r+3], y[8+r+1], y[r+2])
		g.VUNPCKHPD(y[8+r+3], y[8+r+1], y[r+3])
	}
	for c := range 4 {
		g.VPERM2F128(operand.U8(0x20), y[4+c], y[c], y[8+c])
		g.VPERM2F128(operand.U8(0x31), y[4+c], y[c], y[12+c])
	}
	// Masked stores are slow on some processors: whole vectors go without.
	part, stored := g.label("part"), g.label("stored")
	store := func(put func(r int)) {
		g.Load(g.Param("cols"), count)
		for r := range 8 {
			put(8 + r)
			if r < 7 {
				g.CMPQ(count, operand.U8(r+1))
				g.JE(operand.LabelRef(stored))
				g.ADDQ(ldd, dst)
			}
		}
	}
	g.Load(g.Param("rows"), count)
	g.CMPQ(count, operand.U8(8))
	g.JNE(operand.LabelRef(part))
	store(func(r int) { g.VMOVUPS(y[r], operand.Mem{Base: dst}) })
	g.JMP(operand.LabelRef(stored))
	g.Label(part)
	mask("rows", y[0])
	store(func(r int) { g.VMASKMOVPS(y[r], y[0], operand.Mem{Base: dst}) })
	g.Label(stored)
	g.VZEROUPPER()
	g.RET()
}
