package client

import (
	"context"
	"io"
	"net/http"
)

// Backup begins a backup of the node's grid, as backup.Receive takes it. The caller closes it.
func (c *Client) Backup(ctx context.Context, skipCold bool) (io.ReadCloser, error) {
	path := "/rest/v2/backup"
	if skipCold {
		path += "?cold=false"
	}
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
