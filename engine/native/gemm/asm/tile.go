package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// set is what the two instruction sets differ in.
type set struct {
	name  string
	bytes int            // of a vector
	rows  int            // of the largest tile
	regs  []reg.Register // all vector registers
}

var (
	avx512 = set{name: "AVX512", bytes: 64, rows: 12, regs: []reg.Register{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11,
		reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22,
		reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}}
	avx2 = set{name: "AVX2", bytes: 32, rows: 6, regs: []reg.Register{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11,
		reg.Y12, reg.Y13, reg.Y14, reg.Y15}}
)

// tiles writes every tile of a set: 1 to its rows, by one or two vectors.
func tiles(g *gen, s set) {
	if s.bytes == 32 {
		maskTable(g)
	}
	for vecs := 1; vecs <= 2; vecs++ {
		for rows := 1; rows <= s.rows; rows++ {
			t := tile{gen: g, set: s, rows: rows, vecs: vecs}
			t.write()
		}
	}
}

// maskTable is eight all-one lanes and eight zeros: a load at 32-4*n gives a
// mask of n lanes.
func maskTable(g *gen) {
	g.StaticGlobal("lanes")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 8 {
		g.AddDatum(4*i, operand.U32(0xffffffff))
	}
	for i := range 8 {
		g.AddDatum(32+4*i, operand.U32(0))
	}
}

// tile is one register tile: rows x vecs accumulators that stay in registers
// while the reduction runs. To hide the latency of the multiply-add there must
// be at least eight independent chains; small tiles get them from several
// accumulators for one sum.
type tile struct {
	*gen
	set
	kind       kind
	rows, vecs int
	chains     int // accumulators for one element, a power of two
	unroll     int
	mask       []reg.Register   // AVX-512: a mask for each vector; AVX2: one for the only vector
	ptr        []reg.GPPhysical // where each row of A begins
	steps, at  reg.GPPhysical
	b          reg.GPPhysical
}

// kind says what a tile multiplies: float32, or integers that are exact, of which one step has as many as 32 bits hold.
type kind uint8

const (
	floats kind = iota
	quads       // four uint8 times four int8, by VPDPBUSD
	pairs       // two int16 times two int16, by VPMADDWD
)

func (t *tile) acc(chain, r, v int) reg.Register {
	return t.regs[chain*t.rows*t.vecs+r*t.vecs+v]
}

func (t *tile) bvec(i, v int) reg.Register {
	if t.bytes == 64 {
		return t.regs[24+v+2*(i%2)]
	}
	return t.regs[12+v]
}

func (t *tile) splat(i int) reg.Register {
	if t.bytes == 64 {
		return t.regs[28+i%4]
	}
	return t.regs[14+i%2]
}

func (t *tile) write() {
	t.chains = 1
	for 2*t.chains*t.rows*t.vecs <= 12 && t.chains < 4 && t.chains*t.rows*t.vecs < 8 {
		t.chains *= 2
	}
	t.unroll = max(2, t.chains)
	gp := []reg.GPPhysical{reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10,
		reg.R11, reg.R12, reg.R13, reg.R14, reg.R15, reg.RBP}
	t.steps, t.at, t.b = gp[0], gp[1], gp[2]
	t.ptr = gp[3 : 3+t.rows]

	name := fmt.Sprintf("tile%s%sx%dx%d", [...]string{"", "Quads", "Pairs"}[t.kind], t.name, t.rows, t.vecs)
	t.function(name, "func(t *byte)", fmt.Sprintf("%s computes the tile t, a *tileArgs, of %d rows and %d vectors.", name, t.rows, t.vecs))
	local := t.AllocLocal(32)
	endMain, endAll, ldb := local.Offset(0), local.Offset(8), local.Offset(16)

	// The arguments. The register that holds their address is one of a row, the
	// last to be filled.
	args := t.ptr[0]
	t.Load(t.Param("t"), args)
	field := func(off int) operand.Mem { return operand.Mem{Base: args, Disp: off} }
	if t.kind == floats {
		t.masks(field(argCols))
	}
	t.MOVQ(field(argLDB), t.at)
	t.MOVQ(t.at, ldb)
	t.MOVQ(field(argSteps), t.steps)
	t.MOVQ(field(argDepth), t.at)
	t.LEAQ(operand.Mem{Base: t.steps, Index: t.at, Scale: 4}, t.b)
	t.MOVQ(t.b, endAll)
	t.ANDQ(operand.I32(-t.unroll), t.at)
	t.LEAQ(operand.Mem{Base: t.steps, Index: t.at, Scale: 4}, t.b)
	t.MOVQ(t.b, endMain)
	t.MOVQ(field(argB), t.b)
	t.MOVQ(field(argA), t.at)
	for r := t.rows - 1; r >= 0; r-- {
		if r > 0 {
			t.MOVQ(field(argRows+8*r), t.ptr[r])
			t.ADDQ(t.at, t.ptr[r])
		} else {
			t.MOVQ(field(argRows), args)
			t.ADDQ(t.at, args)
		}
	}
	for i := range t.chains * t.rows * t.vecs {
		t.zero(t.regs[i])
	}

	main, tail, tailLoop, done := t.label("main"), t.label("tail"), t.label("rest"), t.label("done")
	t.CMPQ(t.steps, endMain)
	t.JAE(operand.LabelRef(tail))
	t.Label(main)
	for u := range t.unroll {
		t.step(u, u%t.chains, ldb)
	}
	t.ADDQ(operand.I32(4*t.unroll), t.steps)
	t.CMPQ(t.steps, endMain)
	t.JB(operand.LabelRef(main))
	t.Label(tail)
	t.CMPQ(t.steps, endAll)
	t.JAE(operand.LabelRef(done))
	t.Label(tailLoop)
	t.step(0, 0, ldb)
	t.ADDQ(operand.I32(4), t.steps)
	t.CMPQ(t.steps, endAll)
	t.JB(operand.LabelRef(tailLoop))
	t.Label(done)
	for n := t.chains / 2; n > 0; n /= 2 {
		for c := range n {
			for r := range t.rows {
				for v := range t.vecs {
					if t.kind == floats {
						t.VADDPS(t.acc(c+n, r, v), t.acc(c, r, v), t.acc(c, r, v))
					} else {
						t.VPADDD(t.acc(c+n, r, v), t.acc(c, r, v), t.acc(c, r, v))
					}
				}
			}
		}
	}
	if t.kind == floats {
		t.finish()
	} else {
		t.finishIntegers()
	}
	t.VZEROUPPER()
	t.RET()
}

func (t *tile) zero(r reg.Register) {
	if t.bytes == 64 {
		t.VPXORD(r, r, r)
	} else {
		t.VXORPS(r, r, r)
	}
}

// masks makes the masks of the valid columns.
func (t *tile) masks(cols operand.Mem) {
	if t.bytes == 64 {
		t.mask = []reg.Register{reg.K1, reg.K2}[:t.vecs]
		t.MOVQ(cols, reg.RCX)
		t.MOVQ(operand.I32(1), t.at)
		t.SHLQ(reg.CL, t.at)
		t.DECQ(t.at)
		t.KMOVW(t.at.As32(), reg.K1)
		if t.vecs == 2 {
			t.SHRQ(operand.U8(16), t.at)
			t.KMOVW(t.at.As32(), reg.K2)
		}
		return
	}
	if t.vecs == 1 {
		t.mask = []reg.Register{reg.Y13}
		t.MOVQ(cols, t.at)
		t.NEGQ(t.at)
		t.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("lanes"), 32), t.steps)
		t.VMOVUPS(operand.Mem{Base: t.steps, Index: t.at, Scale: 4}, reg.Y13)
	}
}

// load reads vector v of a row at m.
func (t *tile) load(m operand.Mem, v int, to reg.Register) {
	m.Disp += v * t.bytes
	switch {
	case t.kind != floats: // always packed to whole vectors
		if t.bytes == 64 {
			t.VMOVDQU32(m, to)
		} else {
			t.VMOVDQU(m, to)
		}
	case t.bytes == 64:
		t.VMOVUPS_Z(m, t.mask[v], to)
	case t.vecs == 1:
		t.VMASKMOVPS(m, t.mask[0], to)
	default:
		t.VMOVUPS(m, to)
	}
}

// step is one step of the reduction.
func (t *tile) step(u, chain int, ldb operand.Mem) {
	t.MOVLQSX(operand.Mem{Base: t.steps, Disp: 4 * u}, t.at)
	for v := range t.vecs {
		t.load(operand.Mem{Base: t.b}, v, t.bvec(u, v))
	}
	t.ADDQ(ldb, t.b)
	for r := range t.rows {
		from := operand.Mem{Base: t.ptr[r], Index: t.at, Scale: 1}
		if t.kind != floats {
			t.integers(from, u, chain, r)
			continue
		}
		if t.bytes == 64 && t.vecs == 1 {
			t.VFMADD231PS_BCST(from, t.bvec(u, 0), t.acc(chain, r, 0))
			continue
		}
		t.VBROADCASTSS(from, t.splat(r))
		for v := range t.vecs {
			t.VFMADD231PS(t.bvec(u, v), t.splat(r), t.acc(chain, r, v))
		}
	}
}

// finish adds C and the biases, clips, and stores.
func (t *tile) finish() {
	args, c, ldc, p, flags := t.ptr[0], t.steps, t.at, t.b, reg.R15
	if t.rows == 12 {
		flags = reg.R14
	}
	t.Load(t.Param("t"), args)
	field := func(off int) operand.Mem { return operand.Mem{Base: args, Disp: off} }
	t.MOVQ(field(argLDC), ldc)
	t.MOVQ(field(argFlags), flags)

	t.MOVQ(field(argC), c)
	skip := t.label("nosum")
	t.TESTQ(operand.U32(flagAccumulate), flags)
	t.JZ(operand.LabelRef(skip))
	for r := range t.rows {
		for v := range t.vecs {
			m := operand.Mem{Base: c, Disp: v * t.bytes}
			if t.bytes == 64 {
				t.VADDPS(m, t.acc(0, r, v), t.mask[v], t.acc(0, r, v))
			} else {
				t.load(operand.Mem{Base: c}, v, t.splat(v))
				t.VADDPS(t.splat(v), t.acc(0, r, v), t.acc(0, r, v))
			}
		}
		if r+1 < t.rows {
			t.ADDQ(ldc, c)
		}
	}
	t.Label(skip)

	skip = t.label("nocol")
	t.MOVQ(field(argCol), p)
	t.TESTQ(p, p)
	t.JZ(operand.LabelRef(skip))
	for v := range t.vecs {
		t.load(operand.Mem{Base: p}, v, t.splat(v))
	}
	for r := range t.rows {
		for v := range t.vecs {
			t.VADDPS(t.splat(v), t.acc(0, r, v), t.acc(0, r, v))
		}
	}
	t.Label(skip)

	skip = t.label("norow")
	t.MOVQ(field(argRow), p)
	t.TESTQ(p, p)
	t.JZ(operand.LabelRef(skip))
	for r := range t.rows {
		t.VBROADCASTSS(operand.Mem{Base: p, Disp: 4 * r}, t.splat(r))
		for v := range t.vecs {
			t.VADDPS(t.splat(r), t.acc(0, r, v), t.acc(0, r, v))
		}
	}
	t.Label(skip)

	// The second operand is the result where one is NaN: the sum stays NaN.
	skip = t.label("noclip")
	t.TESTQ(operand.U32(flagClip), flags)
	t.JZ(operand.LabelRef(skip))
	t.VBROADCASTSS(field(argLo), t.splat(0))
	t.VBROADCASTSS(field(argHi), t.splat(1))
	for r := range t.rows {
		for v := range t.vecs {
			t.VMAXPS(t.acc(0, r, v), t.splat(0), t.acc(0, r, v))
			t.VMINPS(t.acc(0, r, v), t.splat(1), t.acc(0, r, v))
		}
	}
	t.Label(skip)

	t.MOVQ(field(argC), c)
	for r := range t.rows {
		for v := range t.vecs {
			m := operand.Mem{Base: c, Disp: v * t.bytes}
			switch {
			case t.bytes == 64:
				t.VMOVUPS(t.acc(0, r, v), t.mask[v], m)
			case t.vecs == 1:
				t.VMASKMOVPS(t.acc(0, r, v), t.mask[0], m)
			default:
				t.VMOVUPS(t.acc(0, r, v), m)
			}
		}
		if r+1 < t.rows {
			t.ADDQ(ldc, c)
		}
	}
}
