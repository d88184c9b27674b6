package gemm

import "unsafe"

// Eager are all kernels of this processor, made to cut even the smallest call
// into parts.
func Eager() []*Kernel {
	var ks []*Kernel
	for _, k := range available {
		eager := *k
		eager.grain = 1
		ks = append(ks, &eager)
	}
	return ks
}

// TileLayout is the offset of each field of tileArgs, in the order in which
// asm/layout.go lists them.
func TileLayout() []uintptr {
	var t tileArgs
	return []uintptr{
		unsafe.Offsetof(t.a), unsafe.Offsetof(t.steps), unsafe.Offsetof(t.depth), unsafe.Offsetof(t.b),
		unsafe.Offsetof(t.ldb), unsafe.Offsetof(t.c), unsafe.Offsetof(t.ldc), unsafe.Offsetof(t.col),
		unsafe.Offsetof(t.row), unsafe.Offsetof(t.lo), unsafe.Offsetof(t.hi), unsafe.Offsetof(t.flags),
		unsafe.Offsetof(t.cols), unsafe.Offsetof(t.rows),
	}
}

// PlaneLayout is the same for planeArgs and asm/depthwise.go.
func PlaneLayout() []uintptr {
	var t planeArgs
	return []uintptr{
		unsafe.Offsetof(t.src), unsafe.Offsetof(t.steps), unsafe.Offsetof(t.weights), unsafe.Offsetof(t.taps),
		unsafe.Offsetof(t.dst), unsafe.Offsetof(t.rows), unsafe.Offsetof(t.cols), unsafe.Offsetof(t.srcStride),
		unsafe.Offsetof(t.dstStride), unsafe.Offsetof(t.bias), unsafe.Offsetof(t.lo), unsafe.Offsetof(t.hi),
		unsafe.Offsetof(t.flags),
	}
}

// CopyLayout is the same for copyArgs and asm/planes.go.
func CopyLayout() []uintptr {
	var t copyArgs
	return []uintptr{
		unsafe.Offsetof(t.dst), unsafe.Offsetof(t.src), unsafe.Offsetof(t.planes), unsafe.Offsetof(t.rows),
		unsafe.Offsetof(t.cols), unsafe.Offsetof(t.dstRow), unsafe.Offsetof(t.srcRow), unsafe.Offsetof(t.dstPlane),
		unsafe.Offsetof(t.srcPlane),
	}
}
