package tensorflowtest

import (
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/tensor"
)

// Node makes a NodeDef; attributes are pairs of a name and an AttrValue.
func Node(name, op string, inputs []string, attrs ...any) []byte {
	b := msg(1, name, 2, op)
	for _, in := range inputs {
		b = append(b, msg(3, in)...)
	}
	for i := 0; i < len(attrs); i += 2 {
		b = append(b, msg(5, msg(1, attrs[i], 2, attrs[i+1]))...)
	}
	return b
}

// Type makes an AttrValue of a data type, by TensorFlow's number.
func Type(d int) []byte { return msg(6, d) }

// Const makes a constant of numbers.
func Const(name string, t *tensor.Tensor) []byte {
	dtype := int(checkpointtest.Type(t.DType()))
	return Node(name, "Const", nil, "dtype", Type(dtype), "value", msg(8, msg(1, dtype, 2, shapeOf(t.Shape()...), 4, t.Bytes())))
}

// Graph makes a GraphDef.
func Graph(nodes, functions [][]byte) []byte {
	var b, library []byte
	for _, n := range nodes {
		b = append(b, msg(1, n)...)
	}
	for _, f := range functions {
		library = append(library, msg(1, f)...)
	}
	if functions != nil {
		b = append(b, msg(2, library)...)
	}
	return append(b, msg(4, msg(1, 2000))...)
}

func shapeOf(dims ...int) []byte { return checkpointtest.Shape(dims) }
