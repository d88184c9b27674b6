package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// det is the determinant of each square matrix in the last two dimensions.
var det = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	shape := c.in[0].shape
	n := len(shape)
	if n < 2 || shape[n-1] != shape[n-2] {
		return c.errf("shape %v has no square matrices", shape)
	}
	o, err := c.out(0, c.in[0].dtype, shape[:n-2])
	if err != nil {
		return err
	}
	side := shape[n-1]
	work, err := c.scratch(tensor.Float64, side*side)
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		detOf[float32](c, o, work, side)
	case tensor.Float64:
		detOf[float64](c, o, work, side)
	default:
		return c.refuseType(d)
	}
	return nil
})

func detOf[T float](c *prep, o, work, n int) {
	s := c.in[0].slot
	c.do(func(f *frame) {
		m, src := data[float64](f, work), data[T](f, s)
		for i := range data[T](f, o) {
			for k, v := range src[i*n*n : (i+1)*n*n] {
				m[k] = float64(v)
			}
			data[T](f, o)[i] = T(determinant(m, n))
		}
	})
}

// determinant eliminates below the diagonal, with the largest element of each column as its pivot.
func determinant(m []float64, n int) float64 {
	d := 1.0
	for k := range n {
		pivot := k
		for r := k + 1; r < n; r++ {
			if math.Abs(m[r*n+k]) > math.Abs(m[pivot*n+k]) {
				pivot = r
			}
		}
		if m[pivot*n+k] == 0 {
			return 0
		}
		if pivot != k {
			d = -d
			for i := k; i < n; i++ {
				m[k*n+i], m[pivot*n+i] = m[pivot*n+i], m[k*n+i]
			}
		}
		d *= m[k*n+k]
		for r := k + 1; r < n; r++ {
			by := m[r*n+k] / m[k*n+k]
			for i := k + 1; i < n; i++ {
				m[r*n+i] -= by * m[k*n+i]
			}
		}
	}
	return d
}
