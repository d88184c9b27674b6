package cluster

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
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

const (
	// IntakePath is where a node of a cluster that takes over the grid of a node alone is asked about it.
	IntakePath = "/rest/v2/cluster/intake"
	// Protocol is what a connection there becomes.
	Protocol = "millrace-leaf"
	// targetTime limits one question to one node.
	targetTime = 5 * time.Second
	// maxAnswer bounds an answer.
	maxAnswer = 64 << 10
)

// Target is the cluster that takes over the grid of a node alone: some of its nodes, any one of which is enough at a time.
type Target struct {
	// To are the nodes' HTTP addresses, such as http://n1:8080.
	To []string `json:"to"`
	// Token is what they ask for; "" for nothing.
	Token string `json:"token,omitempty"`
	// CA has certificates in PEM that are trusted beside the system's.
	CA string `json:"ca,omitempty"`
}

// Growth is how far the grid of a node alone is on its way into a cluster.
type Growth struct {
	// Cluster is its name; "" where nobody asked for it yet.
	Cluster  string            `json:"cluster"`
	Running  bool              `json:"running"`
	Progress grid.GrowProgress `json:"progress"`
	// Error is why it ended without success.
	Error string `json:"error,omitempty"`
}

// Validate reports every fault at once.
func (t Target) Validate() error {
	var faults []error
	if len(t.To) == 0 {
		faults = append(faults, fmt.Errorf("%w: to must name the HTTP address of one node of the cluster at least", grid.ErrConfig))
	}
	for i, s := range t.To {
		if strings.Contains(s, "@") { // what is before it is not told
			faults = append(faults, fmt.Errorf("%w: to[%d]: an address has no user and no password; nodes ask for a token alone", grid.ErrConfig, i))
			continue
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			faults = append(faults, fmt.Errorf("%w: to[%d]: %q is not an address such as http://n1:8080", grid.ErrConfig, i, s))
		}
	}
	if t.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA)) {
		faults = append(faults, fmt.Errorf("%w: ca has no certificate in PEM", grid.ErrConfig))
	}
	return errors.Join(faults...)
}

// Offer asks the nodes for what they say of their cluster.
func (t Target) Offer(ctx context.Context) (o grid.Offer, err error) {
	err = t.any(ctx, func(ctx context.Context, base string) error { return t.ask(ctx, base, http.MethodGet, nil, &o) })
	return o, err
}

// Withdrawal asks whether the cluster has taken the grid of an opening over, and that it does not where it has not.
type Withdrawal struct {
	Source string `json:"source"`
	Node   string `json:"node"`
}

// Withdrawn is the answer.
type Withdrawn struct {
	Taken bool `json:"taken"`
}

// Withdraw asks so.
func (t Target) Withdraw(ctx context.Context, w Withdrawal) (taken bool, err error) {
	body, err := json.Marshal(w)
	if err != nil {
		return false, fmt.Errorf("ask the cluster: %w", err)
	}
	var a Withdrawn
	err = t.any(ctx, func(ctx context.Context, base string) error { return t.ask(ctx, base, http.MethodPost, body, &a) })
	return a.Taken, err
}

// any asks one node after the other until one answers.
func (t Target) any(ctx context.Context, ask func(ctx context.Context, base string) error) error {
	var errs []error
	for _, base := range t.To {
		try, cancel := context.WithTimeout(ctx, targetTime)
		err := ask(try, strings.TrimSuffix(base, "/"))
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", base, err))
	}
	return errors.Join(errs...)
}

func (t Target) ask(ctx context.Context, base, method string, body []byte, answer any) error {
	resp, err := t.send(ctx, base, method, body, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: read its answer: %w", grid.ErrUnavailable, err)
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp, data)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	return nil
}

// refusal is an answer that is no success.
func refusal(resp *http.Response, data []byte) error {
	var e struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}
	if json.Unmarshal(data, &e) == nil && e.Error != "" {
		return fmt.Errorf("%w: %s (%s, %d)", grid.ErrUnavailable, e.Error, e.Code, resp.StatusCode)
	}
	return fmt.Errorf("%w: it answers %s; is it a node of a cluster with cluster.grow: true?", grid.ErrUnavailable, resp.Status)
}

// Dial makes a connection to where a node waits for the server of a node alone. The nodes are tried in their order.
func (t Target) Dial(ctx context.Context) (conn io.ReadWriteCloser, err error) {
	err = t.any(ctx, func(ctx context.Context, base string) error {
		resp, err := t.send(ctx, base, http.MethodPost, nil, Protocol)
		if err != nil {
			return err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			conn = resp.Body.(io.ReadWriteCloser) // net/http says so
			return nil
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what came of it may say why
		return refusal(resp, data)
	})
	return conn, err
}

// send sends one request on a connection of its own, and returns the answer, whose body is the caller's to close.
func (t Target) send(ctx context.Context, base, method string, body []byte, upgrade string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+IntakePath, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", grid.ErrConfig, err)
	}
	if t.Token != "" {
		req.Header.Set("Authorization", "Bearer "+t.Token)
	}
	if upgrade != "" {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", upgrade)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without its own certificates
	}
	pool.AppendCertsFromPEM([]byte(t.CA))
	// It speaks HTTP/1.1, which alone can change its protocol, goes through no proxy, and tells its token to nobody that an answer names.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", grid.ErrUnavailable, err)
	}
	return resp, nil
}
