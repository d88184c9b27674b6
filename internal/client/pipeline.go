package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve/rest"
)

// Pipelines lists a node's pipelines with their positions.
func (c *Client) Pipelines(ctx context.Context) ([]rest.Pipeline, error) {
	var all []rest.Pipeline
	err := c.get(ctx, http.MethodGet, "/rest/v2/pipelines", nil, &all)
	return all, err
}

// Pipeline returns one.
func (c *Client) Pipeline(ctx context.Context, name string) (rest.Pipeline, error) {
	var p rest.Pipeline
	err := c.get(ctx, http.MethodGet, pipelinePath(name), nil, &p)
	return p, err
}

// PutPipeline makes or changes a pipeline, and returns it as it is then.
func (c *Client) PutPipeline(ctx context.Context, name string, d pipeline.Definition) (rest.Pipeline, error) {
	var p rest.Pipeline
	body, err := json.Marshal(d)
	if err != nil {
		return p, err
	}
	err = c.get(ctx, http.MethodPut, pipelinePath(name), body, &p)
	return p, err
}

// PausePipeline stops a pipeline until ResumePipeline.
func (c *Client) PausePipeline(ctx context.Context, name string) error {
	return c.onPipeline(ctx, name, url.Values{"action": {"pause"}})
}

// ResumePipeline undoes PausePipeline.
func (c *Client) ResumePipeline(ctx context.Context, name string) error {
	return c.onPipeline(ctx, name, url.Values{"action": {"resume"}})
}

// ReplayPipeline moves a pipeline: from is "start", "now" or a time as RFC 3339 writes it.
func (c *Client) ReplayPipeline(ctx context.Context, name, from string) error {
	return c.onPipeline(ctx, name, url.Values{"action": {"replay"}, "from": {from}})
}

// TryPipeline runs an entry through a pipeline; nothing is stored.
func (c *Client) TryPipeline(ctx context.Context, name, contentType string, value []byte) (pipeline.Trial, error) {
	var t pipeline.Trial
	head := http.Header{}
	if contentType != "" { // the node looks at the value then
		head.Set("Content-Type", contentType)
	}
	resp, err := c.do(ctx, http.MethodPost, pipelinePath(name)+"?action=try", value, head)
	if err != nil {
		return t, err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return t, nil
}

// DeletePipeline removes a pipeline that was made at run time, or the positions of one that is configured no more.
func (c *Client) DeletePipeline(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodDelete, pipelinePath(name), nil, nil)
}

func (c *Client) onPipeline(ctx context.Context, name string, query url.Values) error {
	return c.ask(ctx, http.MethodPost, pipelinePath(name)+"?"+query.Encode(), nil, nil)
}

func pipelinePath(name string) string { return "/rest/v2/pipelines/" + url.PathEscape(name) }
