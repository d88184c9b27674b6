package rest

import (
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// takes says what an entry for a model is, so that who asks for one (the page does) need not know how that is found out.
type takes struct {
	// Kind is "table" (a row by the metadata's columns), "picture", "array" (one array of Shape) or "tensors" (by name, with their batch dimension).
	Kind string `json:"kind"`
	// Width, Height and Channels are those that a picture gets.
	Width    int `json:"width,omitempty"`
	Height   int `json:"height,omitempty"`
	Channels int `json:"channels,omitempty"`
	// Shape is one row's, picture's or array's, without a batch dimension.
	Shape tensor.Shape `json:"shape,omitempty"`
}

func takesOf(m *model.Model) *takes {
	spec, err := m.Spec()
	if err == nil {
		err = spec.Validate()
	}
	if err != nil { // no entry can be the only input
		return &takes{Kind: "tensors"}
	}
	t := &takes{Kind: "array", Shape: spec.Shape}
	switch {
	case len(spec.Columns) > 0:
		t.Kind = "table"
	case spec.Picture():
		t.Kind = "picture"
		t.Width, t.Height, t.Channels, _ = spec.Size()
	}
	return t
}
