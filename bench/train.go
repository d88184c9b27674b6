package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// Training steps that a person wrote; see handmade/main.go.
var (
	//go:embed handmade/dense.onnx
	handmadeDense []byte
	//go:embed handmade/conv.onnx
	handmadeConv []byte
)

// trainBatch is the number of examples in a step.
const trainBatch = 100

// trainRows are examples a second of training by SGD, against graphs that were made by hand and run in onnxruntime: with one
// thread each, and with all cores.
func trainRows(ctx context.Context, o options) ([]Row, error) {
	library, err := openLibrary(o)
	if err != nil {
		return nil, err
	}
	engines := []engine.Engine{library, native.New(native.Config{})}
	dense, err := openTraining(denseNet, handmadeDense, 784)
	if err != nil {
		return nil, err
	}
	conv, err := openTraining(smallConvNet, handmadeConv, 1, 28, 28)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, kind := range []struct {
		name    string
		threads []int // to choose from
		clock   clock
	}{{"one thread", []int{1}, threadTime}, {"all cores", threadCounts(), wallTime}} {
		var best Row
		for i, e := range engines {
			name := fmt.Sprintf("training 784-128-32-10, %s, %s", e.Name(), kind.name)
			r, err := dense.row(ctx, o, e, kind.threads, kind.clock, name, []float64{0.95, 0.7}[i])
			if err != nil {
				return rows, err
			}
			rows = append(rows, r)
			name = fmt.Sprintf("training 5x5x16, 3x3x32, 64, 10, the better engine (%s), %s", e.Name(), kind.name)
			if r, err = conv.row(ctx, o, e, kind.threads, kind.clock, name, 2); err != nil {
				return rows, err
			}
			if r.Ratio > best.Ratio {
				best = r
			}
		}
		rows = append(rows, best)
	}
	return rows, nil
}

// threadCounts are what "all cores" may mean: a net may be too small to be shared.
func threadCounts() []int {
	var counts []int
	for n := 1; n < runtime.NumCPU(); n *= 2 {
		counts = append(counts, n)
	}
	return append(counts, runtime.NumCPU())
}

// training is a net's training step, as package gradient makes it and as a person did.
type training struct {
	own, peer *graph.Graph
	first     map[string]*tensor.Tensor
}

func openTraining(net func() (*graph.Graph, error), handmade []byte, input ...int) (*training, error) {
	g, err := net()
	if err != nil {
		return nil, err
	}
	built, err := gradient.Build(g, gradient.Options{Loss: gradient.CrossEntropy, Optimizer: &gradient.Optimizer{Kind: gradient.SGD}, NoGradients: true})
	if err != nil {
		return nil, err
	}
	t := &training{}
	t.own, t.first = gradient.Feed(built)
	if t.peer, err = onnx.Decode(handmade, onnx.Options{}); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(7, 8))
	target := tensor.Must(tensor.New(tensor.Int64, trainBatch))
	for i := range tensor.Data[int64](target) {
		tensor.Data[int64](target)[i] = random.Int64N(10)
	}
	t.first["x"] = randomTensor(random, 0.5, append([]int{trainBatch}, input...)...)
	t.first[gradient.Target] = target
	t.first[gradient.LearningRate] = tensor.Scalar[float32](0.01)
	return t, nil
}

// sets are two sets of tensors for a training step: what one gives is what the other takes.
func (t *training) sets(g *graph.Graph) (sets [2]tensors, err error) {
	for k := range sets {
		for _, v := range g.Placeholders() {
			first := t.first[v.Name]
			if first == nil {
				return sets, fmt.Errorf("training step %q takes %q, which has no first value", g.Name, v.Name)
			}
			sets[k].in = append(sets[k].in, first.Clone())
		}
	}
	for _, v := range g.Outputs {
		for k := range sets {
			out := tensor.Scalar[float32](0)
			for i, in := range g.Placeholders() {
				if v.Name == gradient.NewPrefix+in.Name {
					out = sets[1-k].in[i]
				}
			}
			sets[k].out = append(sets[k].out, out)
		}
	}
	return sets, nil
}

// A runner is a side with what it holds.
type runner struct {
	run     side
	close   func() error
	threads int
}

// row measures an engine against the graph made by hand. Each side has as many of the threads as make it fastest.
func (t *training) row(ctx context.Context, o options, e engine.Engine, threads []int, now clock, name string, target float64) (_ Row, err error) {
	fail := func(err error) (Row, error) { return Row{}, fmt.Errorf("%s: %w", name, err) }
	peer, err := fastest(ctx, threads, t.openPeer)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	own, err := fastest(ctx, threads, func(threads int) (*runner, error) { return t.openOwn(ctx, e, threads) })
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, own.close()) }()
	o.longer = len(threads) > 1 // all cores at once are free less often than one is
	pairs, err := alternate(ctx, o, now, own.run, peer.run)
	if err != nil {
		return fail(err)
	}
	rate := func(seconds float64) float64 { return trainBatch / seconds }
	r := row(name, "examples/s", "hand-made graph in onnxruntime", mapped(pairs, rate), target, false)
	if len(threads) > 1 {
		r.Note = fmt.Sprintf("%d threads against %d", own.threads, peer.threads)
	}
	return r, nil
}

func (t *training) openPeer(threads int) (*runner, error) {
	sets, err := t.sets(t.peer)
	if err != nil {
		return nil, err
	}
	r, err := openRaw(t.peer, threads, sets[:]...)
	if err != nil {
		return nil, err
	}
	return &runner{run: r.run, close: r.close, threads: threads}, nil
}

func (t *training) openOwn(ctx context.Context, e engine.Engine, threads int) (*runner, error) {
	opts := engine.Options{Threads: threads}
	if e.Name() == onnxruntime.Name {
		opts.Settings = map[string]string{"spinning": "true"} // as the library does by itself, and so the peer
	}
	s, err := e.Open(ctx, t.own, opts)
	if err != nil {
		return nil, err
	}
	sets, err := t.sets(t.own)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	r := &runner{run: sessionSide(s, sets[:]...), close: s.Close, threads: threads}
	if err := t.same(ctx, r.run, sets[0]); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return r, nil
}

// fastest opens a side with as many threads as make it fastest.
func fastest(ctx context.Context, threads []int, open func(threads int) (*runner, error)) (best *runner, err error) {
	if len(threads) == 1 {
		return open(threads[0])
	}
	var record float64
	for _, n := range threads {
		r, err := open(n)
		if err == nil {
			var pairs []pair
			if pairs, err = alternate(ctx, options{short: true, rounds: 1}, wallTime, r.run, r.run); err != nil {
				err = errors.Join(err, r.close())
			} else if took := min(pairs[0].own, pairs[0].peer); best == nil || took < record {
				r, best, record = best, r, took
			}
		}
		if r != nil && err == nil {
			err = r.close() // the slower one
		}
		if err != nil {
			if best != nil {
				err = errors.Join(err, best.close())
			}
			return nil, err
		}
	}
	return best, nil
}

// same makes sure that one step from the first values gives what the graph made by hand gives.
func (t *training) same(ctx context.Context, own side, set tensors) (err error) {
	peerSets, err := t.sets(t.peer)
	if err != nil {
		return err
	}
	peer, err := openRaw(t.peer, 1, peerSets[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	if err := errors.Join(own(ctx, 1), peer.run(ctx, 1)); err != nil {
		return err
	}
	for i, v := range t.own.Outputs {
		for j, w := range t.peer.Outputs {
			if v.Name != w.Name || set.out[i].Rank() == 0 { // the wrapper's scalars are copies
				continue
			}
			if err := alike(tensor.Data[float32](set.out[i]), tensor.Data[float32](peerSets[0].out[j]), 1e-4); err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
		}
	}
	return nil
}
