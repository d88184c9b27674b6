package gemm

import (
	"fmt"
	"math"
)

// ConvShape describes a two-dimensional convolution (or, with a height of 1, a
// one-dimensional one) of images in NCHW order. A stride, dilation or number of
// groups of 0 means 1.
type ConvShape struct {
	Channels, Height, Width              int // of the input
	Filters                              int // channels of the output
	KernelHeight, KernelWidth            int
	StrideHeight, StrideWidth            int
	DilationHeight, DilationWidth        int
	PadTop, PadLeft, PadBottom, PadRight int
	Groups                               int
}

func (s ConvShape) withDefaults() ConvShape {
	for _, p := range []*int{&s.StrideHeight, &s.StrideWidth, &s.DilationHeight, &s.DilationWidth, &s.Groups} {
		if *p == 0 {
			*p = 1
		}
	}
	return s
}

// Output is the height and width of the output; 0 where the kernel's window
// does not fit into the padded input.
func (s ConvShape) Output() (height, width int) {
	s = s.withDefaults()
	extent := func(size, pad, kernel, dilation, stride int) int {
		free := size + pad - (kernel-1)*dilation - 1
		if free < 0 {
			return 0
		}
		return free/stride + 1
	}
	return extent(s.Height, s.PadTop+s.PadBottom, s.KernelHeight, s.DilationHeight, s.StrideHeight),
		extent(s.Width, s.PadLeft+s.PadRight, s.KernelWidth, s.DilationWidth, s.StrideWidth)
}

// check says whether the shape, with its defaults filled in, can be planned.
func (s ConvShape) check() error {
	const limit = math.MaxInt32 / 4 // byte offsets into an image are 32 bits
	for _, v := range []int{s.Channels, s.Height, s.Width, s.Filters, s.KernelHeight, s.KernelWidth,
		s.StrideHeight, s.StrideWidth, s.DilationHeight, s.DilationWidth, s.Groups} {
		if v < 1 || v > limit {
			return fmt.Errorf("%w: convolution %+v has a size outside 1 to %d", ErrShape, s, limit)
		}
	}
	for _, v := range []int{s.PadTop, s.PadLeft, s.PadBottom, s.PadRight} {
		if v < 0 || v > limit {
			return fmt.Errorf("%w: convolution %+v has a padding outside 0 to %d", ErrShape, s, limit)
		}
	}
	if s.Channels%s.Groups != 0 || s.Filters%s.Groups != 0 {
		return fmt.Errorf("%w: %d channels and %d filters do not divide into %d groups", ErrShape, s.Channels, s.Filters, s.Groups)
	}
	oh, ow := s.Output()
	if oh == 0 || ow == 0 {
		return fmt.Errorf("%w: the kernel %d x %d (dilation %d x %d) is larger than the padded input %d x %d", ErrShape,
			s.KernelHeight, s.KernelWidth, s.DilationHeight, s.DilationWidth,
			s.Height+s.PadTop+s.PadBottom, s.Width+s.PadLeft+s.PadRight)
	}
	for _, e := range [][]int{
		{s.Channels, s.Height + s.PadTop + s.PadBottom, s.Width + s.PadLeft + s.PadRight},
		{s.Filters, oh + 2*s.KernelHeight*s.DilationHeight, ow + 2*s.KernelWidth*s.DilationWidth},
		{s.Channels / s.Groups, s.KernelHeight, s.KernelWidth, s.Filters},
	} {
		product := 1
		for _, v := range e {
			if v > limit/product {
				return fmt.Errorf("%w: convolution %+v has more than %d elements", ErrShape, s, limit)
			}
			product *= v
		}
	}
	return nil
}
