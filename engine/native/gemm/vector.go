package gemm

// Scale sets dst = x * factor, element by element.
func (k *Kernel) Scale(dst, x []float32, factor float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = v * factor
	}
}
