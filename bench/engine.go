package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// engineRows are what a run of a session costs over a run of the library's own session, and the native engine against
// onnxruntime, both with one thread.
func engineRows(ctx context.Context, o options) ([]Row, error) {
	library, err := openLibrary(o)
	if err != nil {
		return nil, err
	}
	own := native.New(native.Config{})
	const peer = "onnxruntime, 1 thread"
	var rows []Row
	for _, c := range []struct {
		name   string
		engine engine.Engine
		net    func() (*graph.Graph, error)
		input  []int
		unit   string
		scale  float64 // of seconds
		peer   string
		target float64
	}{
		{"a run of onnxruntime's session: 784-128-32-10, batch 1", library, denseNet, []int{1, 784}, "us", 1e6, "its Go wrapper alone", 1.05},
		{"native: 784-128-32-10, batch 1", own, denseNet, []int{1, 784}, "us", 1e6, peer, 1},
		{"native: 784-128-32-10, an item of a batch of 256", own, denseNet, []int{256, 784}, "us", 1e6 / 256, peer, 1.5},
		{"native: 5x5x32, 5x5x64, 512, 10 on 28x28", own, convNet, []int{1, 1, 28, 28}, "ms", 1e3, peer, 1.5},
		{"native: ResNet-18 on 224x224", own, resnet18, []int{1, 3, 224, 224}, "ms", 1e3, peer, 1.5},
		{"native: LSTM, 128 steps of 32, 64 states", own, operatorNet("LSTM", 4), []int{recurrentSteps, 1, recurrentWidth}, "us", 1e6, peer, 1.3},
		{"native: GRU, 128 steps of 32, 64 states", own, operatorNet("GRU", 3), []int{recurrentSteps, 1, recurrentWidth}, "us", 1e6, peer, 1.3},
		{"native: the LSTM written as a Loop", own, loopNet, []int{recurrentSteps, 1, recurrentWidth}, "us", 1e6, peer, 1.3},
		{"native: LeNet of 8 bits, QDQ", own, lenetInt8(false), []int{1, 1, 28, 28}, "us", 1e6, peer, 1.2},
		{"native: LeNet of 8 bits, QLinear operators", own, lenetInt8(true), []int{1, 1, 28, 28}, "us", 1e6, peer, 1.2},
		{"native: ResNet-18 of 8 bits, QDQ", own, resnet18Int8(false), []int{1, 3, 224, 224}, "ms", 1e3, peer, 1.2},
		{"native: ResNet-18 of 8 bits, QLinear operators", own, resnet18Int8(true), []int{1, 3, 224, 224}, "ms", 1e3, peer, 1.2},
		{"native: MobileNet of 8 bits, QDQ", own, mobilenetInt8, []int{1, 3, 224, 224}, "ms", 1e3, peer, 1.2},
		{"native: 768-3072-768, 8 bits by what is in a batch of 128", own, dynamicInt8, []int{128, 768}, "ms", 1e3, peer, 1.2},
		{"native: 1,000 trees of depth 8, batch 1", own, forest, []int{1, forestColumns}, "us", 1e6, peer, 1},
		{"native: 1,000 trees of depth 8, an item of a batch of 1,024", own, forest, []int{1024, forestColumns}, "us", 1e6 / 1024, peer, 1},
	} {
		within := 1e-4
		if strings.Contains(c.name, "8 bits") {
			within = 0.01 // a level of a sum, where the exact number is next to half of one
		}
		pairs, err := compare(ctx, o, c.engine, c.net, c.input, within)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, row(c.name, c.unit, c.peer, mapped(pairs, func(s float64) float64 { return s * c.scale }), c.target, true))
	}
	return rows, nil
}

// compare runs a net in an engine and in onnxruntime's own session with the same input, and one thread each.
func compare(ctx context.Context, o options, e engine.Engine, net func() (*graph.Graph, error), input []int, within float64) (pairs []pair, err error) {
	g, err := net()
	if err != nil {
		return nil, err
	}
	in := []*tensor.Tensor{randomTensor(rand.New(rand.NewPCG(3, 4)), 0.5, input...)}
	s, err := e.Open(ctx, g, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	out := []*tensor.Tensor{nil}
	if err := s.Run(ctx, in, out); err != nil {
		return nil, err
	}
	theirs := []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, out[0].Shape()...))}
	r, err := openRaw(g, 1, tensors{in, theirs})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if pairs, err = alternate(ctx, o, threadTime, sessionSide(s, tensors{in, out}), r.run); err != nil {
		return nil, err
	}
	return pairs, alike(tensor.Data[float32](out[0]), tensor.Data[float32](theirs[0]), within)
}

// alike makes sure that both sides computed the same, within this part of the largest number: what is fast and wrong is no result.
func alike(a, b []float32, within float64) error {
	top := float32(within) * max(slices.Max(b)-slices.Min(b), slices.Max(b), -slices.Min(b))
	for i := range b {
		if d := a[i] - b[i]; !(d <= top && -d <= top) {
			return fmt.Errorf("output %d is %v, the peer's %v", i, a[i], b[i])
		}
	}
	return nil
}
