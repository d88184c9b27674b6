package gemm_test

import (
	"fmt"

	"github.com/millrace/millrace/engine/native/gemm"
)

// A dense layer: two inputs times weights that are packed once, a bias for each
// column, and ReLU.
func ExampleKernel_Gemm() {
	k := gemm.Default()
	weights := []float32{
		1, 2, -1,
		0, 1, 3,
	}
	packed, err := k.PackB(make([]float32, k.PackedLen(2, 3)), weights, 2, 3, 3, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	p := gemm.Product{
		M: 2, N: 3, K: 2, Alpha: 1,
		A: []float32{1, 2, 3, -1}, LDA: 2,
		Packed: packed,
		C:      make([]float32, 6), LDC: 3,
		ColBias: []float32{0.5, 0, 1},
		Act:     gemm.Relu,
	}
	p.Scratch = make([]float32, k.Scratch(&p))
	if err := k.Gemm(&p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.C[:3], p.C[3:])
	// Output: [1.5 4 6] [3.5 5 0]
}

// A 3 x 3 convolution with padding of a 4 x 4 image of ones.
func ExampleConv_Run() {
	shape := gemm.ConvShape{Channels: 1, Height: 4, Width: 4, Filters: 1, KernelHeight: 3, KernelWidth: 3,
		PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
	ones := []float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	c, err := gemm.Default().NewConv(shape)
	if err != nil {
		fmt.Println(err)
		return
	}
	call := gemm.ConvCall{Batch: 1, Src: ones, Weights: make([]float32, c.PackedLen()), Dst: make([]float32, 16)}
	call.Scratch = make([]float32, c.Scratch(&call))
	if err := c.Pack(call.Weights, ones[:shape.WeightsLen()]); err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Run(&call); err != nil {
		fmt.Println(err)
		return
	}
	for y := range 4 {
		fmt.Println(call.Dst[4*y : 4*y+4])
	}
	// Output:
	// [4 6 6 4]
	// [6 9 9 6]
	// [6 9 9 6]
	// [4 6 6 4]
}
