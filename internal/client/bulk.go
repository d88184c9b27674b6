package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/bulk"
)

// ImportLines stores the entries of JSON lines and returns how many were stored. An error may be an *Error that says at which row it
// ended; what was before it is stored.
func (c *Client) ImportLines(ctx context.Context, cache string, lines []byte) (stored int64, err error) {
	resp, err := c.do(ctx, http.MethodPost, cachePath(cache)+"?action=import", lines, http.Header{"Content-Type": {bulk.JSONLines.ContentType()}})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var out struct {
		Stored int64 `json:"stored"`
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return 0, fmt.Errorf("read the answer of the import: %w", err)
	}
	return out.Stored, nil
}

// ExportLines copies up to limit entries behind a cursor as JSON lines, and returns the cursor of what follows, empty at the end. Where it fails,
// what was copied may end within a line.
func (c *Client) ExportLines(ctx context.Context, w io.Writer, cache, prefix, cursor string, limit int) (next string, err error) {
	q := url.Values{"action": {"export"}, "prefix": {prefix}, "cursor": {cursor}, "limit": {strconv.Itoa(limit)}}
	resp, err := c.do(ctx, http.MethodGet, cachePath(cache)+"?"+q.Encode(), nil, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if next, err = url.QueryUnescape(resp.Header.Get("Millrace-Cursor")); err != nil {
		return "", fmt.Errorf("the answer's Millrace-Cursor: %w", err)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return "", fmt.Errorf("read the entries: %w", noEOF(err))
	}
	return next, nil
}
