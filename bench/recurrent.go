package main

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// The recurrent nets go over so many steps of so many numbers, with so many states.
const (
	recurrentSteps  = 128
	recurrentWidth  = 32
	recurrentStates = 64
)

// recurrentNet begins a net with the input that all of them have: steps, a batch of 1, numbers.
func recurrentNet(name string) *network {
	n := &network{Builder: graph.NewBuilder(name), random: newNet(name, 1).random}
	n.Input("x", tensor.Float32, graph.Dims(recurrentSteps, 1, recurrentWidth))
	return n
}

// operatorNet is one of ONNX's recurrent operators.
func operatorNet(op string, gates int) func() (*graph.Graph, error) {
	return func() (*graph.Graph, error) {
		n := recurrentNet(op)
		rows := gates * recurrentStates
		return n.finish(n.Op(op, graph.Attrs{"hidden_size": int64(recurrentStates)}, "x", n.weight("W", recurrentWidth, 1, rows, recurrentWidth),
			n.weight("R", recurrentStates, 1, rows, recurrentStates), n.weight("B", rows, 1, 2*rows)))
	}
}

// loopNet is an LSTM written as a Loop: sixteen small operators a turn, over weights and an input from around it.
func loopNet() (*graph.Graph, error) {
	n := recurrentNet("loop")
	for name, rows := range map[string]int{"W": recurrentWidth, "R": recurrentStates} {
		n.weight(name, rows, rows, 4*recurrentStates)
	}
	n.weight("B", 4*recurrentStates, 4*recurrentStates)
	h0, c0 := n.weight("h0", 2, 1, recurrentStates), n.weight("c0", 2, 1, recurrentStates)
	op := func(op, out string, in ...string) *graph.Node {
		return &graph.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	state := func(name string) graph.Value {
		return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(1, recurrentStates)}
	}
	scalar := func(name string, dtype tensor.DType) graph.Value {
		return graph.Value{Name: name, DType: dtype, Shape: graph.Shape{}}
	}
	split := op("Split", "input", "sum")
	split.Outputs, split.Attrs = []string{"input", "forget", "cell", "output"}, graph.Attrs{"axis": int64(1)}
	body := &graph.Graph{
		Name:    "step",
		Inputs:  []graph.Value{scalar("i", tensor.Int64), scalar("going", tensor.Bool), state("h"), state("c")},
		Outputs: []graph.Value{scalar("on", tensor.Bool), state("h1"), state("c1"), state("y1")},
		Nodes: []*graph.Node{
			op("Identity", "on", "going"), op("Gather", "row", "x", "i"), op("MatMul", "xw", "row", "W"), op("MatMul", "hr", "h", "R"),
			op("Add", "both", "xw", "hr"), op("Add", "sum", "both", "B"), split,
			op("Sigmoid", "si", "input"), op("Sigmoid", "sf", "forget"), op("Tanh", "tc", "cell"), op("Sigmoid", "so", "output"),
			op("Mul", "kept", "sf", "c"), op("Mul", "new", "si", "tc"), op("Add", "c1", "kept", "new"), op("Tanh", "shown", "c1"),
			op("Mul", "h1", "so", "shown"), op("Identity", "y1", "h1"),
		},
	}
	turns, yes := n.Init("turns", tensor.Scalar(int64(recurrentSteps))), n.Init("yes", tensor.Scalar(true))
	outs := n.Ops("Loop", 3, graph.Attrs{"body": body}, turns, yes, h0, c0)
	n.Output(n.Name(outs[2], "y"))
	return infer.Build(n.Builder)
}
