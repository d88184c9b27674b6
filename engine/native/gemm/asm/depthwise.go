package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The byte offsets of gemm's planeArgs.
const (
	planeSrc       = 0
	planeSteps     = 8
	planeWeights   = 16
	planeTaps      = 24
	planeDst       = 32
	planeRows      = 40
	planeCols      = 48
	planeSrcStride = 56
	planeDstStride = 64
	planeBias      = 72
	planeLow       = 76
	planeHigh      = 80
	planeFlags     = 88
)

// depthwise writes the convolution of one plane by one kernel, four vectors of
// a row at a time.
func depthwise(g *gen, s set) {
	v := &vec{gen: g, set: s, consts: map[uint32]int{}}
	if s.bytes == 32 {
		maskTable(g)
	}
	v.begin("plane", "func(t *byte)", "computes t, a *planeArgs.")
	args := v.pointer("t")
	field := func(off int) operand.Mem { return operand.Mem{Base: args, Disp: off} }
	get := func(off int) reg.GPVirtual {
		r := v.GP64()
		v.MOVQ(field(off), r)
		return r
	}
	rows, done, next := get(planeRows), v.label("done"), v.label("row")
	src, dst := get(planeSrc), get(planeDst)
	bias := v.new()
	v.VBROADCASTSS(field(planeBias), bias)
	v.Label(next)
	v.TESTQ(rows, rows)
	v.JZ(operand.LabelRef(done))
	x, y, n := v.GP64(), v.GP64(), get(planeCols)
	v.MOVQ(src, x)
	v.MOVQ(dst, y)
	v.loop(n, []reg.GPVirtual{x, y}, 4, func(vectors int, part bool) {
		var acc []value
		for range vectors {
			a := v.new()
			v.VMOVAPS(bias, a)
			acc = append(acc, a)
		}
		steps, weights, taps := get(planeSteps), get(planeWeights), get(planeTaps)
		tap, at := v.label("tap"), v.GP64()
		v.Label(tap)
		v.MOVLQSX(operand.Mem{Base: steps}, at)
		w := v.new()
		v.VBROADCASTSS(operand.Mem{Base: weights}, w)
		for i := range vectors {
			m := operand.Mem{Base: x, Index: at, Scale: 1, Disp: i * v.bytes}
			if part {
				v.VFMADD231PS(v.load(m, true), w, acc[i])
			} else {
				v.VFMADD231PS(m, w, acc[i])
			}
		}
		v.ADDQ(operand.I32(4), steps)
		v.ADDQ(operand.I32(4), weights)
		v.DECQ(taps)
		v.JNZ(operand.LabelRef(tap))

		flags := get(planeFlags)
		skip := v.label("nosum")
		v.TESTQ(operand.U32(flagAccumulate), flags)
		v.JZ(operand.LabelRef(skip))
		for i := range vectors {
			v.VADDPS(v.load(v.at(y, i), part), acc[i], acc[i])
		}
		v.Label(skip)
		skip = v.label("noclip")
		v.TESTQ(operand.U32(flagClip), flags)
		v.JZ(operand.LabelRef(skip))
		lo, hi := v.new(), v.new()
		v.VBROADCASTSS(field(planeLow), lo)
		v.VBROADCASTSS(field(planeHigh), hi)
		for i := range vectors {
			v.VMAXPS(acc[i], lo, acc[i])
			v.VMINPS(acc[i], hi, acc[i])
		}
		v.Label(skip)
		for i := range vectors {
			v.store(acc[i], v.at(y, i), part)
		}
	})
	v.ADDQ(field(planeSrcStride), src)
	v.ADDQ(field(planeDstStride), dst)
	v.DECQ(rows)
	v.JMP(operand.LabelRef(next))
	v.Label(done)
	v.end()
}
