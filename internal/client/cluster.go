package client

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/cluster"
)

// Cluster returns the cluster as the node sees it.
func (c *Client) Cluster(ctx context.Context) (s cluster.Status, err error) {
	err = c.get(ctx, http.MethodGet, "/rest/v2/cluster", nil, &s)
	return s, err
}
