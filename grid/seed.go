package grid

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// seedTimeout is how long a seed may take to say who it is, and seedInfo how long that may be.
const (
	seedTimeout = time.Second
	seedInfo    = 64 << 10
)

// seedAnswer is what a NATS server says of itself to whoever connects to its routes, before anything else.
type seedAnswer struct {
	ID      string `json:"server_id"`
	Name    string `json:"server_name"`
	Cluster string `json:"cluster"`
	TLS     bool   `json:"tls_required"`
	Auth    bool   `json:"auth_required"`
}

// readSeed reads the first line of a server.
func readSeed(r io.Reader) (seedAnswer, error) {
	line, err := bufio.NewReader(io.LimitReader(r, seedInfo)).ReadString('\n')
	if err != nil {
		return seedAnswer{}, fmt.Errorf("read who it is: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(line), "INFO ")
	var a seedAnswer
	if !ok || json.Unmarshal([]byte(text), &a) != nil {
		return seedAnswer{}, fmt.Errorf("%w: it answers %.80q, as no node does at its cluster.listen", ErrConfig, line)
	}
	return a, nil
}

// look asks the seeds who they are. What it returns is a reason not to start: the server in this process would find out too, but say nothing of it, or when
// the others had taken it for somebody else. Seeds that do not answer say nothing. self is the ID of the server in this process, "" before it is started.
func (c *Cluster) look(ctx context.Context, self string) error {
	for _, seed := range c.Seeds {
		if seed == c.Listen {
			continue
		}
		a, err := askSeed(ctx, seed)
		if err != nil || a.ID == self {
			continue
		}
		if err := c.fits(a); err != nil {
			return fmt.Errorf("%w: %w: %s: %w", ErrConfig, errRefused, seed, err)
		}
	}
	return nil
}

func askSeed(ctx context.Context, seed string) (seedAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", seed)
	if err != nil {
		return seedAnswer{}, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(end); err != nil {
			return seedAnswer{}, err
		}
	}
	return readSeed(conn)
}

// disagreement is what two nodes cannot agree on.
type disagreement string

func (d disagreement) Error() string { return string(d) }

// fits says what of a seed's answer keeps this node from joining it.
func (c *Cluster) fits(a seedAnswer) error {
	switch {
	case a.Cluster != c.Name:
		return disagreement(fmt.Sprintf("it is of the cluster %q, and cluster.name here is %q", a.Cluster, c.Name))
	case a.Name == c.Node:
		return disagreement(fmt.Sprintf("it has the name %q too; node.name must be another on each node", a.Name))
	case a.TLS != (c.Cert != ""):
		return disagreement(fmt.Sprintf("cluster.tls must be set on all nodes or on none: there it is set: %t, here: %t", a.TLS, c.Cert != ""))
	case a.Auth != (c.Secret != ""):
		return disagreement(fmt.Sprintf("cluster.secret must be set on all nodes or on none: there it is set: %t, here: %t", a.Auth, c.Secret != ""))
	}
	return nil
}
