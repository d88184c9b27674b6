package cli

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/tensor"
)

// cost is how far an output that was computed in float16 is from that of float32.
type cost struct {
	// Largest and Mean are of the differences without their signs.
	Largest float64 `json:"largest_difference"`
	Mean    float64 `json:"mean_difference"`
	// Of is the largest number of float32's output, without its sign.
	Of float64 `json:"largest_number"`
}

// String is the line for people.
func (c *cost) String() string {
	share := ""
	if c.Of > 0 {
		share = fmt.Sprintf(" (%.2g %% of the largest number)", 100*c.Largest/c.Of)
	}
	return fmt.Sprintf("float16 is off by at most %.3g%s, by %.3g in the mean", c.Largest, share, c.Mean)
}

// costOf compares float32 outputs; nil stands for one of another type. A number that is finite in float32 and not in float16 is an error: float16 is too narrow for the model.
func costOf(got, exact *tensor.Tensor) (*cost, error) {
	if got == nil || exact == nil || got.DType() != tensor.Float32 || exact.DType() != tensor.Float32 || !got.Shape().Equal(exact.Shape()) {
		return nil, nil
	}
	c := &cost{}
	var lost, first int
	g, e := tensor.Data[float32](got), tensor.Data[float32](exact)
	for i := range e {
		a, b := float64(g[i]), float64(e[i])
		if finite := b-b == 0; finite != (a-a == 0) {
			if lost++; lost == 1 {
				first = i
			}
			continue
		} else if !finite {
			continue
		}
		c.Largest, c.Of = math.Max(c.Largest, math.Abs(a-b)), math.Max(c.Of, math.Abs(b))
		c.Mean += math.Abs(a-b) / float64(len(e))
	}
	if lost > 0 {
		return c, fmt.Errorf("%d of %d numbers are beyond float16's range on the way: element %d is %v, and %v in float32", lost, len(e), first, g[first], e[first])
	}
	return c, nil
}
