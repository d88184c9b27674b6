// Package shipped has the models that are in the binary. How they were made is in README.md beside them; what a model
// is, is left to package model.
package shipped

import _ "embed"

//go:embed digits.onnx
var digits []byte

// Model returns the ONNX file of that name. The caller must not change it.
func Model(name string) ([]byte, bool) {
	if name != "digits" {
		return nil, false
	}
	return digits, true
}

// Names lists the models.
func Names() []string { return []string{"digits"} }
