package gemm

// Scale sets dst = x * factor, element by element.
func (k *Kernel) Scale(dst, x []float32, factor float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = v * factor
	}
}

// Add sets dst = x + y, element by element.
func (k *Kernel) Add(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i, v := range x {
		dst[i] = v + y[i]
	}
}
