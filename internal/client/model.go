package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// ModelValue is an input or output of a model; a dimension is a number, a name, or null where nothing is known.
type ModelValue struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []any  `json:"shape"`
}

// Model is what a node says of one version of a model.
type Model struct {
	Name    string       `json:"name"`
	Version int64        `json:"version"`
	State   string       `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	Latest  bool         `json:"latest"`
	Engine  string       `json:"engine,omitempty"`
	Source  string       `json:"source"`
	SHA256  string       `json:"sha256"`
	Bytes   int64        `json:"bytes"`
	Created string       `json:"created"`
	Inputs  []ModelValue `json:"inputs,omitempty"`
	Outputs []ModelValue `json:"outputs,omitempty"`

	raw json.RawMessage
}

// Raw is the node's whole answer.
func (m *Model) Raw() json.RawMessage { return m.raw }

// UnmarshalJSON keeps the answer beside the fields.
func (m *Model) UnmarshalJSON(b []byte) error {
	type plain Model
	if err := json.Unmarshal(b, (*plain)(m)); err != nil {
		return err
	}
	m.raw = append(json.RawMessage(nil), b...)
	return nil
}

func modelPath(name string, version int64) string {
	path := "/rest/v2/models/" + url.PathEscape(name)
	if version > 0 {
		path += "/versions/" + strconv.FormatInt(version, 10)
	}
	return path
}

// Models lists every version of every model.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var all []Model
	err := c.get(ctx, http.MethodGet, "/rest/v2/models", nil, &all)
	return all, err
}

// PushModel gives a node a model: an ONNX file, or an archive that holds one. Version 0 is the next one.
func (c *Client) PushModel(ctx context.Context, name string, version int64, file []byte) (Model, error) {
	var m Model
	err := c.get(ctx, http.MethodPut, modelPath(name, version), file, &m)
	return m, err
}

// DeleteModel removes a version of a model, or with version 0 all that were pushed.
func (c *Client) DeleteModel(ctx context.Context, name string, version int64) error {
	return c.ask(ctx, http.MethodDelete, modelPath(name, version), nil, nil)
}
