package tensorflow

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A value is what a TensorFlow tensor has become: a value of the ONNX graph, a constant, or a handle of something that is no tensor.
type value struct {
	// name is its own in the ONNX graph; a constant becomes an initializer of that name where a node uses it.
	name  string
	dtype tensor.DType
	shape graph.Shape // with symbols; nil of unknown rank
	con   *tensor.Tensor
	// late is a constant that is large, and computed only when the graph is whole: see settle.
	late bool
	// variable is what a handle, or a reference of TensorFlow 1, refers to.
	variable *variable
	// dead is what comes out of the side of a Switch that is not taken.
	dead bool
	// handle says what a value is that is no tensor: "variable", "resource", "variant".
	handle string
	// list is what a list of tensors has, whose handle is "list of tensors".
	list *list
	// by is the node that gave it, and byOut which of its outputs it is, for messages.
	by    *state
	byOut int
	// bad says that it could not be converted, for the reasons that by and the nodes before it have.
	bad bool
	// drawn is what is known of random numbers: they are bad, but what only depends on their range is not.
	drawn *drawn
}

// rank is -1 where it is not known.
func (v *value) rank() int {
	if v.shape == nil {
		return -1
	}
	return len(v.shape)
}

// size returns the number of elements, or -1 where it is not known.
func (v *value) size() int {
	s, ok := v.shape.Static()
	if !ok {
		return -1
	}
	n, err := s.Check()
	if err != nil {
		return -1
	}
	return n
}

// last returns the last dimension of a value of known rank above 0.
func (v *value) last() graph.Dim { return v.shape[len(v.shape)-1] }

// sameDims reports whether two dimensions are known to be equal.
func sameDims(a, b graph.Dim) bool {
	if a.Known() || b.Known() {
		return a.Size == b.Size
	}
	return a.Symbol != "" && a.Symbol == b.Symbol
}
