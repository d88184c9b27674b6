package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// windows writes the maxima of windows and where they are, for strides 1 and 2.
func windows(g *gen, s set) {
	v := &vec{gen: g, set: s, consts: map[uint32]int{}}
	lanes := s.bytes / 4
	for stride := 1; stride <= 2; stride++ {
		g.StaticGlobal(fmt.Sprintf("lane%d", stride))
		g.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range lanes {
			g.AddDatum(4*i, operand.U32(stride*i))
		}
	}
	// Every second lane of two vectors; in evenOdd the second one begins one
	// element early.
	for _, t := range []struct {
		name string
		odd  int
	}{{"even", 0}, {"evenOdd", 1}} {
		g.StaticGlobal(t.name)
		g.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range lanes {
			at := 2 * i
			if at >= lanes {
				at += t.odd
			}
			g.AddDatum(4*i, operand.U32(at))
		}
	}
	for stride := 1; stride <= 2; stride++ {
		window{v, stride}.write()
	}
}

type window struct {
	*vec
	stride int
}

func (w window) write() {
	w.begin(fmt.Sprintf("windows%d", w.stride),
		"func(dst *float32, index *int64, src *float32, steps *int32, taps, cols, rows, rowStep int, base int64)",
		fmt.Sprintf("sets dst to the largest of src at steps, for rows x cols windows, %d elements apart in a row, "+
			"and index to where that is; index may be nil.", w.stride))
	dst, index, row, rows := w.pointer("dst"), w.pointer("index"), w.pointer("src"), w.pointer("rows")
	lanes := w.bytes / 4
	lane := w.new()
	w.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(fmt.Sprintf("lane%d", w.stride)), 0), lane)
	rest := w.pointer("cols")
	w.ANDQ(operand.I32(lanes-1), rest)
	var part []reg.Register
	if w.bytes == 64 {
		part = w.partMasks(rest)
	}
	nextRow, again, tail, done := w.label("row"), w.label("again"), w.label("tail"), w.label("done")
	w.Label(nextRow)
	src, n, base := w.GP64(), w.pointer("cols"), w.pointer("base")
	w.MOVQ(row, src)
	w.Label(again)
	w.CMPQ(n, operand.I32(lanes))
	w.JL(operand.LabelRef(tail))
	w.block(dst, index, src, base, lane, nil)
	w.ADDQ(operand.I32(w.bytes), dst)
	w.ADDQ(operand.I32(w.stride*w.bytes), src)
	w.ADDQ(operand.I32(w.stride*lanes), base)
	w.SUBQ(operand.I32(lanes), n)
	w.skipIndex(index, func() { w.ADDQ(operand.I32(2*w.bytes), index) })
	w.JMP(operand.LabelRef(again))
	w.Label(tail)
	w.TESTQ(n, n)
	w.JZ(operand.LabelRef(done))
	if w.bytes == 64 {
		w.block(dst, index, src, base, lane, part)
		w.LEAQ(operand.Mem{Base: dst, Index: rest, Scale: 4}, dst)
		w.skipIndex(index, func() { w.LEAQ(operand.Mem{Base: index, Index: rest, Scale: 8}, index) })
	} else {
		// A whole vector that ends with the row; there are at least as many columns.
		back := w.GP64()
		w.MOVQ(n, back)
		w.SUBQ(operand.I32(lanes), back) // negative
		for range w.stride {
			w.LEAQ(operand.Mem{Base: src, Index: back, Scale: 4}, src)
			w.ADDQ(back, base)
		}
		w.LEAQ(operand.Mem{Base: dst, Index: back, Scale: 4}, dst)
		w.skipIndex(index, func() { w.LEAQ(operand.Mem{Base: index, Index: back, Scale: 8}, index) })
		w.block(dst, index, src, base, lane, nil)
		w.ADDQ(operand.I32(w.bytes), dst)
		w.skipIndex(index, func() { w.ADDQ(operand.I32(2*w.bytes), index) })
	}
	w.Label(done)
	step, first := w.pointer("rowStep"), w.GP64()
	w.LEAQ(operand.Mem{Base: row, Index: step, Scale: 4}, row)
	m, err := w.Param("base").Resolve()
	if err != nil {
		panic(err)
	}
	w.MOVQ(m.Addr, first)
	w.ADDQ(step, first)
	w.MOVQ(first, m.Addr)
	w.DECQ(rows)
	w.JNZ(operand.LabelRef(nextRow))
	w.end()
}

// partMasks are the masks of the lanes of src, stride*(n-1)+1 of them, that n
// windows look at; the tail's mask is set as well.
func (w window) partMasks(n reg.GPVirtual) []reg.Register {
	w.makeTail(n)
	part := []reg.Register{w.K(), w.K()}
	bits := w.GP64()
	if w.stride == 1 {
		w.LEAQ(operand.Mem{Base: n, Disp: -1}, reg.RCX)
	} else {
		w.LEAQ(operand.Mem{Base: n, Index: n, Scale: 1, Disp: -2}, reg.RCX)
	}
	w.MOVQ(operand.I32(2), bits)
	w.SHLQ(reg.CL, bits)
	w.DECQ(bits)
	w.KMOVW(bits.As32(), part[0])
	w.SHRQ(operand.U8(16), bits)
	w.KMOVW(bits.As32(), part[1])
	return part
}

// skipIndex writes code for where there is an index.
func (w window) skipIndex(index reg.GPVirtual, f func()) {
	skip := w.label("noindex")
	w.TESTQ(index, index)
	w.JZ(operand.LabelRef(skip))
	f()
	w.Label(skip)
}

// block does one vector of windows. part are the masks of the source's lanes
// where not all are there.
func (w window) block(dst, index, src, base reg.GPVirtual, lane value, part []reg.Register) {
	steps, taps := w.pointer("steps"), w.pointer("taps")
	at := w.GP64()
	best, where := w.new(), w.new()
	fetch := func() (value, value) {
		w.MOVLQSX(operand.Mem{Base: steps}, at)
		x := w.row(operand.Mem{Base: src, Index: at, Scale: 4}, part)
		step := w.new()
		w.VPBROADCASTD(operand.Mem{Base: steps}, step)
		w.ADDQ(operand.I32(4), steps)
		return x, step
	}
	x, step := fetch()
	w.VMOVAPS(x, best)
	w.VMOVAPS(step, where)
	tap, done := w.label("tap"), w.label("taps")
	w.DECQ(taps)
	w.JZ(operand.LabelRef(done))
	w.Label(tap)
	x, step = fetch()
	w.take(best, where, x, step)
	w.DECQ(taps)
	w.JNZ(operand.LabelRef(tap))
	w.Label(done)
	w.store(best, operand.Mem{Base: dst}, part != nil)
	w.skipIndex(index, func() {
		w.VPADDD(lane, where, where)
		w.storeIndex(where, index, base, part != nil)
	})
}

// row reads the elements of a vector of windows.
func (w window) row(m operand.Mem, part []reg.Register) value {
	get := func(i int) value {
		r, from := w.new(), m
		from.Disp += i * w.bytes
		if part != nil {
			w.VMOVUPS_Z(from, part[i], r)
		} else {
			w.VMOVUPS(from, r)
		}
		return r
	}
	a := get(0)
	if w.stride == 1 {
		return a
	}
	if part == nil {
		// The last element of the second vector is beyond the last window: it is
		// read by a load that begins one element earlier.
		m.Disp -= 4
	}
	r := w.new()
	b := get(1)
	if w.bytes == 64 {
		choice := "evenOdd"
		if part != nil {
			choice = "even"
		}
		w.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(choice), 0), r)
		w.VPERMI2PS(b, a, r)
		return r
	}
	// a0 a2 b1 b3 | a4 a6 b5 b7, then the middle pairs change places.
	odd := w.new()
	w.VPERMILPS(operand.U8(0xb1), b, odd)
	w.VSHUFPS(operand.U8(0x88), odd, a, r)
	w.VPERMPD(operand.U8(0xd8), r, r)
	return r
}

// take replaces best where x is larger, or the first NaN.
func (w window) take(best, where, x, step value) {
	if w.bytes == 64 {
		larger, first := w.K(), w.K()
		w.VCMPPS(operand.U8(greater), best, x, larger)
		w.VCMPPS(operand.U8(0x07), best, best, first) // best is a number
		masked := w.K()
		w.VCMPPS(operand.U8(unordered), x, x, masked)
		w.KANDW(first, masked, masked)
		w.KORW(larger, masked, larger)
		w.VMOVAPS(x, larger, best)
		w.VMOVAPS(step, larger, where)
		return
	}
	larger, first, nan := w.new(), w.new(), w.new()
	w.VCMPPS(operand.U8(greater), best, x, larger)
	w.VCMPPS(operand.U8(0x07), best, best, first)
	w.VCMPPS(operand.U8(unordered), x, x, nan)
	w.VANDPS(first, nan, nan)
	w.VORPS(larger, nan, larger)
	w.VBLENDVPS(larger, x, best, best)
	w.VBLENDVPS(larger, step, where, where)
}

// storeIndex widens 32-bit places to 64 bits, adds base and stores them.
func (w window) storeIndex(where value, index, base reg.GPVirtual, part bool) {
	half := func(i int, low reg.Register, mask reg.Register) {
		wide, add := w.new(), w.new()
		w.VPMOVSXDQ(low, wide)
		if w.bytes == 64 {
			w.VPBROADCASTQ(base, add)
		} else {
			x := w.XMM()
			w.VMOVQ(base, x)
			w.VPBROADCASTQ(x, add)
		}
		w.VPADDQ(add, wide, wide)
		m := operand.Mem{Base: index, Disp: i * w.bytes}
		if mask != nil {
			w.VMOVDQU64(wide, mask, m)
		} else if w.bytes == 64 {
			w.VMOVDQU64(wide, m)
		} else {
			w.VMOVDQU(wide, m)
		}
	}
	if w.bytes == 64 {
		high := w.YMM()
		w.VEXTRACTI32X8(operand.U8(1), where, high)
		var low, up reg.Register
		if part {
			k := w.K()
			w.KSHIFTRW(operand.U8(8), w.tail, k)
			low, up = w.tail, k
		}
		half(0, where.(reg.Vec).AsY(), low)
		half(1, high, up)
		return
	}
	high := w.XMM()
	w.VEXTRACTI128(operand.U8(1), where, high)
	half(0, where.(reg.Vec).AsX(), nil)
	half(1, high, nil)
}
