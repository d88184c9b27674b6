package cli

import (
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// TestCostOf: differences are counted by size, and what float16 lost to infinity is an error that names the place.
func TestCostOf(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	c, err := costOf(tensor.Vector(1, -2.5, inf, nan), tensor.Vector(1, -2, inf, nan))
	if err != nil || c.Largest != 0.5 || c.Mean != 0.125 || c.Of != 2 || c.String() != "float16 is off by at most 0.5 (25 % of the largest number), by 0.125 in the mean" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := costOf(tensor.Vector(0, inf), tensor.Vector[float32](0, 70000)); c == nil || err == nil || !strings.Contains(err.Error(), "1 of 2 numbers are beyond float16's range on the way: element 1 is +Inf, and 70000") {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := costOf(tensor.Vector[int64](1), tensor.Vector[int64](1)); c != nil || err != nil {
		t.Errorf("integers: %+v, %v", c, err)
	}
}
