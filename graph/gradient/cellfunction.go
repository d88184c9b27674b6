package gradient

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
)

// A cellFunction is an activation of a recurrent operator.
type cellFunction struct {
	name        string
	alpha, beta float64
}

// activations returns those of each direction. Each takes from the lists of alphas and betas what it needs.
func (k *recurrence) activations(defaults []string) ([][]cellFunction, error) {
	names := k.n.Attrs.Strings("activations", nil)
	if len(names) == 0 {
		names = slices.Repeat(defaults, k.dirs)
	}
	if len(names) != k.dirs*len(defaults) {
		return nil, fmt.Errorf("%w: %s: it has %d activations for %d directions", ErrNoGradient, nodeName(k.n), len(names), k.dirs)
	}
	alphas, betas := k.n.Attrs.Floats("activation_alpha", nil), k.n.Attrs.Floats("activation_beta", nil)
	take := func(list *[]float32, otherwise float64) float64 {
		if len(*list) == 0 {
			return otherwise
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	all := make([][]cellFunction, k.dirs)
	for i, name := range names {
		f := cellFunction{name: strings.ToLower(name)}
		switch f.name {
		case "sigmoid", "tanh", "relu", "softsign", "softplus":
		case "affine":
			f.alpha, f.beta = take(&alphas, 1), take(&betas, 0)
		case "leakyrelu":
			f.alpha = take(&alphas, 0.01)
		case "thresholdedrelu", "elu":
			f.alpha = take(&alphas, 1)
		case "scaledtanh":
			f.alpha, f.beta = take(&alphas, 1), take(&betas, 1)
		case "hardsigmoid":
			f.alpha, f.beta = take(&alphas, 0.2), take(&betas, 0.5)
		default:
			return nil, fmt.Errorf("%w: %s: activation %q", ErrNoGradient, nodeName(k.n), name)
		}
		all[i/len(defaults)] = append(all[i/len(defaults)], f)
	}
	return all, nil
}

func (f cellFunction) value(b *builder, x string) string {
	alpha := graph.Attrs{"alpha": float32(f.alpha)}
	switch f.name {
	case "sigmoid":
		return b.op("Sigmoid", x)
	case "tanh":
		return b.op("Tanh", x)
	case "relu":
		return b.op("Relu", x)
	case "softsign":
		return b.op("Softsign", x)
	case "softplus":
		return b.op("Softplus", x)
	case "affine":
		return b.op("Add", b.op("Mul", x, b.num(f.alpha)), b.num(f.beta))
	case "leakyrelu":
		return b.with(alpha, "LeakyRelu", x)
	case "thresholdedrelu":
		return b.with(alpha, "ThresholdedRelu", x)
	case "elu":
		return b.with(alpha, "Elu", x)
	case "scaledtanh":
		return b.op("Mul", b.op("Tanh", b.op("Mul", x, b.num(f.beta))), b.num(f.alpha))
	}
	alpha["beta"] = float32(f.beta)
	return b.with(alpha, "HardSigmoid", x)
}

// slope is the derivative at x, where the value is y. It may be a scalar.
func (f cellFunction) slope(b *builder, x, y string) string {
	above := func(x string, limit float64) string { return b.op("Greater", x, b.num(limit)) }
	switch f.name {
	case "sigmoid":
		return b.op("Mul", y, b.op("Sub", b.num(1), y))
	case "tanh":
		return b.op("Sub", b.num(1), b.square(y))
	case "relu":
		return b.cast(above(x, 0), b.dtype)
	case "softsign":
		return b.op("Reciprocal", b.square(b.op("Add", b.num(1), b.op("Abs", x))))
	case "softplus":
		return b.op("Sigmoid", x)
	case "affine":
		return b.num(f.alpha)
	case "leakyrelu":
		return b.op("Where", above(x, 0), b.num(1), b.num(f.alpha))
	case "thresholdedrelu":
		return b.cast(above(x, f.alpha), b.dtype)
	case "elu":
		return b.op("Where", above(x, 0), b.num(1), b.op("Add", y, b.num(f.alpha)))
	case "scaledtanh":
		return b.op("Mul", b.num(f.alpha*f.beta), b.op("Sub", b.num(1), b.square(b.op("Tanh", b.op("Mul", x, b.num(f.beta))))))
	}
	inside := b.op("And", above(y, 0), b.op("Less", y, b.num(1)))
	return b.op("Mul", b.cast(inside, b.dtype), b.num(f.alpha))
}
