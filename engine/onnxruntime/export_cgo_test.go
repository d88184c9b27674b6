//go:build cgo

package onnxruntime

// ToValue and FromValue are how tensors become the library's values, and back.
var (
	ToValue   = toValue
	FromValue = fromValue
)
