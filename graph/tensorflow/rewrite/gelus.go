package rewrite

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// gelus makes one Gelu, of opset 20, of what TensorFlow writes for one, in float32:
//
//	x / 2 * (1 + erf(x / sqrt(2))),  x / 2 * erfc(-x / sqrt(2)),  x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
//
// whatever the order of the factors. That 1 - erf is computed in float64, as erfc is, is lost: far below zero, where Gelu is next to nothing, it has fewer digits.
func gelus(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Mul") || w.gone[n] || !w.isFloat32(n.Outputs[0]) {
			continue
		}
		if x, approximate, ok := w.gelu(n.Outputs[0]); ok {
			attrs := graph.Attrs{}
			if approximate {
				attrs["approximate"] = "tanh"
			}
			w.into(n, "Gelu", attrs, x)
			changes++
		}
	}
	return changes, nil
}

// gelu returns what a value is the Gelu of.
func (w *work) gelu(name string) (x string, approximate, ok bool) {
	isCore := func(name string) bool {
		_, _, ok := w.geluCore(name)
		return ok
	}
	_, factors, ok := w.product(name, isCore)
	at := slices.IndexFunc(factors, isCore)
	if !ok || at < 0 {
		return "", false, false
	}
	core := factors[at]
	x, approximate, _ = w.geluCore(core)
	// Again, for x may be a product itself.
	scale, factors, ok := w.product(name, func(name string) bool { return name == x || name == core })
	slices.Sort(factors)
	want := []string{x, core}
	slices.Sort(want)
	return x, approximate, ok && near(scale, 0.5) && slices.Equal(factors, want)
}

// geluCore matches 1 + erf(x / sqrt(2)), erfc of its negative, or 1 + tanh of the approximation.
func (w *work) geluCore(name string) (x string, approximate, ok bool) {
	wide := false
	if n := w.made[name]; standard(n, "Cast") && n.Attrs.Int("to", 0) == int64(tensor.Float32) && w.values[n.Inputs[0]].DType == tensor.Float64 {
		name, wide = n.Inputs[0], true
	}
	y, sign, ok := w.oneMore(name)
	if !ok {
		return "", false, false
	}
	n := w.made[y]
	switch {
	case standard(n, "Erf"):
		from := n.Inputs[0]
		if wide {
			cast := w.made[from]
			if !standard(cast, "Cast") {
				return "", false, false
			}
			from = cast.Inputs[0]
		}
		x, ok = w.times(from, sign*math.Sqrt2/2)
		return x, false, ok && w.isFloat32(x)
	case standard(n, "Tanh") && !wide && sign == 1:
		x, ok = w.cubic(n.Inputs[0])
		return x, true, ok && w.isFloat32(x)
	}
	return "", false, false
}

// times returns x where a value is x times a number.
func (w *work) times(name string, by float64) (x string, ok bool) {
	scale := 1.0
	for range maxFactors {
		if near(scale, by) {
			return name, true
		}
		n := w.made[name]
		switch {
		case standard(n, "Neg"):
			scale, name = -scale, n.Inputs[0]
		case standard(n, "Mul") && w.number(n, 0, &scale, 1):
			name = n.Inputs[1]
		case standard(n, "Mul", "Div") && w.number(n, 1, &scale, map[string]float64{"Mul": 1, "Div": -1}[n.OpType]):
			name = n.Inputs[0]
		default:
			return "", false
		}
	}
	return "", false
}

// cubic matches sqrt(2 / pi) * (x + 0.044715 * x^3), which may have x taken out.
func (w *work) cubic(name string) (x string, ok bool) {
	root, part := math.Sqrt(2/math.Pi), 0.044715
	isSum := func(name string) bool { return standard(w.made[name], "Add") }
	scale, factors, ok := w.product(name, isSum)
	if !ok || !near(scale, root) {
		return "", false
	}
	at := slices.IndexFunc(factors, isSum)
	if at < 0 {
		return "", false
	}
	sum := w.made[factors[at]]
	rest := slices.Delete(slices.Clone(factors), at, at+1)
	for i := range 2 {
		x, power := sum.Inputs[i], 3
		if c, one := w.scalar(x, sum.Inputs[1-i]); one && c == 1 && len(rest) == 1 {
			x, power = rest[0], 2
		} else if len(rest) > 0 {
			continue
		}
		scale, factors, ok := w.product(sum.Inputs[1-i], func(name string) bool { return name == x })
		if ok && near(scale, part) && slices.Equal(factors, slices.Repeat([]string{x}, power)) {
			return x, true
		}
	}
	return "", false
}
