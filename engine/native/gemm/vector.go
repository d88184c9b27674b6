package gemm

import "math"

// The vector functions below work element by element on dst, whose length is
// how much they do; they panic where another slice is shorter. dst may be one of
// the other slices but must not overlap it otherwise. NaN and infinities are as
// in IEEE 754 and denormal numbers are kept. No function allocates.

// vectorFuncs are a kernel's vector functions in assembly; n is at least 1.
type vectorFuncs struct {
	binary       [binaries]func(dst, x, y *float32, n int)
	unary        [unaries]func(dst, x *float32, n int)
	affine, clip func(dst, x *float32, n int, a, b float32)
	scale, shift func(dst, x *float32, n int, a float32)
	axpy         func(dst, x *float32, n int, a float32)
	sum          func(x *float32, n int) float32
	dot          func(x, y *float32, n int) float32
	largest      func(x *float32, n int) float32
	smallest     func(x *float32, n int) float32
}

const (
	opAdd = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opReluGrad
	binaries
)

const (
	opSqrt = iota
	opExp
	opLog
	opTanh
	opSigmoid
	opErf
	unaries
)

var binaryGo = [binaries]func(a, b float32) float32{
	opAdd: func(a, b float32) float32 {
		return a + b
	},
	opSub: func(a, b float32) float32 {
		return a - b
	},
	opMul: func(a, b float32) float32 {
		return a * b
	},
	opDiv: func(a, b float32) float32 {
		return a / b
	},
	opMax: func(a, b float32) float32 {
		return max(a, b)
	},
	opMin: func(a, b float32) float32 {
		return min(a, b)
	},
	opReluGrad: func(a, b float32) float32 {
		if b > 0 {
			return a
		}
		return 0
	},
}

var unaryGo = [unaries]func(x float64) float64{
	opSqrt:    math.Sqrt,
	opExp:     math.Exp,
	opLog:     math.Log,
	opTanh:    math.Tanh,
	opSigmoid: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
	opErf:     math.Erf,
}

func (k *Kernel) binary(op int, dst, x, y []float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x, y = x[:n], y[:n]
	if k.vector != nil {
		k.vector.binary[op](&dst[0], &x[0], &y[0], n)
		return
	}
	f := binaryGo[op]
	for i, v := range x {
		dst[i] = f(v, y[i])
	}
}

func (k *Kernel) unary(op int, dst, x []float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.unary[op](&dst[0], &x[0], n)
		return
	}
	f := unaryGo[op]
	for i, v := range x {
		dst[i] = float32(f(float64(v)))
	}
}

// Add sets dst = x + y.
func (k *Kernel) Add(dst, x, y []float32) { k.binary(opAdd, dst, x, y) }

// Sub sets dst = x - y.
func (k *Kernel) Sub(dst, x, y []float32) { k.binary(opSub, dst, x, y) }

// Mul sets dst = x * y.
func (k *Kernel) Mul(dst, x, y []float32) { k.binary(opMul, dst, x, y) }

// Div sets dst = x / y.
func (k *Kernel) Div(dst, x, y []float32) { k.binary(opDiv, dst, x, y) }

// Max sets dst to the larger of x and y; NaN where one of them is.
func (k *Kernel) Max(dst, x, y []float32) { k.binary(opMax, dst, x, y) }

// Min sets dst to the smaller of x and y; NaN where one of them is.
func (k *Kernel) Min(dst, x, y []float32) { k.binary(opMin, dst, x, y) }

// ReluGrad sets dst to x where y > 0 and to 0 elsewhere: the gradient of Relu
// for the output's gradient x and the input (or output) y.
func (k *Kernel) ReluGrad(dst, x, y []float32) { k.binary(opReluGrad, dst, x, y) }

// Sqrt sets dst to the square root of x, correctly rounded.
func (k *Kernel) Sqrt(dst, x []float32) { k.unary(opSqrt, dst, x) }

// Exp sets dst to e to the power of x, within 2 units in the last place.
func (k *Kernel) Exp(dst, x []float32) { k.unary(opExp, dst, x) }

// Log sets dst to the natural logarithm of x, within 2 units in the last place.
func (k *Kernel) Log(dst, x []float32) { k.unary(opLog, dst, x) }

// Tanh sets dst to the hyperbolic tangent of x, within 3 units in the last place.
func (k *Kernel) Tanh(dst, x []float32) { k.unary(opTanh, dst, x) }

// Sigmoid sets dst = 1/(1+exp(-x)), within 3 units in the last place where the
// result is at least 1e-37, below with an error of at most 1e-38.
func (k *Kernel) Sigmoid(dst, x []float32) { k.unary(opSigmoid, dst, x) }

// Erf sets dst to the error function of x, within 3 units in the last place.
func (k *Kernel) Erf(dst, x []float32) { k.unary(opErf, dst, x) }
