package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// ErrChanged says that the passes over a converted graph have changed a number by more than rounding. It names the output, and the pass.
var ErrChanged = errors.New("the passes changed what the model computes")

// ErrUnverified says that a model could not be verified: nothing is known of it, neither good nor bad.
var ErrUnverified = errors.New("not verified")

// verifySets is how many sets of random inputs a model is verified with.
const verifySets = 3

// openLengths are tried, in this order, for the lengths that a model leaves open: some models take none that is too small.
var openLengths = []int{2, 16, 64}

// largestIntegers are the largest random integers, tried in this order: they may be indexes of something short.
var largestIntegers = []int{7, 1, 0}

// VerifyImport holds a graph that was imported with opts against its plain translation, operator by operator: both run on random inputs in the native engine. Floats
// may differ by 1e-4 of the largest one of their tensor (float64 by 1e-9, 16 bits by 2e-2), all else not at all. The errors are ErrChanged, ErrUnverified where the plain translation runs on none
// of the inputs that are tried, and ctx's. It has the weights in memory once more.
func VerifyImport(ctx context.Context, path string, opts tensorflow.Options, m *model.Model) error {
	opts.Evaluator = native.Evaluator()
	passes := opts.Passes
	if passes == nil {
		passes = rewrite.All()
	}
	opts.Passes = []rewrite.Pass{}
	plain, err := tensorflow.Import(ctx, path, opts)
	if err != nil {
		return err
	}
	sets, err := references(ctx, plain.Graph)
	if err != nil {
		return err
	}
	changed := differs(ctx, m.Graph, sets)
	if changed == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range passes {
		opts.Passes = passes[:i+1]
		res, err := tensorflow.Import(ctx, path, opts)
		if err == nil {
			err = differs(ctx, res.Graph, sets)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%w: pass %s: %w; `--verify=false` writes the model all the same", ErrChanged, passes[i].Name, err)
		}
	}
	return fmt.Errorf("%w: %w; `--verify=false` writes the model all the same", ErrChanged, changed)
}

// reference is what the plain translation makes of random inputs.
type reference struct{ in, out map[string]*tensor.Tensor }

// references runs the plain translation.
func references(ctx context.Context, g *graph.Graph) ([]reference, error) {
	s, err := native.New(native.Config{}).Open(ctx, g, engine.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w: the plain translation does not open: %w", ErrUnverified, err)
	}
	defer s.Close()
	var last error
	for _, length := range openLengths {
		for _, largest := range largestIntegers {
			sets, err := runRandom(ctx, s, g.Placeholders(), length, largest)
			if err == nil || ctx.Err() != nil {
				return sets, ctx.Err()
			}
			last = err
		}
	}
	return nil, fmt.Errorf("%w: the plain translation does not run on random inputs: %w", ErrUnverified, last)
}

// runRandom runs a session on random inputs, which are the same each time.
func runRandom(ctx context.Context, s engine.Session, inputs []graph.Value, length, largest int) ([]reference, error) {
	var sets []reference
	for i := range verifySets {
		rng := rand.New(rand.NewPCG(uint64(i), 14))
		in := map[string]*tensor.Tensor{}
		for _, v := range inputs {
			t, err := randomTensor(rng, v, length, largest)
			if err != nil {
				return nil, err
			}
			in[v.Name] = t
		}
		out, err := engine.Run(ctx, s, in)
		if err != nil {
			return nil, err
		}
		sets = append(sets, reference{in: in, out: out})
	}
	return sets, nil
}

// randomTensor has floats of a normal distribution, booleans, or integers from 0 to the largest.
func randomTensor(rng *rand.Rand, v graph.Value, length, largest int) (*tensor.Tensor, error) {
	const most = 1 << 26 // elements
	if v.Container != "" {
		return nil, fmt.Errorf("input %q is %v, of which there is no random one", v.Name, v)
	}
	shape := make(tensor.Shape, len(v.Shape))
	if v.Shape == nil { // any number of dimensions
		shape = tensor.Shape{length}
	}
	for i, d := range v.Shape {
		if shape[i] = int(d.Size); !d.Known() {
			shape[i] = length
		}
	}
	if n, err := shape.Check(); err != nil || n > most {
		return nil, fmt.Errorf("input %q would have the shape %v: more than %d elements", v.Name, shape, most)
	}
	t, err := tensor.New(v.DType, shape...)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", v.Name, err)
	}
	whole := func() int { return rng.IntN(largest + 1) }
	switch d := t.Raw().(type) {
	case []float32:
		fill(d, func() float32 { return float32(rng.NormFloat64()) })
	case []float64:
		fill(d, rng.NormFloat64)
	case []tensor.Half:
		fill(d, func() tensor.Half { return tensor.HalfOf64(rng.NormFloat64()) })
	case []tensor.BHalf:
		fill(d, func() tensor.BHalf { return tensor.BHalfOf64(rng.NormFloat64()) })
	case []bool:
		fill(d, func() bool { return rng.IntN(2) == 1 })
	case []int8:
		fill(d, func() int8 { return int8(whole()) })
	case []int16:
		fill(d, func() int16 { return int16(whole()) })
	case []int32:
		fill(d, func() int32 { return int32(whole()) })
	case []int64:
		fill(d, func() int64 { return int64(whole()) })
	case []uint8:
		fill(d, func() uint8 { return uint8(whole()) })
	case []uint16:
		fill(d, func() uint16 { return uint16(whole()) })
	case []uint32:
		fill(d, func() uint32 { return uint32(whole()) })
	case []uint64:
		fill(d, func() uint64 { return uint64(whole()) })
	default:
		return nil, fmt.Errorf("input %q is of %v, of which there are no random ones", v.Name, v.DType)
	}
	return t, nil
}

func fill[T any](d []T, next func() T) {
	for i := range d {
		d[i] = next()
	}
}

// differs runs a graph on the inputs of the references, and says which output is another one.
func differs(ctx context.Context, g *graph.Graph, sets []reference) error {
	s, err := native.New(native.Config{}).Open(ctx, g.Clone(), engine.Options{})
	if err != nil {
		return fmt.Errorf("the graph does not open: %w", err)
	}
	defer s.Close()
	for _, set := range sets {
		out, err := engine.Run(ctx, s, set.in)
		if err != nil {
			return fmt.Errorf("the graph does not run: %w", err)
		}
		for _, v := range g.Outputs {
			want := set.out[v.Name]
			if want == nil {
				return fmt.Errorf("output %q is new", v.Name)
			}
			if err := conformance.Within(out[v.Name], want, rounding(want)); err != nil {
				return fmt.Errorf("output %q: %w", v.Name, err)
			}
		}
		if len(g.Outputs) != len(set.out) {
			return fmt.Errorf("%d outputs are left of %d", len(g.Outputs), len(set.out))
		}
	}
	return nil
}

// rounding is by how much the elements of a tensor may differ: a part of the largest one, since what is small may be the difference of what is large.
func rounding(t *tensor.Tensor) conformance.Tolerance {
	part := map[tensor.DType]float64{tensor.Float32: 1e-4, tensor.Float64: 1e-9, tensor.Float16: 2e-2, tensor.BFloat16: 2e-2}[t.DType()]
	largest := 0.0
	see := func(v float64) {
		if v = math.Abs(v); !math.IsInf(v, 0) && v > largest {
			largest = v
		}
	}
	switch d := t.Raw().(type) {
	case []float32:
		for v := range slices.Values(d) {
			see(float64(v))
		}
	case []float64:
		for v := range slices.Values(d) {
			see(v)
		}
	case []tensor.Half:
		for v := range slices.Values(d) {
			see(float64(v.Float32()))
		}
	case []tensor.BHalf:
		for v := range slices.Values(d) {
			see(float64(v.Float32()))
		}
	}
	return conformance.Tolerance{Abs: part * largest, Rel: part}
}
