package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// arithmetic names the operators of two numbers.
type arithmetic uint8

const (
	opAdd arithmetic = iota
	opSub
	opMul
	opDiv
	opMin
	opMax
	opMod
	opFmod
	arithmetics // how many
)

func floatRow[T float](op arithmetic) rowFunc[T, T] {
	switch op {
	case opAdd:
		return addRow[T]
	case opSub:
		return subRow[T]
	case opMul:
		return mulRow[T]
	case opDiv:
		return divRow[T]
	case opMin:
		return each(minOf[T])
	case opMax:
		return each(maxOf[T])
	}
	return each(fmodFloat[T])
}

// float32Row uses the vector functions of package gemm.
func float32Row(k *gemm.Kernel, op arithmetic) rowFunc[float32, float32] {
	both := map[arithmetic]func(dst, a, b []float32){opAdd: k.Add, opSub: k.Sub, opMul: k.Mul, opDiv: k.Div, opMin: k.Min, opMax: k.Max}[op]
	plain := floatRow[float32](op)
	if both == nil {
		return plain
	}
	return func(dst, a, b []float32, mode int) {
		switch {
		case mode == rowBoth:
			both(dst, a[:len(dst)], b[:len(dst)])
		case mode == rowRight && op == opAdd:
			k.Shift(dst, a[:len(dst)], b[0])
		case mode == rowLeft && op == opAdd:
			k.Shift(dst, b[:len(dst)], a[0])
		case mode == rowRight && op == opSub:
			k.Shift(dst, a[:len(dst)], -b[0])
		case mode == rowLeft && op == opSub:
			k.Affine(dst, b[:len(dst)], -1, a[0])
		case mode == rowRight && op == opMul:
			k.Scale(dst, a[:len(dst)], b[0])
		case mode == rowLeft && op == opMul:
			k.Scale(dst, b[:len(dst)], a[0])
		default:
			plain(dst, a, b, mode)
		}
	}
}

func intRow[T integer](op arithmetic) rowFunc[T, T] {
	switch op {
	case opAdd:
		return addRow[T]
	case opSub:
		return subRow[T]
	case opMul:
		return mulRow[T]
	case opDiv:
		return each(divInt[T])
	case opMin:
		return each(minOf[T])
	case opMax:
		return each(maxOf[T])
	case opMod:
		return each(modInt[T])
	}
	return each(fmodInt[T])
}

// arith returns the kernel of an arithmetic operator of one or more inputs.
func arith(op arithmetic) func(c *prep) error {
	return func(c *prep) error {
		op := op
		if err := c.need(max(1, len(c.in))); err != nil {
			return err
		}
		if err := c.sameType(); err != nil {
			return err
		}
		if op == opMod && c.attrs.Bool("fmod", false) {
			op = opFmod
		}
		d := c.in[0].dtype
		if op == opMod && d.IsFloat() {
			return c.refuse("%v without fmod", d)
		}
		switch d {
		case tensor.Float32:
			return foldBinary(c, c.pl.e.rows[op])
		case tensor.Float64:
			return foldBinary(c, floatRow[float64](op))
		case tensor.Int8:
			return foldBinary(c, intRow[int8](op))
		case tensor.Int16:
			return foldBinary(c, intRow[int16](op))
		case tensor.Int32:
			return foldBinary(c, intRow[int32](op))
		case tensor.Int64:
			return foldBinary(c, intRow[int64](op))
		case tensor.Uint8:
			return foldBinary(c, intRow[uint8](op))
		case tensor.Uint16:
			return foldBinary(c, intRow[uint16](op))
		case tensor.Uint32:
			return foldBinary(c, intRow[uint32](op))
		case tensor.Uint64:
			return foldBinary(c, intRow[uint64](op))
		}
		return c.refuseType(d)
	}
}

// mean is the kernel of Mean: the sum, divided by the number of inputs.
func mean(c *prep) error {
	if err := arith(opAdd)(c); err != nil {
		return err
	}
	n := len(c.in)
	if n < 2 {
		return nil
	}
	o := c.outs[0].slot
	if c.intoF {
		o = c.own[len(c.own)-1]
	}
	switch c.in[0].dtype {
	case tensor.Float32:
		c.do(func(f *frame) { d := data[float32](f, o); divRow(d, d, []float32{float32(n)}, rowRight) })
	case tensor.Float64:
		c.do(func(f *frame) { d := data[float64](f, o); divRow(d, d, []float64{float64(n)}, rowRight) })
	default:
		return c.refuseType(c.in[0].dtype)
	}
	return nil
}

func addRow[T real](dst, a, b []T, mode int) {
	if mode == rowLeft {
		a, b, mode = b, a, rowRight
	}
	a = a[:len(dst)]
	if mode == rowRight {
		y := b[0]
		for i := range dst {
			dst[i] = a[i] + y
		}
		return
	}
	b = b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func mulRow[T real](dst, a, b []T, mode int) {
	if mode == rowLeft {
		a, b, mode = b, a, rowRight
	}
	a = a[:len(dst)]
	if mode == rowRight {
		y := b[0]
		for i := range dst {
			dst[i] = a[i] * y
		}
		return
	}
	b = b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func subRow[T real](dst, a, b []T, mode int) {
	switch mode {
	case rowRight:
		y := b[0]
		a = a[:len(dst)]
		for i := range dst {
			dst[i] = a[i] - y
		}
	case rowLeft:
		x := a[0]
		b = b[:len(dst)]
		for i := range dst {
			dst[i] = x - b[i]
		}
	default:
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] - b[i]
		}
	}
}

func divRow[T float](dst, a, b []T, mode int) {
	switch mode {
	case rowRight:
		y := b[0]
		a = a[:len(dst)]
		for i := range dst {
			dst[i] = a[i] / y
		}
	case rowLeft:
		x := a[0]
		b = b[:len(dst)]
		for i := range dst {
			dst[i] = x / b[i]
		}
	default:
		a, b = a[:len(dst)], b[:len(dst)]
		for i := range dst {
			dst[i] = a[i] / b[i]
		}
	}
}

// divInt truncates towards zero. Division by zero, which ONNX leaves open, gives zero.
func divInt[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	return a / b
}

// minOf and maxOf hand NaN on, from either side.
func minOf[T real](a, b T) T { return min(a, b) }
func maxOf[T real](a, b T) T { return max(a, b) }

// modInt has the sign of the divisor, as Python's.
func modInt[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	r := a % b
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

func fmodInt[T integer](a, b T) T {
	if b == 0 {
		return 0
	}
	return a % b
}

func fmodFloat[T float](a, b T) T { return T(math.Mod(float64(a), float64(b))) }
