package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// convertRows are networks that TensorFlow wrote, converted, against the same networks made by hand as PyTorch would export them: both in onnxruntime's own session,
// with one thread. Pictures have their channels second there, so that a Transpose of the converted one is time of its own.
func convertRows(ctx context.Context, o options) ([]Row, error) {
	if _, err := openLibrary(o); err != nil {
		return nil, err
	}
	var rows []Row
	for _, c := range []struct {
		name, folder string
		hand         func(*parts) (*graph.Graph, error)
		input        []int // behind the batch
		picture      bool
	}{
		{"LeNet of Keras on 28x28", "k2-lenet", lenetByHand, []int{28, 28, 1}, true},
		{"MobileNet of Keras on 24x24", "k3-mobilenet-mini", mobilenetByHand, []int{24, 24, 3}, true},
		{"two LSTMs of Keras 2, 10 steps", "k2-lstm", lstmByHand, []int{10, 4}, false},
		{"two LSTMs of Keras 3, 10 steps", "k3-lstm", lstmByHand, []int{10, 4}, false},
	} {
		for _, batch := range []int{1, 32} {
			name := fmt.Sprintf("converted: %s, batch %d", c.name, batch)
			pairs, err := convertPairs(ctx, o, c.folder, c.hand, append([]int{batch}, c.input...), c.picture)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", name, err)
			}
			rows = append(rows, row(name, "us", "the same by hand", mapped(pairs, func(s float64) float64 { return s * 1e6 }), 1.1, true))
		}
	}
	return rows, nil
}

func convertPairs(ctx context.Context, o options, folder string, hand func(*parts) (*graph.Graph, error), input []int, picture bool) (pairs []pair, err error) {
	converted, err := convertCase(ctx, folder)
	if err != nil {
		return nil, err
	}
	p := newParts(folder, converted)
	made, err := hand(p)
	if err == nil {
		err = p.err
	}
	if err != nil {
		return nil, err
	}
	x := randomTensor(rand.New(rand.NewPCG(3, 4)), 0.5, input...)
	other := x
	if picture {
		other = channelsSecond(x)
	}
	shape, err := outputShape(ctx, converted, x)
	if err != nil {
		return nil, err
	}
	own, theirs := tensor.Must(tensor.New(tensor.Float32, shape...)), tensor.Must(tensor.New(tensor.Float32, shape...))
	a, err := openRaw(converted, 1, tensors{[]*tensor.Tensor{x}, []*tensor.Tensor{own}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	b, err := openRaw(made, 1, tensors{[]*tensor.Tensor{other}, []*tensor.Tensor{theirs}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if pairs, err = alternate(ctx, o, threadTime, a.run, b.run); err != nil {
		return nil, err
	}
	return pairs, alike(tensor.Data[float32](own), tensor.Data[float32](theirs), 1e-4)
}

// convertCase converts one of the networks of the shared data.
func convertCase(ctx context.Context, folder string) (*graph.Graph, error) {
	root := os.Getenv("MILLRACE_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(root, "data", "tensorflow", "nets", folder)
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return nil, fmt.Errorf("the shared test data is not here (MILLRACE_SHARED says where): %w", err)
	}
	var c struct {
		Model     string   `json:"model"`
		Signature string   `json:"signature"`
		Tags      []string `json:"tags"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	res, err := tensorflow.Import(ctx, filepath.Join(dir, c.Model), tensorflow.Options{Evaluator: native.Evaluator(), Signature: c.Signature, Tags: c.Tags})
	if err != nil {
		return nil, err
	}
	return res.Graph, nil
}

// outputShape runs a graph once to see how large its one output is.
func outputShape(ctx context.Context, g *graph.Graph, x *tensor.Tensor) (_ tensor.Shape, err error) {
	s, err := native.New(native.Config{}).Open(ctx, g, engine.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	out := []*tensor.Tensor{nil}
	if err := s.Run(ctx, []*tensor.Tensor{x}, out); err != nil {
		return nil, err
	}
	return out[0].Shape(), nil
}

// channelsSecond orders a picture whose channels are last.
func channelsSecond(x *tensor.Tensor) *tensor.Tensor {
	s := x.Shape()
	y := tensor.Must(tensor.New(tensor.Float32, s[0], s[3], s[1], s[2]))
	from, to := tensor.Data[float32](x), tensor.Data[float32](y)
	i := 0
	for n := range s[0] {
		for c := range s[3] {
			for at := range s[1] * s[2] {
				to[i] = from[(n*s[1]*s[2]+at)*s[3]+c]
				i++
			}
		}
	}
	return y
}

// parts gives the weights of a converted network to the one that is made by hand: those of each operator in the order of the nodes.
type parts struct {
	*network
	weights map[string][][]*tensor.Tensor
	err     error
}

func newParts(name string, g *graph.Graph) *parts {
	constants := map[string]*tensor.Tensor{}
	for _, in := range g.Initializers {
		constants[in.Name] = in.Tensor
	}
	p := &parts{network: &network{Builder: graph.NewBuilder(name)}, weights: map[string][][]*tensor.Tensor{}}
	for _, n := range g.Nodes {
		var all []*tensor.Tensor
		for _, in := range n.Inputs {
			if t := constants[in]; t != nil && t.DType() == tensor.Float32 && t.Rank() > 0 {
				all = append(all, t)
			}
		}
		if len(all) > 0 {
			p.weights[n.OpType] = append(p.weights[n.OpType], all)
		}
	}
	return p
}

// next adds the weights of the next operator of this kind, and returns their names.
func (p *parts) next(op string, count int) []string {
	names := make([]string, count)
	if len(p.weights[op]) == 0 || len(p.weights[op][0]) != count {
		p.err = fmt.Errorf("the converted network has not the %s that the one by hand has", op)
		return names
	}
	for i, t := range p.weights[op][0] {
		names[i] = p.Init(op, t)
	}
	p.weights[op] = p.weights[op][1:]
	return names
}

// conv is a convolution, with a bias where it has one.
func (p *parts) conv(x string, weights int, attrs graph.Attrs) string {
	return p.Op("Conv", attrs, append([]string{x}, p.next("Conv", weights)...)...)
}

// dense is a product with a bias.
func (p *parts) dense(x string) string {
	return p.Op("Gemm", nil, x, p.next("MatMul", 1)[0], p.next("Add", 1)[0])
}

func (p *parts) clip(x string) string {
	return p.Op("Clip", nil, x, p.Init("zero", tensor.Scalar[float32](0)), p.Init("six", tensor.Scalar[float32](6)))
}

func (p *parts) picture(height, width, channels int) string {
	return p.Input("x", tensor.Float32, append(graph.Shape{{Size: -1, Symbol: "N"}}, graph.Dims(channels, height, width)...))
}

// square are a convolution's attributes: its kernel and stride, and the pads before and after.
func square(kernel, stride, before, after, dilation, group int64) graph.Attrs {
	return graph.Attrs{
		"kernel_shape": []int64{kernel, kernel}, "strides": []int64{stride, stride}, "pads": []int64{before, before, after, after},
		"dilations": []int64{dilation, dilation}, "group": group,
	}
}

func lenetByHand(p *parts) (*graph.Graph, error) {
	x := p.pool(p.relu(p.conv(p.picture(28, 28, 1), 2, square(5, 1, 2, 2, 1, 1))), 2, 2, 0)
	x = p.pool(p.relu(p.conv(x, 2, square(5, 1, 0, 0, 1, 1))), 2, 2, 0)
	x = p.relu(p.dense(p.Op("Flatten", nil, x)))
	return p.finish(p.Op("Softmax", nil, p.dense(x)))
}

// mobilenetByHand has each kind of block that MobileNets have: with a side way, with a stride, separable, and with gaps.
func mobilenetByHand(p *parts) (*graph.Graph, error) {
	point := square(1, 1, 0, 0, 1, 1)
	x := p.clip(p.conv(p.picture(24, 24, 3), 2, square(3, 2, 0, 1, 1, 1)))
	y := p.clip(p.conv(x, 2, point))
	y = p.clip(p.conv(y, 2, square(3, 1, 1, 1, 1, 18)))
	x = p.Op("Add", nil, x, p.conv(y, 2, point))
	y = p.clip(p.conv(x, 2, point))
	y = p.clip(p.conv(y, 2, square(3, 2, 0, 1, 1, 18)))
	x = p.conv(y, 2, point)
	x = p.relu(p.conv(p.conv(x, 1, square(3, 1, 1, 1, 1, 8)), 2, point))
	x = p.relu(p.conv(x, 2, square(3, 1, 2, 2, 2, 1)))
	x = p.conv(x, 2, square(3, 1, 0, 0, 2, 10))
	return p.finish(p.Op("Flatten", nil, p.conv(p.Op("GlobalAveragePool", nil, x), 2, point)))
}

func lstmByHand(p *parts) (*graph.Graph, error) {
	x := p.Op("Transpose", graph.Attrs{"perm": []int64{1, 0, 2}}, p.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, graph.Dims(10)[0], graph.Dims(4)[0]}))
	lstm := func(x string, hidden int64) []string {
		return p.Ops("LSTM", 2, graph.Attrs{"hidden_size": hidden}, append([]string{x}, p.next("LSTM", 3)...)...)
	}
	first := p.Op("Squeeze", nil, lstm(x, 8)[0], p.Init("direction", tensor.Vector[int64](1)))
	last := p.Op("Squeeze", nil, lstm(first, 6)[1], p.Init("axis", tensor.Vector[int64](0)))
	p.Output(p.Name(p.dense(last), "y"))
	return infer.Build(p.Builder)
}
