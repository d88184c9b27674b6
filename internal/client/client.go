// Package client asks a running node by its REST API: entries, caches, events and models. What the commands print of
// the answers is left to package cli.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// DefaultServer is the address of a node that was told nothing else.
const DefaultServer = "http://127.0.0.1:8080"

// ErrConfig says that an address or a certificate cannot be used.
var ErrConfig = errors.New("client configuration is not valid")

// maxAnswer bounds what is read into memory of an answer that is not streamed: an entry, or what is known of models.
const maxAnswer = 64 << 20

// Config says which node is asked, and how.
type Config struct {
	// Server is the node's address, such as "http://127.0.0.1:8080"; DefaultServer if empty. Without a scheme it is http.
	Server string
	// Token is sent as a bearer token; none if empty.
	Token string
	// CA is a PEM file of certificates that are trusted beside the system's.
	CA string
}

// A Client asks one node. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// An Error is an answer of the node that is no success.
type Error struct {
	Status  int      `json:"status"` // HTTP's; of an event, what its kind has
	Code    string   `json:"code"`   // as docs/errors.md lists them
	Message string   `json:"error"`
	ID      string   `json:"request_id"`
	Reasons []string `json:"reasons"`
	// Row and Stored are of an import that ended: the row, and how many entries were stored.
	Row    *int64 `json:"row"`
	Stored *int64 `json:"stored"`
}

func (e *Error) Error() string {
	msg := e.Message
	if len(e.Reasons) > 0 {
		msg = strings.Join(e.Reasons, "\n")
	}
	if msg == "" {
		msg = http.StatusText(e.Status)
	}
	if e.Code != "" {
		msg += fmt.Sprintf(" (%s, %d)", e.Code, e.Status)
	} else {
		msg += fmt.Sprintf(" (%d)", e.Status)
	}
	if e.Status >= http.StatusInternalServerError && e.ID != "" {
		msg += ", request " + e.ID
	}
	return msg
}

// New returns a client of the node that c names. It does not connect yet.
func New(c Config) (*Client, error) {
	server := c.Server
	if server == "" {
		server = DefaultServer
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: server %q is not an address such as %s", ErrConfig, c.Server, DefaultServer)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: certificates: %w", ErrConfig, err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a system without its own certificates
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: certificates: %s has none in PEM", ErrConfig, c.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &Client{base: strings.TrimSuffix(u.String(), "/"), token: c.Token, http: &http.Client{Transport: transport}}, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server returns the node's address.
func (c *Client) Server() string { return c.base }

// do sends a request and returns the answer of a success; the caller closes its body. Any other answer is an *Error.
func (c *Client) do(ctx context.Context, method, path string, body []byte, head http.Header) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for name, values := range head {
		req.Header[name] = values
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ask %s (is a node running there?): %w", c.base, errors.Unwrap(err))
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(text, e) != nil {
		e.Message = strings.TrimSpace(string(text))
	}
	e.Status = resp.StatusCode
	return nil, e
}

// ask is do for answers that matter only as a success.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, head http.Header) error {
	resp, err := c.do(ctx, method, path, body, head)
	if err != nil {
		return err
	}
	return drain(resp)
}

// get reads an answer's JSON into v.
func (c *Client) get(ctx context.Context, method, path string, body []byte, v any) error {
	return c.getAs(ctx, method, path, "", body, v)
}

// getAs is get with a body of a content type.
func (c *Client) getAs(ctx context.Context, method, path, contentType string, body []byte, v any) error {
	head := http.Header{}
	if contentType != "" {
		head.Set("Content-Type", contentType)
	}
	resp, err := c.do(ctx, method, path, body, head)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := readAll(resp.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read the answer of %s%s: %w", c.base, path, err)
	}
	return nil
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("read the answer: it is larger than %d bytes", maxAnswer)
	}
	return data, nil
}

// drain reads what is left, so that the connection is used again.
func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return errors.Join(err, resp.Body.Close())
}

// Ready returns nil where the node takes traffic, and why it does not otherwise.
func (c *Client) Ready(ctx context.Context) error {
	return c.ask(ctx, http.MethodGet, "/v2/health/ready", nil, nil)
}

// WaitReady asks until the node is ready or ctx ends.
func (c *Client) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
