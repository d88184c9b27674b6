package gemm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

func square(channels, size, filters, kernel, stride, pad int) gemm.ConvShape {
	return gemm.ConvShape{Channels: channels, Height: size, Width: size, Filters: filters, KernelHeight: kernel, KernelWidth: kernel,
		StrideHeight: stride, StrideWidth: stride, PadTop: pad, PadLeft: pad, PadBottom: pad, PadRight: pad}
}

var convBenches = []struct {
	name  string
	batch int
	shape gemm.ConvShape
}{
	{"mnist1", 1, square(1, 28, 32, 5, 1, 2)},
	{"mnist2", 1, square(32, 14, 64, 5, 1, 2)},
	{"train1", 100, square(1, 28, 16, 5, 1, 2)},
	{"train2", 100, square(16, 14, 32, 3, 1, 1)},
	{"resnet7x7", 1, square(3, 224, 64, 7, 2, 3)},
	{"resnet56", 1, square(64, 56, 64, 3, 1, 1)},
	{"resnet28s2", 1, square(64, 56, 128, 3, 2, 1)},
	{"resnet28", 1, square(128, 28, 128, 3, 1, 1)},
	{"resnet14", 1, square(256, 14, 256, 3, 1, 1)},
	{"resnet7", 1, square(512, 7, 512, 3, 1, 1)},
	{"point56", 1, square(256, 56, 64, 1, 1, 0)},
	{"point14", 1, square(1024, 14, 256, 1, 1, 0)},
	{"depth56", 1, gemm.ConvShape{Channels: 128, Height: 56, Width: 56, Filters: 128, KernelHeight: 3, KernelWidth: 3,
		PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 128}},
	{"depth14", 1, gemm.ConvShape{Channels: 512, Height: 14, Width: 14, Filters: 512, KernelHeight: 3, KernelWidth: 3,
		PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 512}},
}

// flop is the number of floating-point operations of one image.
func flop(s gemm.ConvShape) float64 {
	oh, ow := s.Output()
	return 2 * float64(oh*ow) * float64(s.WeightsLen())
}

func benchConv(b *testing.B, plan func(k *gemm.Kernel, s gemm.ConvShape) (*gemm.Conv, error), source func(c convCase) (src, dst []float32)) {
	for _, c := range convBenches {
		for _, k := range gemm.Available() {
			b.Run(fmt.Sprintf("%s/%s", c.name, k.Name()), func(b *testing.B) {
				data := randomConv(rand.New(rand.NewPCG(1, 2)), c.shape, c.batch)
				p, err := plan(k, c.shape)
				if err != nil {
					b.Fatal(err)
				}
				call := gemm.ConvCall{Batch: c.batch, Weights: make([]float32, p.PackedLen())}
				call.Src, call.Dst = source(data)
				call.Scratch = make([]float32, p.Scratch(&call))
				if err := p.Pack(call.Weights, data.w); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if err := p.Run(&call); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(flop(c.shape)*float64(c.batch)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

func BenchmarkConv(b *testing.B) {
	benchConv(b, (*gemm.Kernel).NewConv, func(c convCase) (src, dst []float32) { return c.x, c.y })
}

func BenchmarkConvInputGrad(b *testing.B) {
	benchConv(b, (*gemm.Kernel).NewConvInputGrad, func(c convCase) (src, dst []float32) { return c.y, c.x })
}

func BenchmarkConvWeightGrad(b *testing.B) {
	for _, c := range convBenches {
		for _, k := range gemm.Available() {
			b.Run(fmt.Sprintf("%s/%s", c.name, k.Name()), func(b *testing.B) {
				data := randomConv(rand.New(rand.NewPCG(1, 2)), c.shape, c.batch)
				plan, err := k.NewConvWeightGrad(c.shape)
				if err != nil {
					b.Fatal(err)
				}
				call := gemm.ConvWeightCall{Batch: c.batch, Src: data.x, Grad: data.y, Dst: data.w}
				call.Scratch = make([]float32, plan.Scratch(&call))
				for b.Loop() {
					if err := plan.Run(&call); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(flop(c.shape)*float64(c.batch)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
