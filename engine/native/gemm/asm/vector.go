package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vec writes element-wise functions for one vector width. Its methods take and
// give vector registers that avo allocates.
type vec struct {
	*gen
	set
	consts map[uint32]int // constant's bits to its place in the table
	order  []uint32
	tail   reg.Register // the mask of the last, partial vector
}

// value is a vector register.
type value = reg.VecVirtual

func vectors(g *gen, s set) {
	v := &vec{gen: g, set: s, consts: map[uint32]int{}}
	if s.bytes == 32 {
		maskTable(g)
	}
	v.binaries()
	v.unaries()
	v.scalars()
	v.reductions()
	// The constants, each as a whole vector.
	g.StaticGlobal("constants")
	g.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, bits := range v.order {
		for l := range s.bytes / 4 {
			g.AddDatum(i*s.bytes+4*l, operand.U32(bits))
		}
	}
}

func (v *vec) new() value {
	if v.bytes == 64 {
		return v.ZMM()
	}
	return v.YMM()
}

// mem is the address of a constant, filled to a vector.
func (v *vec) mem(bits uint32) operand.Mem {
	i, ok := v.consts[bits]
	if !ok {
		i = len(v.order)
		v.consts[bits] = i
		v.order = append(v.order, bits)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol("constants"), i*v.bytes)
}

func (v *vec) f(x float64) operand.Mem { return v.mem(math.Float32bits(float32(x))) }

func (v *vec) constant(x float64) value {
	r := v.new()
	v.VMOVUPS(v.f(x), r)
	return r
}

// op2 is r = instruction(a, b), in the order of Intel's manuals.
func (v *vec) op2(f func(ops ...operand.Op), a value, b operand.Op) value {
	r := v.new()
	f(b, a, r)
	return r
}

func (v *vec) add(a value, b operand.Op) value { return v.op2(v.VADDPS, a, b) }
func (v *vec) sub(a value, b operand.Op) value { return v.op2(v.VSUBPS, a, b) }
func (v *vec) mul(a value, b operand.Op) value { return v.op2(v.VMULPS, a, b) }
func (v *vec) div(a value, b operand.Op) value { return v.op2(v.VDIVPS, a, b) }
func (v *vec) and(a value, b operand.Op) value { return v.op2(v.VANDPS, a, b) }
func (v *vec) or(a value, b operand.Op) value  { return v.op2(v.VORPS, a, b) }
func (v *vec) xor(a value, b operand.Op) value { return v.op2(v.VXORPS, a, b) }

// max and min give b where one of both is NaN.
func (v *vec) max(a value, b operand.Op) value { return v.op2(v.VMAXPS, a, b) }
func (v *vec) min(a value, b operand.Op) value { return v.op2(v.VMINPS, a, b) }

// fma is a*b+c.
func (v *vec) fma(a, b value, c operand.Op) value {
	r := v.new()
	v.VMOVAPS(a, r)
	v.VFMADD213PS(c, b, r)
	return r
}

// poly evaluates a polynomial, highest coefficient first.
func (v *vec) poly(x value, c ...float64) value {
	r := v.constant(c[0])
	for _, k := range c[1:] {
		v.VFMADD213PS(v.f(k), x, r)
	}
	return r
}

const (
	less      = 0x11 // LT, quiet
	lessEqual = 0x12
	unordered = 0x03
	greater   = 0x1e
)

// choose is yes where the comparison of a with b holds, else no.
func (v *vec) choose(predicate uint8, a value, b operand.Op, yes, no value) value {
	r := v.new()
	if v.bytes == 64 {
		k := v.K()
		v.VCMPPS(operand.U8(predicate), b, a, k)
		v.VBLENDMPS(yes, no, k, r)
		return r
	}
	m := v.new()
	v.VCMPPS(operand.U8(predicate), b, a, m)
	v.VBLENDVPS(m, yes, no, r)
	return r
}

// round is to the nearest whole number.
func (v *vec) round(a value) value {
	r := v.new()
	if v.bytes == 64 {
		v.VRNDSCALEPS(operand.U8(8), a, r)
	} else {
		v.VROUNDPS(operand.U8(8), a, r)
	}
	return r
}

// load and store move a vector, or, where part is true, its valid lanes.
func (v *vec) load(m operand.Mem, part bool) value {
	r := v.new()
	switch {
	case !part:
		v.VMOVUPS(m, r)
	case v.bytes == 64:
		v.VMOVUPS_Z(m, v.tail, r)
	default:
		v.VMASKMOVPS(m, v.tail, r)
	}
	return r
}

func (v *vec) store(x value, m operand.Mem, part bool) {
	switch {
	case !part:
		v.VMOVUPS(x, m)
	case v.bytes == 64:
		v.VMOVUPS(x, v.tail, m)
	default:
		v.VMASKMOVPS(x, v.tail, m)
	}
}

// makeTail sets the mask to the n lowest lanes.
func (v *vec) makeTail(n reg.GPVirtual) {
	if v.bytes == 64 {
		v.tail = v.K()
		one := v.GP64()
		v.MOVQ(n, reg.RCX)
		v.MOVQ(operand.I32(1), one)
		v.SHLQ(reg.CL, one)
		v.DECQ(one)
		v.KMOVW(one.As32(), v.tail)
		return
	}
	v.tail = v.YMM()
	at, p := v.GP64(), v.GP64()
	v.MOVQ(n, at)
	v.NEGQ(at)
	v.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("lanes"), 32), p)
	v.VMOVUPS(operand.Mem{Base: p, Index: at, Scale: 4}, v.tail)
}

// loop writes a loop over n elements: unroll vectors at a time, then single
// ones, then the rest. body does the vectors at byte offsets 0.. of the
// pointers; part says that the tail's mask holds.
func (v *vec) loop(n reg.GPVirtual, pointers []reg.GPVirtual, unroll int, body func(vectors int, part bool)) {
	lanes := v.bytes / 4
	rest, end := v.label("rest"), v.label("end")
	for _, u := range []int{unroll, 1} {
		again, next := v.label("loop"), v.label("next")
		v.Label(again)
		v.CMPQ(n, operand.I32(u*lanes))
		v.JL(operand.LabelRef(next))
		body(u, false)
		for _, p := range pointers {
			v.ADDQ(operand.I32(u*v.bytes), p)
		}
		v.SUBQ(operand.I32(u*lanes), n)
		v.JMP(operand.LabelRef(again))
		v.Label(next)
		if unroll == 1 {
			break
		}
	}
	v.Label(rest)
	v.TESTQ(n, n)
	v.JZ(operand.LabelRef(end))
	v.makeTail(n)
	body(1, true)
	v.Label(end)
}

func (v *vec) at(p reg.GPVirtual, i int) operand.Mem { return operand.Mem{Base: p, Disp: i * v.bytes} }

func (v *vec) pointer(name string) reg.GPVirtual {
	return v.Load(v.Param(name), v.GP64()).(reg.GPVirtual)
}

func (v *vec) end() {
	v.VZEROUPPER()
	v.RET()
}

func (v *vec) begin(name, signature, doc string) {
	v.function(name+v.name, signature, name+v.name+" "+strings.TrimSpace(doc))
}

// binaries are dst = f(x, y).
func (v *vec) binaries() {
	for _, b := range []struct {
		name, doc string
		f         func(x, y value) value
	}{
		{"add", "sets dst = x + y.", func(x, y value) value { return v.add(x, y) }},
		{"sub", "sets dst = x - y.", func(x, y value) value { return v.sub(x, y) }},
		{"mul", "sets dst = x * y.", func(x, y value) value { return v.mul(x, y) }},
		{"div", "sets dst = x / y.", func(x, y value) value { return v.div(x, y) }},
		{"max", "sets dst to the larger of x and y, or NaN.", func(x, y value) value {
			return v.choose(unordered, x, x, x, v.max(x, y))
		}},
		{"min", "sets dst to the smaller of x and y, or NaN.", func(x, y value) value {
			return v.choose(unordered, x, x, x, v.min(x, y))
		}},
		{"reluGrad", "sets dst to x where y > 0, else to 0.", func(x, y value) value {
			zero := v.xor(y, y)
			return v.choose(greater, y, zero, x, zero)
		}},
	} {
		v.begin(b.name, "func(dst, x, y *float32, n int)", b.doc)
		dst, x, y, n := v.pointer("dst"), v.pointer("x"), v.pointer("y"), v.pointer("n")
		v.loop(n, []reg.GPVirtual{dst, x, y}, 2, func(vectors int, part bool) {
			for i := range vectors {
				v.store(b.f(v.load(v.at(x, i), part), v.load(v.at(y, i), part)), v.at(dst, i), part)
			}
		})
		v.end()
	}
}

// unaries are dst = f(x).
func (v *vec) unaries() {
	for _, u := range []struct {
		name, doc string
		unroll    int
		f         func(x value) value
	}{
		{"sqrt", "sets dst to the square root of x.", 2, func(x value) value {
			r := v.new()
			v.VSQRTPS(x, r)
			return r
		}},
		{"exp", "sets dst to e to the power of x.", 2, v.exp},
		{"log", "sets dst to the natural logarithm of x.", 2, v.log},
		{"tanh", "sets dst to the hyperbolic tangent of x.", 2, v.tanh},
		{"sigmoid", "sets dst = 1/(1+exp(-x)).", 2, v.sigmoid},
		{"erf", "sets dst to the error function of x.", 1, v.erf},
	} {
		v.begin(u.name, "func(dst, x *float32, n int)", u.doc)
		dst, x, n := v.pointer("dst"), v.pointer("x"), v.pointer("n")
		v.loop(n, []reg.GPVirtual{dst, x}, u.unroll, func(vectors int, part bool) {
			for i := range vectors {
				v.store(u.f(v.load(v.at(x, i), part)), v.at(dst, i), part)
			}
		})
		v.end()
	}
}

// scalars are dst = f(x, numbers), or dst += f(x, numbers).
func (v *vec) scalars() {
	for _, s := range []struct {
		name, doc string
		numbers   []string
		adds      bool
		f         func(x, dst value, a []value) value
	}{
		{"affine", "sets dst = x*a + b.", []string{"a", "b"}, false, func(x, _ value, a []value) value { return v.fma(x, a[0], a[1]) }},
		{"scale", "sets dst = x*a.", []string{"a"}, false, func(x, _ value, a []value) value { return v.mul(x, a[0]) }},
		{"shift", "sets dst = x + a.", []string{"a"}, false, func(x, _ value, a []value) value { return v.add(x, a[0]) }},
		{"clip", "sets dst = min(max(x, a), b), or NaN.", []string{"a", "b"}, false, func(x, _ value, a []value) value {
			return v.min(a[1], v.max(a[0], x))
		}},
		{"axpy", "sets dst += x*a.", []string{"a"}, true, func(x, dst value, a []value) value { return v.fma(x, a[0], dst) }},
	} {
		v.begin(s.name, fmt.Sprintf("func(dst, x *float32, n int, %s float32)", strings.Join(s.numbers, ", ")), s.doc)
		dst, x, n := v.pointer("dst"), v.pointer("x"), v.pointer("n")
		var numbers []value
		for _, name := range s.numbers {
			r := v.new()
			m, err := v.Param(name).Resolve()
			if err != nil {
				panic(err)
			}
			v.VBROADCASTSS(m.Addr, r)
			numbers = append(numbers, r)
		}
		v.loop(n, []reg.GPVirtual{dst, x}, 2, func(vectors int, part bool) {
			for i := range vectors {
				var old value
				if s.adds {
					old = v.load(v.at(dst, i), part)
				}
				v.store(s.f(v.load(v.at(x, i), part), old, numbers), v.at(dst, i), part)
			}
		})
		v.end()
	}
}
