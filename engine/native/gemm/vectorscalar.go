package gemm

// Vector functions with numbers beside the vectors, and reductions; see vector.go.

// Affine sets dst = x*a + b.
func (k *Kernel) Affine(dst, x []float32, a, b float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.affine(&dst[0], &x[0], n, a, b)
		return
	}
	for i, v := range x {
		dst[i] = v*a + b
	}
}

// Scale sets dst = x * a.
func (k *Kernel) Scale(dst, x []float32, a float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.scale(&dst[0], &x[0], n, a)
		return
	}
	for i, v := range x {
		dst[i] = v * a
	}
}

// Shift sets dst = x + a.
func (k *Kernel) Shift(dst, x []float32, a float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.shift(&dst[0], &x[0], n, a)
		return
	}
	for i, v := range x {
		dst[i] = v + a
	}
}

// Clip sets dst = min(max(x, a), b); NaN stays NaN.
func (k *Kernel) Clip(dst, x []float32, a, b float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.clip(&dst[0], &x[0], n, a, b)
		return
	}
	for i, v := range x {
		dst[i] = clip(v, a, b)
	}
}

// Axpy sets dst = dst + x*a.
func (k *Kernel) Axpy(dst, x []float32, a float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	x = x[:n]
	if k.vector != nil {
		k.vector.axpy(&dst[0], &x[0], n, a)
		return
	}
	for i, v := range x {
		dst[i] = dst[i] + v*a
	}
}

// Sum is the sum of x, 0 for none. Its error is at most that of adding len(x)/16
// numbers one after the other.
func (k *Kernel) Sum(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if k.vector != nil {
		return k.vector.sum(&x[0], len(x))
	}
	var s [16]float32
	for i, v := range x {
		s[i%16] += v
	}
	return pairwise(&s)
}

// Dot is the sum of x*y over the elements of x, 0 for none; y must not be
// shorter. Its error is as that of [Kernel.Sum].
func (k *Kernel) Dot(x, y []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	y = y[:len(x)]
	if k.vector != nil {
		return k.vector.dot(&x[0], &y[0], len(x))
	}
	var s [16]float32
	for i, v := range x {
		s[i%16] += v * y[i]
	}
	return pairwise(&s)
}

func pairwise(s *[16]float32) float32 {
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}

// Largest is the largest element of x, NaN if there is one, minus infinity for
// no elements.
func (k *Kernel) Largest(x []float32) float32 {
	if len(x) > 0 && k.vector != nil {
		return k.vector.largest(&x[0], len(x))
	}
	m := -infinity
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

// Smallest is the smallest element of x, NaN if there is one, infinity for no
// elements.
func (k *Kernel) Smallest(x []float32) float32 {
	if len(x) > 0 && k.vector != nil {
		return k.vector.smallest(&x[0], len(x))
	}
	m := infinity
	for _, v := range x {
		m = min(m, v)
	}
	return m
}
