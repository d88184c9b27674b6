package gemm_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine/native/gemm"
)

// bytesOf are random bytes, the extremes among them often: they are what overflows in 16 bits.
func bytesOf(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		switch r.IntN(4) {
		case 0:
			b[i] = 255
		case 1:
			b[i] = 127 + byte(r.IntN(2))
		default:
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func signed(b []byte) []int8 {
	s := make([]int8, len(b))
	for i, v := range b {
		s[i] = int8(v)
	}
	return s
}

// requantization is a random one for so many columns, filled up to padded.
func requantization(r *rand.Rand, cols, padded int, scale float64) gemm.Requantization {
	q := gemm.Requantization{Add: make([]int32, padded), By: make([]float32, padded), Zero: int32(r.IntN(256))}
	q.Low, q.High = float32(-q.Zero), float32(255-q.Zero)
	for i := range cols {
		q.Add[i], q.By[i] = int32(r.IntN(2000)-1000), float32(scale*(0.5+r.Float64()))
	}
	return q
}

// requantized is what the operators' definition says.
func requantized(q *gemm.Requantization, col int, sum int32) byte {
	v := math.RoundToEven(float64(float32(sum+q.Add[col])*q.By[col])) + float64(q.Zero)
	return byte(min(max(v, 0), 255))
}

// TestIntegerProductIsExact holds products against their definition, on every kernel.
func TestIntegerProductIsExact(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, size := range [][3]int{{1, 1, 1}, {1, 120, 784}, {2, 5, 12}, {7, 33, 3}, {12, 32, 64}, {13, 31, 65}, {61, 17, 9}, {25, 64, 257}, {3, 4, 0}} {
			m, n, depth := size[0], size[1], size[2]
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				p := k.NewIntegerProduct(depth, n)
				a, w := bytesOf(r, m*depth), signed(bytesOf(r, depth*n))
				for _, flip := range []byte{0, 0x80} {
					packed := p.Pack(w, n, 1)
					prepared := make([]byte, m*p.RowBytes())
					p.Fill(prepared, a, flip, m)
					q := requantization(r, n, packed.Padded(), 0.01/math.Sqrt(float64(depth+1)))
					got, sums := slices.Repeat([]byte{1}, m*n), slices.Repeat([]int32{1}, m*n)
					for block := range p.Blocks(m) {
						p.Run(got, prepared, packed, &q, m, block)
						p.Sums(sums, prepared, packed, q.Add, m, block)
					}
					for i := range m {
						for j := range n {
							var sum int32
							for s := range depth {
								sum += int32(a[i*depth+s]^flip) * int32(w[s*n+j])
							}
							at := i*n + j
							if want := sum + q.Add[j]; sums[at] != want {
								t.Fatalf("the sum of %d, %d is %d, not %d", i, j, sums[at], want)
							}
							if want := requantized(&q, j, sum); got[at] != want {
								t.Fatalf("byte %d, %d is %d, not %d", i, j, got[at], want)
							}
						}
					}
				}
			})
		}
	})
}

// TestIntegerConvIsExact holds convolutions against their definition, on every kernel.
func TestIntegerConvIsExact(t *testing.T) {
	shapes := []gemm.ConvShape{
		{Channels: 1, Height: 28, Width: 28, Filters: 6, KernelHeight: 5, KernelWidth: 5, PadTop: 2, PadLeft: 2, PadBottom: 2, PadRight: 2},
		{Channels: 3, Height: 23, Width: 21, Filters: 33, KernelHeight: 7, KernelWidth: 7, StrideHeight: 2, StrideWidth: 2, PadTop: 3, PadLeft: 3, PadBottom: 3, PadRight: 3},
		{Channels: 17, Height: 9, Width: 35, Filters: 40, KernelHeight: 3, KernelWidth: 3, PadTop: 1, PadLeft: 0, PadBottom: 0, PadRight: 2},
		{Channels: 8, Height: 7, Width: 7, Filters: 12, KernelHeight: 3, KernelWidth: 2, DilationHeight: 2, DilationWidth: 3, Groups: 2},
		{Channels: 64, Height: 7, Width: 7, Filters: 65, KernelHeight: 1, KernelWidth: 1, StrideHeight: 2, StrideWidth: 3},
		{Channels: 6, Height: 5, Width: 6, Filters: 6, KernelHeight: 3, KernelWidth: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 6},
	}
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, s := range shapes {
			t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) { exactConv(t, k, r, s) })
		}
	})
}

func exactConv(t *testing.T, k *gemm.Kernel, r *rand.Rand, s gemm.ConvShape) {
	c, err := k.NewIntegerConv(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Groups, s.StrideHeight, s.StrideWidth = max(1, s.Groups), max(1, s.StrideHeight), max(1, s.StrideWidth)
	s.DilationHeight, s.DilationWidth = max(1, s.DilationHeight), max(1, s.DilationWidth)
	h, w := s.Output()
	cg, fg := s.Channels/s.Groups, s.Filters/s.Groups
	taps := s.KernelHeight * s.KernelWidth
	x, weights := bytesOf(r, s.Channels*s.Height*s.Width), signed(bytesOf(r, s.Filters*cg*taps))
	groups, err := c.Pack(weights)
	if err != nil {
		t.Fatal(err)
	}
	flip, pad := byte(0x80*r.IntN(2)), byte(r.IntN(256))
	var to []gemm.Requantization
	for g := range groups {
		to = append(to, requantization(r, fg, groups[g].Padded(), 0.01/math.Sqrt(float64(cg*taps))))
	}
	frame := make([]byte, c.FrameBytes())
	for i := range frame {
		frame[i] = byte(r.Uint32()) // what an earlier run left
	}
	c.Fill(frame, x, flip, pad, 0, c.FrameRows()/2)
	c.Fill(frame, x, flip, pad, c.FrameRows()/2, c.FrameRows())
	got, sums := slices.Repeat([]byte{1}, s.Filters*h*w), slices.Repeat([]int32{1}, s.Filters*h*w)
	var add []int32
	for g := range to {
		add = append(add, to[g].Add[:fg]...)
	}
	for b := range c.Blocks() {
		c.Bytes(got, frame, groups, to, b)
		c.Sums(sums, frame, groups, add, b)
	}
	for f := range s.Filters {
		g := f / fg
		for oy := range h {
			for ox := range w {
				var sum int32
				for ch := range cg {
					for tap := range taps {
						v, iy, ix := pad, oy*s.StrideHeight-s.PadTop+tap/s.KernelWidth*s.DilationHeight, ox*s.StrideWidth-s.PadLeft+tap%s.KernelWidth*s.DilationWidth
						if iy >= 0 && iy < s.Height && ix >= 0 && ix < s.Width {
							v = x[((g*cg+ch)*s.Height+iy)*s.Width+ix] ^ flip
						}
						sum += int32(v) * int32(weights[(f*cg+ch)*taps+tap])
					}
				}
				at := (f*h+oy)*w + ox
				if want := sum + add[f]; sums[at] != want {
					t.Fatalf("filter %d, pixel %d, %d: the sum is %d, not %d", f, oy, ox, sums[at], want)
				}
				if want := requantized(&to[g], f%fg, sum); got[at] != want {
					t.Fatalf("filter %d, pixel %d, %d is %d, not %d", f, oy, ox, got[at], want)
				}
			}
		}
	}
}

// TestQuantizeIsExact holds the way to bytes and back against its definition: halves, NaN and infinities too.
func TestQuantizeIsExact(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(5, 6))
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for n := range 70 {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(r.IntN(600)-300) / 2 * 0.25
				if r.IntN(10) == 0 {
					x[i] = []float32{nan, inf, -inf, math.MaxFloat32, float32(math.Copysign(0, -1))}[r.IntN(5)]
				}
			}
			for _, zero := range []int32{0, 7, 128, 255, -128, -3, 127} {
				low, high := float64(0), float64(255)
				if zero < 0 || n%2 == 1 && zero < 128 {
					low, high = -128, 127
				}
				got := make([]byte, n)
				k.Quantize(got, x, 0.25, float32(low-float64(zero)), float32(high-float64(zero)), zero)
				back := make([]float32, n)
				k.Dequantize(back, got, zero, 0.3, low < 0)
				for i, v := range x {
					want := math.RoundToEven(float64(v/0.25)) + float64(zero)
					if want != want {
						want = float64(zero)
					}
					want = min(max(want, low), high)
					have := float64(got[i])
					if low < 0 {
						have = float64(int8(got[i]))
					}
					if have != want {
						t.Fatalf("%v with zero %d is %v, not %v", v, zero, have, want)
					}
					if b := float32(int32(have)-zero) * float32(0.3); back[i] != b {
						t.Fatalf("%v with zero %d goes back to %v, not %v", have, zero, back[i], b)
					}
				}
			}
		}
	})
}

// TestIntegerDepthwiseIsExact holds convolutions with a channel a group against their definition, on every kernel: sums and bytes.
func TestIntegerDepthwiseIsExact(t *testing.T) {
	each(t, func(t *testing.T, k *gemm.Kernel) {
		r := rand.New(rand.NewPCG(7, 8))
		for range rounds(60) {
			s := randomShape(r)
			s.Groups = 1 + r.IntN(5)
			s.Channels, s.Filters = s.Groups, s.Groups*(1+r.IntN(2))
			h, w := s.Output()
			d, err := k.NewIntegerDepthwise(s, 1000)
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			call := gemm.IntegerDepthwiseCall{Batch: 1 + r.IntN(2), Signed: r.IntN(2) == 0, SrcZero: int32(r.IntN(256))}
			if call.Signed {
				call.SrcZero -= 128
			}
			if r.IntN(2) == 0 {
				call.Parallel = parallel(3)
			}
			taps := s.KernelHeight * s.KernelWidth
			weights := signed(bytesOf(r, s.Filters*taps))
			if call.Weights, err = d.Pack(weights); err != nil {
				t.Fatal(err)
			}
			call.Src = bytesOf(r, call.Batch*s.Channels*s.Height*s.Width)
			call.Scratch = random(r, d.Scratch(&call)) // what an earlier run left
			q := requantization(r, s.Filters, s.Filters, 0.01/math.Sqrt(float64(taps)))
			for _, a := range q.Add {
				call.Bias = append(call.Bias, float32(a))
			}
			call.By, call.Low, call.High, call.Zero = q.By, q.Low, q.High, q.Zero
			sums, got := make([]int32, call.Batch*s.Filters*h*w), make([]byte, call.Batch*s.Filters*h*w)
			call.Dst = got
			if err := d.Run(&call); err != nil {
				t.Fatal(err)
			}
			call.Sums = sums
			if err := d.Run(&call); err != nil {
				t.Fatal(err)
			}
			for at := range sums {
				x, y, f := at%w, at/w%h, at/w/h%s.Filters
				src := call.Src[(at/w/h/s.Filters*s.Channels+f/(s.Filters/s.Groups))*s.Height*s.Width:]
				var sum int32
				for tap := range taps {
					iy := y*max(1, s.StrideHeight) - s.PadTop + tap/s.KernelWidth*max(1, s.DilationHeight)
					ix := x*max(1, s.StrideWidth) - s.PadLeft + tap%s.KernelWidth*max(1, s.DilationWidth)
					if iy < 0 || iy >= s.Height || ix < 0 || ix >= s.Width {
						continue
					}
					v := int32(src[iy*s.Width+ix])
					if call.Signed {
						v = int32(int8(v))
					}
					sum += (v - call.SrcZero) * int32(weights[f*taps+tap])
				}
				if sums[at] != sum {
					t.Fatalf("%+v: sum %d is %d, not %d", s, at, sums[at], sum)
				}
				if want := requantized(&q, f, sum); got[at] != want {
					t.Fatalf("%+v: byte %d is %d, not %d", s, at, got[at], want)
				}
			}
		}
		if _, err := k.NewIntegerDepthwise(gemm.ConvShape{Channels: 2, Height: 30, Width: 30, Filters: 2, KernelHeight: 23, KernelWidth: 23, Groups: 2}, 0); !errors.Is(err, gemm.ErrShape) {
			t.Errorf("529 products are not exact: %v", err)
		}
	})
}
