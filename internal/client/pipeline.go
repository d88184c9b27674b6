package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/serve/rest"
)

// Pipelines lists a node's pipelines with their positions.
func (c *Client) Pipelines(ctx context.Context) ([]rest.Pipeline, error) {
	var all []rest.Pipeline
	err := c.get(ctx, http.MethodGet, "/rest/v2/pipelines", nil, &all)
	return all, err
}

// ReplayPipeline moves a pipeline: from is "start", "now" or a time as RFC 3339 writes it.
func (c *Client) ReplayPipeline(ctx context.Context, name, from string) error {
	query := url.Values{"action": {"replay"}, "from": {from}}
	return c.ask(ctx, http.MethodPost, "/rest/v2/pipelines/"+url.PathEscape(name)+"?"+query.Encode(), nil, nil)
}

// ForgetPipeline removes the positions of a pipeline that is configured no more.
func (c *Client) ForgetPipeline(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodDelete, "/rest/v2/pipelines/"+url.PathEscape(name), nil, nil)
}
