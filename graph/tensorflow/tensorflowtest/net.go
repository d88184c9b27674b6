// Package tensorflowtest writes models as TensorFlow does, of any size, for tests of what an import costs. Reading them is left to
// package tensorflow.
package tensorflowtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/tensor"
)

// A Net is a classifier of pictures: convolutions of 3x3, the mean of each channel, then dense layers. It takes "x", a float of shape
// [-1, 8, 8, Channels].
type Net struct {
	Channels, Convs int
	Width, Denses   int
}

// Large has weights of 108 MB, about half of them in convolutions. Small has weights of a few kilobytes.
var (
	Large = Net{Channels: 512, Convs: 6, Width: 2048, Denses: 4}
	Small = Net{Channels: 4, Convs: 2, Width: 8, Denses: 2}
)

var msg = checkpointtest.Message

// variables returns the net's weights, filled with small numbers.
func (n Net) variables() []checkpointtest.Variable {
	r := rand.New(rand.NewPCG(1, 2))
	var all []checkpointtest.Variable
	add := func(name string, shape ...int) {
		t := tensor.Must(tensor.New(tensor.Float32, shape...))
		for i := range tensor.Data[float32](t) {
			tensor.Data[float32](t)[i] = (r.Float32() - 0.5) / 16
		}
		all = append(all, checkpointtest.Variable{Name: name, Value: t})
	}
	for i := range n.Convs {
		add(fmt.Sprintf("conv%d/kernel", i), 3, 3, n.Channels, n.Channels)
		add(fmt.Sprintf("conv%d/bias", i), n.Channels)
	}
	in := n.Channels
	for i := range n.Denses {
		add(fmt.Sprintf("dense%d/kernel", i), in, n.Width)
		add(fmt.Sprintf("dense%d/bias", i), n.Width)
		in = n.Width
	}
	return all
}

// Bytes is the size of the weights.
func (n Net) Bytes() int64 {
	total := n.Convs * (9*n.Channels*n.Channels + n.Channels)
	in := n.Channels
	for range n.Denses {
		total += in*n.Width + n.Width
		in = n.Width
	}
	return 4 * int64(total)
}

// layers makes the nodes from input to the last output, whose name it returns; weight says by which tensor a variable is read, and out how an
// output of a node is written.
func (n Net) layers(input string, weight func(name string) string, out func(node, output string) string) (nodes [][]byte, last string) {
	x := input
	put := func(name, op, output string, inputs []string, attrs ...any) {
		nodes = append(nodes, Node(name, op, inputs, append(attrs, "T", Type(1))...))
		x = out(name, output)
	}
	layer := func(name, op, output string, attrs ...any) {
		put(name+"/"+op, op, output, []string{x, weight(name + "/kernel")}, attrs...)
		put(name+"/BiasAdd", "BiasAdd", "output", []string{x, weight(name + "/bias")})
		put(name+"/Relu", "Relu", "activations", []string{x})
	}
	for i := range n.Convs {
		layer(fmt.Sprintf("conv%d", i), "Conv2D", "output", "strides", msg(1, msg(3, 1, 3, 1, 3, 1, 3, 1)), "padding", msg(2, "SAME"))
	}
	axes := tensor.Must(tensor.Of([]int32{1, 2}, 2))
	nodes = append(nodes, Const("axes", axes))
	put("mean", "Mean", "output", []string{x, out("axes", "output")}, "Tidx", Type(3))
	for i := range n.Denses {
		layer(fmt.Sprintf("dense%d", i), "MatMul", "product")
	}
	return nodes, x
}

func (n Net) placeholder(name string) []byte {
	return Node(name, "Placeholder", nil, "dtype", Type(1), "shape", msg(7, shapeOf(-1, 8, 8, n.Channels)))
}

func firstOutput(node, _ string) string { return node }

// Frozen writes a GraphDef with the weights in it as constants.
func (n Net) Frozen(file string) error {
	nodes, _ := n.layers("x", func(name string) string { return name }, firstOutput)
	nodes = append(nodes, n.placeholder("x"))
	for _, v := range n.variables() {
		nodes = append(nodes, Const(v.Name, v.Value))
	}
	return os.WriteFile(file, Graph(nodes, nil), 0o600)
}

// Meta writes PREFIX.meta, as a saver of TensorFlow 1 does, and the weights as a checkpoint of version 1 in the file PREFIX.
func (n Net) Meta(prefix string) error {
	vars := n.variables()
	nodes, _ := n.layers("x", func(name string) string { return name + "/read" }, firstOutput)
	nodes = append(nodes, n.placeholder("x"))
	for _, v := range vars {
		nodes = append(nodes,
			Node(v.Name, "VariableV2", nil, "dtype", Type(1), "shape", msg(7, shapeOf(v.Value.Shape()...))),
			Node(v.Name+"/read", "Identity", []string{v.Name}, "T", Type(1)))
	}
	meta := msg(1, msg(5, "1.15.0"), 2, Graph(nodes, nil))
	if err := os.WriteFile(prefix+".meta", meta, 0o600); err != nil {
		return err
	}
	return os.WriteFile(prefix, checkpointtest.Legacy(vars, 1, checkpointtest.Options{Snappy: true})[0], 0o600)
}

// SavedModel writes a folder as TensorFlow 2 does: a signature whose function reads resource variables, which the object graph leads
// to in a checkpoint of version 2.
func (n Net) SavedModel(dir string) error {
	vars := n.variables()
	var nodes, body [][]byte
	var objects, stored []byte // the children of the root
	var savedNodes, storedNodes []byte
	bound := []byte{}
	inputs := []string{"serving_default_x"}
	arguments := msg(2, msg(1, "x", 3, 1))
	for i, v := range vars {
		nodes = append(nodes, Node(v.Name, "VarHandleOp", nil, "dtype", Type(1), "shape", msg(7, shapeOf(v.Value.Shape()...)), "shared_name", msg(2, v.Name)))
		inputs = append(inputs, v.Name)
		argument := "w" + strconv.Itoa(i)
		arguments = append(arguments, msg(2, msg(1, argument, 3, 20))...)
		body = append(body, Node(v.Name+"/Read", "ReadVariableOp", []string{argument}, "dtype", Type(1)))
		child := msg(1, i+1, 2, argument)
		objects, stored = append(objects, msg(1, child)...), append(stored, msg(1, child)...)
		savedNodes = append(savedNodes, msg(1, msg(7, msg(1, 1, 2, shapeOf(v.Value.Shape()...), 6, v.Name)))...)
		key := argument + "/.ATTRIBUTES/VARIABLE_VALUE"
		storedNodes = append(storedNodes, msg(1, msg(2, msg(1, "VARIABLE_VALUE", 2, v.Name, 3, key)))...)
		bound = append(bound, byte(i+1))
		vars[i].Name = key
	}
	out := func(node, output string) string { return node + ":" + output + ":0" }
	layers, last := n.layers("x", func(name string) string { return out(name+"/Read", "value") }, out)
	function := append(msg(1, append(msg(1, "__inference_serve"), append(arguments, msg(3, msg(1, "y", 3, 1))...)...)), msg(4, msg(1, "y", 2, last))...)
	for _, node := range append(body, layers...) {
		function = append(function, msg(3, node)...)
	}
	nodes = append(nodes, n.placeholder("serving_default_x"),
		Node("StatefulPartitionedCall", "StatefulPartitionedCall", inputs, "f", msg(10, msg(1, "__inference_serve"))))
	objectGraph := append(msg(1, objects), savedNodes...)
	objectGraph = append(objectGraph, msg(2, msg(1, "__inference_serve", 2, msg(2, bound)))...)
	info := func(name string, shape ...int) []byte { return msg(1, name, 2, 1, 3, shapeOf(shape...)) }
	signature := msg(1, msg(1, "x", 2, info("serving_default_x:0", -1, 8, 8, n.Channels)), 2, msg(1, "y", 2, info("StatefulPartitionedCall:0", -1, n.Width)),
		3, "tensorflow/serving/predict")
	meta := msg(1, msg(4, "serve", 5, "2.21.0"), 2, Graph(nodes, [][]byte{function}), 5, msg(1, "serving_default", 2, signature), 7, objectGraph)
	if err := os.MkdirAll(filepath.Join(dir, "variables"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "saved_model.pb"), msg(1, 1, 2, meta), 0o600); err != nil {
		return err
	}
	graph := append(msg(1, stored), storedNodes...)
	vars = append(vars, checkpointtest.Variable{Name: checkpoint.ObjectGraphKey, Value: tensor.Scalar(string(graph))})
	for name, data := range checkpointtest.Bundle(vars, 1, false) {
		if err := os.WriteFile(filepath.Join(dir, "variables", "variables"+name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
