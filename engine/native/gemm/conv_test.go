package gemm_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// randomShape is a small convolution with any mixture of attributes.
func randomShape(r *rand.Rand) gemm.ConvShape {
	for {
		s := gemm.ConvShape{
			Height: 1 + r.IntN(14), Width: 1 + r.IntN(40),
			KernelHeight: 1 + r.IntN(4), KernelWidth: 1 + r.IntN(5),
			StrideHeight: 1 + r.IntN(3), StrideWidth: 1 + r.IntN(3),
			DilationHeight: 1 + r.IntN(2), DilationWidth: 1 + r.IntN(2),
			PadTop: r.IntN(3), PadLeft: r.IntN(3), PadBottom: r.IntN(3), PadRight: r.IntN(3),
			Groups: 1 + r.IntN(3),
		}
		s.Channels = s.Groups * (1 + r.IntN(4))
		s.Filters = s.Groups * (1 + r.IntN(40))
		if r.IntN(4) == 0 { // depthwise
			s.Channels = s.Groups
			s.Filters = s.Groups * (1 + r.IntN(2))
		}
		if oh, ow := s.Output(); oh > 0 && ow > 0 {
			return s
		}
	}
}

// visit calls f for each product of a convolution: elements of the input, the
// weights and the output of one image.
func visit(s gemm.ConvShape, f func(in, w, out int)) {
	oh, ow := s.Output()
	cg, fg := s.Channels/s.Groups, s.Filters/s.Groups
	for filter := range s.Filters {
		for c := range cg {
			for y := range oh {
				for x := range ow {
					for ky := range s.KernelHeight {
						for kx := range s.KernelWidth {
							iy := y*s.StrideHeight + ky*s.DilationHeight - s.PadTop
							ix := x*s.StrideWidth + kx*s.DilationWidth - s.PadLeft
							if iy < 0 || iy >= s.Height || ix < 0 || ix >= s.Width {
								continue
							}
							f(((filter/fg*cg+c)*s.Height+iy)*s.Width+ix,
								((filter*cg+c)*s.KernelHeight+ky)*s.KernelWidth+kx,
								(filter*oh+y)*ow+x)
						}
					}
				}
			}
		}
	}
}

type convCase struct {
	shape         gemm.ConvShape
	batch         int
	x, w, y       []float32 // input, weights, output (or its gradient)
	inLen, outLen int
}

func (c convCase) String() string { return fmt.Sprintf("batch %d of %+v", c.batch, c.shape) }

func randomConv(r *rand.Rand, s gemm.ConvShape, batch int) convCase {
	oh, ow := s.Output()
	c := convCase{shape: s, batch: batch, inLen: s.Channels * s.Height * s.Width, outLen: s.Filters * oh * ow}
	c.x, c.w, c.y = random(r, batch*c.inLen), random(r, s.WeightsLen()), random(r, batch*c.outLen)
	return c
}

// sums accumulates products in double precision.
type sums struct{ want, size []float64 }

func newSums(start []float32, add bool) sums {
	s := sums{make([]float64, len(start)), make([]float64, len(start))}
	for i, v := range start {
		if add {
			s.want[i], s.size[i] = float64(v), math.Abs(float64(v))
		}
		s.size[i] += 4
	}
	return s
}

func (s sums) add(at int, a, b float32) {
	v := float64(a) * float64(b)
	s.want[at] += v
	s.size[at] += math.Abs(v)
}

func (s sums) finish(bias []float32, plane, channels int, act gemm.Activation, lo, hi float64) {
	for i := range s.want {
		if bias != nil {
			s.want[i] += float64(bias[i/plane%channels])
		}
		switch act {
		case gemm.Relu:
			s.want[i] = keepNaN(s.want[i], 0, math.Inf(1))
		case gemm.Clip:
			s.want[i] = keepNaN(s.want[i], lo, hi)
		}
	}
}

// runConv holds the result of every kernel's plan against want.
func runConv(t *testing.T, c convCase, plan func(k *gemm.Kernel, s gemm.ConvShape) (*gemm.Conv, error), call gemm.ConvCall, want sums, depth int) {
	t.Helper()
	start := call.Dst
	for _, k := range gemm.Eager() {
		what := fmt.Sprintf("%s: %v", k.Name(), c)
		p, err := plan(k, c.shape)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		call.Dst = append([]float32(nil), start...)
		call.Weights = make([]float32, p.PackedLen())
		if err := p.Pack(call.Weights, c.w); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		call.Scratch = random(rand.New(rand.NewPCG(99, 99)), p.Scratch(&call)) // not zeros
		if err := p.Run(&call); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		compare(t, what, call.Dst, want.want, want.size, depth)
	}
}

func checkForward(t *testing.T, r *rand.Rand, c convCase, p gemm.Parallel) {
	t.Helper()
	call := gemm.ConvCall{Batch: c.batch, Src: c.x, Dst: c.y, Parallel: p, Add: r.IntN(2) == 0,
		Act: gemm.Activation(r.IntN(3)), Lo: -1, Hi: 1.5}
	if r.IntN(2) == 0 {
		call.Bias = random(r, c.shape.Filters)
	}
	want := newSums(c.y, call.Add)
	for b := range c.batch {
		visit(c.shape, func(in, w, out int) { want.add(b*c.outLen+out, c.x[b*c.inLen+in], c.w[w]) })
	}
	want.finish(call.Bias, c.outLen/c.shape.Filters, c.shape.Filters, call.Act, -1, 1.5)
	runConv(t, c, (*gemm.Kernel).NewConv, call, want, len(c.w)/c.shape.Filters)
}

func checkInputGrad(t *testing.T, r *rand.Rand, c convCase, p gemm.Parallel) {
	t.Helper()
	call := gemm.ConvCall{Batch: c.batch, Src: c.y, Dst: c.x, Parallel: p, Add: r.IntN(2) == 0,
		Act: gemm.Activation(r.IntN(3)), Lo: -1, Hi: 1.5}
	if r.IntN(2) == 0 {
		call.Bias = random(r, c.shape.Channels)
	}
	want := newSums(c.x, call.Add)
	for b := range c.batch {
		visit(c.shape, func(in, w, out int) { want.add(b*c.inLen+in, c.y[b*c.outLen+out], c.w[w]) })
	}
	want.finish(call.Bias, c.shape.Height*c.shape.Width, c.shape.Channels, call.Act, -1, 1.5)
	runConv(t, c, (*gemm.Kernel).NewConvInputGrad, call, want, len(c.w)/c.shape.Channels+4)
}

func checkWeightGrad(t *testing.T, r *rand.Rand, c convCase, p gemm.Parallel) {
	t.Helper()
	call := gemm.ConvWeightCall{Batch: c.batch, Src: c.x, Grad: c.y, Parallel: p, Add: r.IntN(2) == 0}
	want := newSums(c.w, call.Add)
	for b := range c.batch {
		visit(c.shape, func(in, w, out int) { want.add(w, c.x[b*c.inLen+in], c.y[b*c.outLen+out]) })
	}
	for _, k := range gemm.Eager() {
		what := fmt.Sprintf("%s: %v", k.Name(), c)
		plan, err := k.NewConvWeightGrad(c.shape)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		call.Dst = append([]float32(nil), c.w...)
		call.Scratch = random(r, plan.Scratch(&call))
		if err := plan.Run(&call); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		compare(t, what, call.Dst, want.want, want.size, c.batch*c.outLen/c.shape.Filters)
	}
}

func TestConvRandomShapes(t *testing.T) {
	for name, f := range map[string]func(*testing.T, *rand.Rand, convCase, gemm.Parallel){
		"forward": checkForward, "input gradient": checkInputGrad, "weight gradient": checkWeightGrad,
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for i := range rounds(200) {
				f(t, r, randomConv(r, randomShape(r), 1+r.IntN(3)), []gemm.Parallel{nil, parallel(2), parallel(3)}[i%3])
			}
		})
	}
}

// The shapes that matter, and those with a long reduction or many filters.
func TestConvKnownShapes(t *testing.T) {
	shapes := []gemm.ConvShape{
		{Channels: 1, Height: 28, Width: 28, Filters: 32, KernelHeight: 5, KernelWidth: 5, PadTop: 2, PadLeft: 2, PadBottom: 2, PadRight: 2},
		{Channels: 20, Height: 14, Width: 14, Filters: 64, KernelHeight: 5, KernelWidth: 5, PadTop: 2, PadLeft: 2, PadBottom: 2, PadRight: 2},
		{Channels: 3, Height: 32, Width: 32, Filters: 24, KernelHeight: 7, KernelWidth: 7, StrideHeight: 2, StrideWidth: 2, PadTop: 3, PadLeft: 3, PadBottom: 3, PadRight: 3},
		{Channels: 160, Height: 7, Width: 7, Filters: 100, KernelHeight: 3, KernelWidth: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1},
		{Channels: 40, Height: 9, Width: 9, Filters: 50, KernelHeight: 1, KernelWidth: 1, StrideHeight: 2, StrideWidth: 2},
		{Channels: 16, Height: 13, Width: 20, Filters: 16, KernelHeight: 3, KernelWidth: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 16},
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range shapes {
		s.StrideHeight, s.StrideWidth = max(1, s.StrideHeight), max(1, s.StrideWidth)
		s.DilationHeight, s.DilationWidth, s.Groups = 1, 1, max(1, s.Groups)
		checkForward(t, r, randomConv(r, s, 1), parallel(2))
		checkInputGrad(t, r, randomConv(r, s, 1), nil)
		checkWeightGrad(t, r, randomConv(r, s, 1), nil)
	}
}

func TestConvAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(5, 6))
		for range 20 {
			c := randomConv(r, randomShape(r), 2)
			forward, err := k.NewConv(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			back, err := k.NewConvInputGrad(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			calls := []*gemm.ConvCall{{Src: c.x, Dst: c.y}, {Src: c.y, Dst: c.x}}
			for i, plan := range []*gemm.Conv{forward, back} {
				call := calls[i]
				call.Batch, call.Parallel, call.Weights = 2, inline{}, make([]float32, plan.PackedLen())
				call.Scratch = make([]float32, plan.Scratch(call))
				if n := testing.AllocsPerRun(3, func() {
					if err := plan.Pack(call.Weights, c.w); err != nil {
						t.Fatal(err)
					}
					if err := plan.Run(call); err != nil {
						t.Fatal(err)
					}
				}); n != 0 {
					t.Fatalf("%v: %v allocations", c, n)
				}
			}
		}
	})
}

func TestConvWeightGradAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(7, 8))
		for range 20 {
			c := randomConv(r, randomShape(r), 4)
			plan, err := k.NewConvWeightGrad(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			call := gemm.ConvWeightCall{Batch: 4, Src: c.x, Grad: c.y, Dst: c.w, Parallel: inline{}}
			call.Scratch = make([]float32, plan.Scratch(&call))
			if n := testing.AllocsPerRun(3, func() {
				if err := plan.Run(&call); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Fatalf("%v: %v allocations", c, n)
			}
		}
	})
}

func TestConvWeightGradRefusesWrongSizes(t *testing.T) {
	s := gemm.ConvShape{Channels: 4, Height: 5, Width: 6, Filters: 8, KernelHeight: 3, KernelWidth: 3}
	plan, err := gemm.Default().NewConvWeightGrad(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(call *gemm.ConvWeightCall){
		"negative batch": func(call *gemm.ConvWeightCall) { call.Batch = -1 },
		"source":         func(call *gemm.ConvWeightCall) { call.Src = call.Src[1:] },
		"gradient":       func(call *gemm.ConvWeightCall) { call.Grad = call.Grad[1:] },
		"destination":    func(call *gemm.ConvWeightCall) { call.Dst = call.Dst[1:] },
		"scratch":        func(call *gemm.ConvWeightCall) { call.Scratch = nil },
	} {
		t.Run(name, func(t *testing.T) {
			call := gemm.ConvWeightCall{Batch: 2, Src: make([]float32, 240), Grad: make([]float32, 192), Dst: make([]float32, 288)}
			call.Scratch = make([]float32, plan.Scratch(&call))
			if err := plan.Run(&call); err != nil {
				t.Fatal(err)
			}
			spoil(&call)
			if err := plan.Run(&call); !errors.Is(err, gemm.ErrShape) {
				t.Fatalf("got %v", err)
			}
		})
	}
	call := gemm.ConvWeightCall{Dst: random(rand.New(rand.NewPCG(1, 1)), 288)}
	call.Scratch = make([]float32, plan.Scratch(&call))
	if err := plan.Run(&call); err != nil {
		t.Fatal(err)
	}
	for i, v := range call.Dst {
		if v != 0 {
			t.Fatalf("no images: element %d is %v, want 0", i, v)
		}
	}
}

func TestConvRefusesWrongSizes(t *testing.T) {
	k := gemm.Default()
	good := gemm.ConvShape{Channels: 4, Height: 5, Width: 6, Filters: 8, KernelHeight: 3, KernelWidth: 3}
	for name, spoil := range map[string]func(s *gemm.ConvShape){
		"no channels":     func(s *gemm.ConvShape) { s.Channels = 0 },
		"negative stride": func(s *gemm.ConvShape) { s.StrideWidth = -1 },
		"negative pad":    func(s *gemm.ConvShape) { s.PadLeft = -1 },
		"groups":          func(s *gemm.ConvShape) { s.Groups = 3 },
		"large kernel":    func(s *gemm.ConvShape) { s.KernelHeight = 6 },
		"huge":            func(s *gemm.ConvShape) { s.Height, s.Width = 1<<20, 1<<20 },
		"huge pad":        func(s *gemm.ConvShape) { s.PadTop, s.PadLeft = 1<<28, 1<<28 },
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			spoil(&s)
			if _, err := k.NewConv(s); !errors.Is(err, gemm.ErrShape) {
				t.Errorf("convolution: got %v", err)
			}
			if _, err := k.NewConvInputGrad(s); !errors.Is(err, gemm.ErrShape) {
				t.Errorf("gradient: got %v", err)
			}
		})
	}
	c, err := k.NewConv(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Pack(make([]float32, c.PackedLen()), make([]float32, good.WeightsLen()-1)); !errors.Is(err, gemm.ErrShape) {
		t.Errorf("short weights: got %v", err)
	}
	if err := c.Pack(make([]float32, c.PackedLen()-1), make([]float32, good.WeightsLen())); !errors.Is(err, gemm.ErrShape) {
		t.Errorf("short packed weights: got %v", err)
	}
	for name, spoil := range map[string]func(call *gemm.ConvCall){
		"negative batch": func(call *gemm.ConvCall) { call.Batch = -1 },
		"source":         func(call *gemm.ConvCall) { call.Src = call.Src[1:] },
		"destination":    func(call *gemm.ConvCall) { call.Dst = call.Dst[1:] },
		"weights":        func(call *gemm.ConvCall) { call.Weights = call.Weights[1:] },
		"bias":           func(call *gemm.ConvCall) { call.Bias = make([]float32, 7) },
		"scratch":        func(call *gemm.ConvCall) { call.Scratch = nil },
	} {
		t.Run(name, func(t *testing.T) {
			call := gemm.ConvCall{Batch: 2, Src: make([]float32, 240), Dst: make([]float32, 192), Weights: make([]float32, c.PackedLen())}
			call.Scratch = make([]float32, c.Scratch(&call))
			if err := c.Run(&call); err != nil {
				t.Fatal(err)
			}
			spoil(&call)
			if err := c.Run(&call); !errors.Is(err, gemm.ErrShape) {
				t.Fatalf("got %v", err)
			}
		})
	}
}
