package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/cluster"
)

// Grow has the node's grid go over to a cluster, or looks how far it is where it is on its way.
func (c *Client) Grow(ctx context.Context, to cluster.Target) (g cluster.Growth, err error) {
	body, err := json.Marshal(to)
	if err != nil {
		return g, err
	}
	err = c.get(ctx, http.MethodPost, growPath, body, &g)
	return g, err
}

// Growth returns how far the node's grid is on its way to a cluster.
func (c *Client) Growth(ctx context.Context) (g cluster.Growth, err error) {
	err = c.get(ctx, http.MethodGet, growPath, nil, &g)
	return g, err
}

// StopGrowing stops it while the cluster has nothing yet.
func (c *Client) StopGrowing(ctx context.Context) (g cluster.Growth, err error) {
	err = c.get(ctx, http.MethodDelete, growPath, nil, &g)
	return g, err
}

const growPath = "/rest/v2/cluster/grow"

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
	return c.ask(ctx, http.MethodPost, path, nil, nil)
}

// Drain has a node give everything away, or take its share again.
func (c *Client) Drain(ctx context.Context, node string, undo bool) error {
	action := "drain"
	if undo {
		action = "undrain"
	}
	return c.ask(ctx, http.MethodPost, "/rest/v2/cluster/nodes/"+url.PathEscape(node)+"?action="+action, nil, nil)
}

// RemoveNode takes a node that is gone out of the cluster.
func (c *Client) RemoveNode(ctx context.Context, node string) error {
	return c.ask(ctx, http.MethodDelete, "/rest/v2/cluster/nodes/"+url.PathEscape(node), nil, nil)
}
