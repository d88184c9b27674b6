package media

import "math"

// resampler scales bitmaps: by area averaging where pixels become fewer, by linear interpolation where they become
// more. Both are separable, so that it works on one axis after the other.
type resampler struct {
	across, down axis
	mid          []float32
}

// axis holds, for each target pixel, the source pixels that it is made of and their weights, which sum to 1.
type axis struct {
	first   []int
	start   []int // into weights; one more than pixels
	weights []float32
}

// plan fills the axis for the part [from, from+length) of a line of size pixels, scaled to n pixels.
func (a *axis) plan(size, from, length, n int) {
	a.first, a.start, a.weights = a.first[:0], a.start[:0], a.weights[:0]
	step := float64(length) / float64(n)
	for i := range n {
		a.start = append(a.start, len(a.weights))
		low, high := float64(from)+float64(i)*step, float64(from)+float64(i+1)*step
		if step >= 1 {
			first := int(low)
			a.first = append(a.first, first)
			for p := first; p < from+length && float64(p) < high-1e-9; p++ {
				cover := min(high, float64(p+1)) - max(low, float64(p))
				a.weights = append(a.weights, float32(cover/step))
			}
			continue
		}
		centre := (low+high)/2 - 0.5
		p := int(math.Floor(centre))
		part := float32(centre - float64(p))
		switch {
		case p < from:
			a.first, a.weights = append(a.first, from), append(a.weights, 1)
		case p+1 >= min(from+length, size):
			a.first, a.weights = append(a.first, p), append(a.weights, 1)
		default:
			a.first, a.weights = append(a.first, p), append(a.weights, 1-part, part)
		}
	}
	a.start = append(a.start, len(a.weights))
}

// run scales the part of in at (x, y) of w by h pixels to the whole of out, whose size is set.
func (r *resampler) run(in *bitmap, x, y, w, h int, out *bitmap) {
	resample(r, in.pix, in.w, in.h, in.c, [4]int{x, y, w, h}, out.pix, out.w, out.h)
}

// resample scales the part (x, y, width, height) of in, which has inW by inH pixels of c samples, to the whole of out.
func resample[T uint8 | uint16](r *resampler, in []T, inW, inH, c int, part [4]int, out []T, outW, outH int) {
	x, y, w, h := part[0], part[1], part[2], part[3]
	r.across.plan(inW, x, w, outW)
	r.down.plan(inH, y, h, outH)
	r.mid = sized(r.mid, outW*h*c)
	for row := range h {
		src := in[(y+row)*inW*c:][:inW*c]
		dst := r.mid[row*outW*c:][:outW*c]
		for i := range outW {
			weights := r.across.weights[r.across.start[i]:r.across.start[i+1]]
			for k := range c {
				var sum float32
				at := r.across.first[i]*c + k
				for _, weight := range weights {
					sum += weight * float32(src[at])
					at += c
				}
				dst[i*c+k] = sum
			}
		}
	}
	stride, most := outW*c, float32(^T(0))
	for row := range outH {
		weights := r.down.weights[r.down.start[row]:r.down.start[row+1]]
		first := r.down.first[row] - y
		for i := range stride {
			var sum float32
			for k, weight := range weights {
				sum += weight * r.mid[(first+k)*stride+i]
			}
			out[row*stride+i] = T(min(sum+0.5, most))
		}
	}
}
