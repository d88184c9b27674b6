package tensor

import "fmt"

// A Kind says what a Value is.
type Kind uint8

const (
	// KindTensor is a tensor, in Tensor.
	KindTensor Kind = iota
	// KindSequence is a list of values of one type, in Items.
	KindSequence
	// KindOptional is a value or nothing: Items has one element or none.
	KindOptional
	// KindMap is a map: Keys are its keys, and row i of Tensor the value of key i.
	KindMap
)

// String returns ONNX's word for the kind.
func (k Kind) String() string {
	switch k {
	case KindTensor:
		return "tensor"
	case KindSequence:
		return "sequence"
	case KindOptional:
		return "optional"
	case KindMap:
		return "map"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// A Value is what an input or output of a model holds: a tensor, or what ONNX builds of tensors. Nobody changes a value once it is
// made; values may share their parts.
type Value struct {
	Kind   Kind
	Tensor *Tensor
	Keys   *Tensor
	Items  []Value
}

// ValueOf returns a tensor as a value.
func ValueOf(t *Tensor) Value { return Value{Tensor: t} }

// Clone returns a copy that shares no elements with v.
func (v Value) Clone() Value {
	c := Value{Kind: v.Kind}
	if v.Tensor != nil {
		c.Tensor = v.Tensor.Clone()
	}
	if v.Keys != nil {
		c.Keys = v.Keys.Clone()
	}
	if v.Items != nil {
		c.Items = make([]Value, len(v.Items))
		for i, item := range v.Items {
			c.Items[i] = item.Clone()
		}
	}
	return c
}

// Bytes is about how much memory the elements take, with what is shared counted each time.
func (v Value) Bytes() int64 {
	var n int64
	for _, t := range []*Tensor{v.Tensor, v.Keys} {
		if t != nil {
			n += int64(t.Size()) * int64(t.DType().Size())
			if t.DType() == String {
				n += int64(t.Size()) * 16
			}
		}
	}
	for _, item := range v.Items {
		n += valueBytes + item.Bytes()
	}
	return n
}

// valueBytes is what a Value takes beside its elements.
const valueBytes = 56
