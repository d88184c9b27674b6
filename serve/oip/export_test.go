package oip

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// Parse reads a request for a model with these inputs and outputs, for tests of the parser alone.
func Parse(json, binary []byte, ins, outs []graph.Value) ([]*tensor.Tensor, error) {
	q := &inferRequest{}
	if err := q.parse(json, binary, ins, outs); err != nil {
		return nil, err
	}
	return q.tensors, nil
}

// ParseInstances reads a request of protocol v1.
func ParseInstances(json []byte, ins []graph.Value, table *media.Decoder) ([]*tensor.Tensor, error) {
	q := &inferRequest{}
	if err := q.parseInstances(json, ins, table); err != nil {
		return nil, err
	}
	return q.tensors, nil
}

// Unpack undoes a body's Content-Encoding.
func Unpack(body []byte, encoding string, limit int64) ([]byte, error) {
	return unpack(nil, body, encoding, limit)
}
