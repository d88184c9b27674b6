package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/model"
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
	By      string       `json:"by,omitempty"`
	Trained string       `json:"trained,omitempty"`
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

// PushModel gives a node a model: an ONNX file, or an archive that holds one. Version 0 is the next one. With replace it may have another signature than
// the version that serves.
func (c *Client) PushModel(ctx context.Context, name string, version int64, file []byte, replace bool) (Model, error) {
	path := modelPath(name, version)
	if replace {
		path += "?replace=true"
	}
	var m Model
	err := c.get(ctx, http.MethodPut, path, file, &m)
	return m, err
}

// ModelVersions is which version of a model serves, and which there are.
type ModelVersions struct {
	Serves int64 `json:"serves"`
	Pinned bool  `json:"pinned"`
	// Versions are the newest first.
	Versions []ModelVersion `json:"versions"`
}

// ModelVersion is what is known of a version without opening it.
type ModelVersion struct {
	Version int64  `json:"version"`
	State   string `json:"state"`
	Digest  string `json:"digest"`
	Bytes   int64  `json:"bytes"`
	Source  string `json:"source"`
	Time    string `json:"time"`
	By      string `json:"by"`
	Trained string `json:"trained"`
}

// Model returns which versions of a model there are.
func (c *Client) Model(ctx context.Context, name string) (ModelVersions, error) {
	var v ModelVersions
	err := c.get(ctx, http.MethodGet, modelPath(name, 0), nil, &v)
	return v, err
}

// UseModel chooses the version that serves where none is named: a number, "newest" or "previous".
func (c *Client) UseModel(ctx context.Context, name, version string) (ModelVersions, error) {
	var v ModelVersions
	query := url.Values{"action": {"use"}, "version": {version}}
	err := c.get(ctx, http.MethodPost, modelPath(name, 0)+"?"+query.Encode(), nil, &v)
	return v, err
}

// DownloadModel returns the ONNX file of a version; 0 is the one that serves.
func (c *Client) DownloadModel(ctx context.Context, name string, version int64) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, modelPath(name, version)+"?download=true", nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, model.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return data, nil
}

// DeleteModel removes a version of a model, or with version 0 all that were pushed.
func (c *Client) DeleteModel(ctx context.Context, name string, version int64) error {
	return c.ask(ctx, http.MethodDelete, modelPath(name, version), nil, nil)
}
