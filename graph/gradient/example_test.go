package gradient_test

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A line y = w*x + b is fitted to four points: each run is a step, and what it gives as new.w is fed as w to the next.
func Example() {
	b := graph.NewBuilder("line")
	x := b.Input("x", tensor.Float32, graph.Dims(4))
	w, c := b.Init("w", tensor.Vector[float32](0)), b.Init("b", tensor.Vector[float32](0))
	b.Output(b.Name(b.Op("Add", nil, b.Op("Mul", nil, x, w), c), "y"))
	model, err := infer.Build(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	training, err := gradient.Build(model, gradient.Options{Loss: gradient.MSE,
		Optimizer: &gradient.Optimizer{Kind: gradient.Momentum, LearningRate: 0.05, Momentum: 0.8}})
	if err != nil {
		fmt.Println(err)
		return
	}
	loop, values := gradient.Feed(training)
	ctx := context.Background()
	session, err := native.New(native.Config{}).Open(ctx, loop, engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close()
	values["x"] = tensor.Vector[float32](-1, 0, 1, 2)
	values[gradient.Target] = tensor.Vector[float32](-1, 1, 3, 5)
	for range 200 {
		out, err := engine.Run(ctx, session, values)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, v := range gradient.Variables(training) {
			values[v] = out[gradient.NewPrefix+v]
			values[gradient.StatePrefix+"momentum."+v] = out[gradient.NewPrefix+gradient.StatePrefix+"momentum."+v]
		}
	}
	fmt.Printf("y = %.2f*x + %.2f\n", tensor.Data[float32](values["w"])[0], tensor.Data[float32](values["b"])[0])
	// Output: y = 2.00*x + 1.00
}
