package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/cluster"
)

// Cluster returns the cluster as the node sees it.
func (c *Client) Cluster(ctx context.Context) (s cluster.Status, err error) {
	err = c.get(ctx, http.MethodGet, "/rest/v2/cluster", nil, &s)
	return s, err
}

// Rebalance has the cluster look at once, or pause, resume or cancel, as action says.
func (c *Client) Rebalance(ctx context.Context, action string) error {
	path := "/rest/v2/cluster/rebalance"
	if action != "" {
		path += "?action=" + url.QueryEscape(action)
	}
	return c.order(ctx, http.MethodPost, path)
}

// Drain has a node give everything away, or take its share again.
func (c *Client) Drain(ctx context.Context, node string, undo bool) error {
	action := "drain"
	if undo {
		action = "undrain"
	}
	return c.order(ctx, http.MethodPost, "/rest/v2/cluster/nodes/"+url.PathEscape(node)+"?action="+action)
}

// RemoveNode takes a node that is gone out of the cluster.
func (c *Client) RemoveNode(ctx context.Context, node string) error {
	return c.order(ctx, http.MethodDelete, "/rest/v2/cluster/nodes/"+url.PathEscape(node))
}

func (c *Client) order(ctx context.Context, method, path string) error {
	resp, err := c.do(ctx, method, path, nil, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
