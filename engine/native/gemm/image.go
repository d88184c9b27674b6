package gemm

import "unsafe"

// image is where the elements of an NCHW image lie once it has been surrounded
// by zeros.
type image struct {
	channels, height, width int
	top, left               int
	padHeight, padWidth     int // whole sizes, margins included
}

// padded says whether the surrounded image differs from the image itself.
func (m *image) padded() bool { return m.padHeight != m.height || m.padWidth != m.width }

func (m *image) len() int       { return m.channels * m.height * m.width }
func (m *image) paddedLen() int { return m.channels * m.padHeight * m.padWidth }

// clear writes zeros to rows lo to hi (of the surrounded image) of every channel.
func (m *image) clear(dst []float32, lo, hi int) {
	plane := m.padHeight * m.padWidth
	if lo == 0 && hi == m.padHeight {
		clear(dst[:m.channels*plane])
		return
	}
	for c := range m.channels {
		clear(dst[c*plane+lo*m.padWidth : c*plane+hi*m.padWidth])
	}
}

// fill copies what lies in rows lo to hi (of the surrounded image) of every
// channel to between the margins.
func (m *image) fill(k *Kernel, dst, src []float32, lo, hi int) {
	lo, hi = max(m.top, lo), min(m.top+m.height, hi)
	if lo >= hi {
		return
	}
	k.copyPlanes(&copyArgs{
		dst: &dst[lo*m.padWidth+m.left], src: &src[(lo-m.top)*m.width],
		planes: m.channels, rows: hi - lo, cols: m.width,
		dstRow: 4 * m.padWidth, srcRow: 4 * m.width,
		dstPlane: 4 * m.padHeight * m.padWidth, srcPlane: 4 * m.height * m.width,
	})
}

// copyArgs is rows of planes that are copied from one layout to another; the
// strides are in bytes. The assembly knows this layout: asm/planes.go repeats
// it, and a test compares the two.
type copyArgs struct {
	dst, src           *float32
	planes, rows, cols int
	dstRow, srcRow     int
	dstPlane, srcPlane int
}

func (k *Kernel) copyPlanes(t *copyArgs) {
	if k.isa != isaGo {
		copyPlanesAsm(k.isa, t)
		return
	}
	copyPlanesGo(t)
}

func copyPlanesGo(t *copyArgs) {
	for p := range t.planes {
		for r := range t.rows {
			dst := unsafe.Add(unsafe.Pointer(t.dst), p*t.dstPlane+r*t.dstRow)
			src := unsafe.Add(unsafe.Pointer(t.src), p*t.srcPlane+r*t.srcRow)
			copy(unsafe.Slice((*float32)(dst), t.cols), unsafe.Slice((*float32)(src), t.cols))
		}
	}
}
