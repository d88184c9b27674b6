package main

import (
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integerTiles writes the tiles of a set for integers.
func integerTiles(g *gen, s set, k kind) {
	for vecs := 1; vecs <= 2; vecs++ {
		for rows := 1; rows <= s.rows; rows++ {
			t := tile{gen: g, set: s, kind: k, rows: rows, vecs: vecs}
			t.write()
		}
	}
}

// integers multiplies the 32 bits at m, which all lanes get, with the vectors of B.
func (t *tile) integers(m operand.Mem, u, chain, r int) {
	if t.kind == quads {
		t.VPBROADCASTD(m, t.splat(r))
		for v := range t.vecs {
			t.dot(t.bvec(u, v), t.splat(r), t.acc(chain, r, v))
		}
		return
	}
	a, product := t.regs[14], t.regs[15]
	t.VPBROADCASTD(m, a)
	for v := range t.vecs {
		t.VPMADDWD(t.bvec(u, v), a, product)
		t.VPADDD(product, t.acc(chain, r, v), t.acc(chain, r, v))
	}
}

// dot is VPDPBUSD, which avo does not know: the sum gets four products of a signed byte of s and an unsigned one of x in each lane.
func (t *tile) dot(s, x, sum reg.Register) {
	t.Instruction(&ir.Instruction{Opcode: "VPDPBUSD", Operands: []operand.Op{s, x, sum}, Inputs: []operand.Op{s, x, sum}, Outputs: []operand.Op{sum},
		ISA: []string{"AVX512_VNNI"}})
}

// finishIntegers stores the sums. C has room for whole vectors.
func (t *tile) finishIntegers() {
	args, c, ldc := t.ptr[0], t.steps, t.at
	t.Load(t.Param("t"), args)
	t.MOVQ(operand.Mem{Base: args, Disp: argLDC}, ldc)
	t.MOVQ(operand.Mem{Base: args, Disp: argC}, c)
	for r := range t.rows {
		for v := range t.vecs {
			m := operand.Mem{Base: c, Disp: v * t.bytes}
			if t.bytes == 64 {
				t.VMOVDQU32(t.acc(0, r, v), m)
			} else {
				t.VMOVDQU(t.acc(0, r, v), m)
			}
		}
		if r+1 < t.rows {
			t.ADDQ(ldc, c)
		}
	}
}
