package native_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestMeansOfIntegers: the sum may be beyond the type, and beyond 64 bits; the mean is truncated towards zero.
func TestMeansOfIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	whole := func(d tensor.DType, signed bool) []*big.Int { // the ends of the type
		bits := uint(8 * d.Size())
		low, high := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), bits)
		if signed {
			high.Rsh(high, 1)
			low.Neg(high)
		}
		return []*big.Int{low, high.Sub(high, big.NewInt(1))}
	}
	for _, d := range []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64} {
		for _, axis := range []int64{0, 1} { // rows are added to rows, and each row up
			ends := whole(d, d.IsSigned())
			const rows, columns = 5, 6
			x := tensor.Must(tensor.New(d, rows, columns))
			sums := map[int]*big.Int{}
			for i := range rows * columns {
				v := new(big.Int).Sub(ends[1], big.NewInt(r.Int64N(3)))
				if i%4 == 0 && d.IsSigned() {
					v = new(big.Int).Add(ends[0], big.NewInt(r.Int64N(3)))
				}
				put(x, i, v)
				k := i % columns
				if axis == 1 {
					k = i / columns
				}
				if sums[k] == nil {
					sums[k] = new(big.Int)
				}
				sums[k].Add(sums[k], v)
			}
			count := map[int64]int64{0: rows, 1: columns}[axis]
			got := apply(t, 13, node("ReduceMean", graph.Attrs{"axes": []int64{axis}, "keepdims": int64(0)}, []string{"x0"}, "y0"), x)[0]
			for k, sum := range sums {
				want := new(big.Int).Quo(sum, big.NewInt(count))
				if text := fmt.Sprint(elementAt(got, k)); text != want.String() {
					t.Errorf("%v along axis %d: element %d is %s, want %v", d, axis, k, text, want)
				}
			}
		}
	}
}

// put sets an element of an integer tensor.
func put(x *tensor.Tensor, i int, v *big.Int) {
	switch d := x.Raw().(type) {
	case []int8:
		d[i] = int8(v.Int64())
	case []int16:
		d[i] = int16(v.Int64())
	case []int32:
		d[i] = int32(v.Int64())
	case []int64:
		d[i] = v.Int64()
	case []uint8:
		d[i] = uint8(v.Uint64())
	case []uint16:
		d[i] = uint16(v.Uint64())
	case []uint32:
		d[i] = uint32(v.Uint64())
	case []uint64:
		d[i] = v.Uint64()
	}
}

func elementAt(x *tensor.Tensor, i int) any {
	switch d := x.Raw().(type) {
	case []int8:
		return d[i]
	case []int16:
		return d[i]
	case []int32:
		return d[i]
	case []int64:
		return d[i]
	case []uint8:
		return d[i]
	case []uint16:
		return d[i]
	case []uint32:
		return d[i]
	}
	return tensor.Data[uint64](x)[i]
}
