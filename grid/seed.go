package grid

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
// the others had taken it for somebody else. Seeds that do not answer say nothing. self is the ID of the server in this process, "" before it is started. Where TLS
// fails with one seed and not with another, the fault may be the one's, and this node starts.
func (c *Cluster) look(ctx context.Context, self string) error {
	own, err := c.tls()
	if err != nil {
		return err
	}
	var distrust error
	trusted := false
	for _, seed := range c.Seeds {
		if seed == c.Listen {
			continue
		}
		a, err := askSeed(ctx, seed, own)
		var why disagreement
		if errors.As(err, &why) {
			distrust = fmt.Errorf("%w: %w: %s: %w", ErrConfig, errRefused, seed, why)
		}
		if err != nil || a.ID == self {
			continue
		}
		trusted = true
		if err := c.fits(a); err != nil {
			return fmt.Errorf("%w: %w: %s: %w", ErrConfig, errRefused, seed, err)
		}
	}
	if trusted {
		return nil
	}
	return distrust
}

// askSeed asks a seed who it is, with own where this node has TLS. Its error is a disagreement where one of the two has no TLS, or not the other's trust.
func askSeed(ctx context.Context, seed string, own *tls.Config) (seedAnswer, error) {
	if own == nil {
		a, err := askOver(ctx, seed, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) && speaksTLS(ctx, seed) {
			err = noTLS(true, false)
		} else if errors.Is(err, os.ErrDeadlineExceeded) && speaksHTTP(ctx, seed) {
			err = disagreement("HTTP is spoken there; cluster.seeds name the cluster.listen of other nodes, which is not their http.listen")
		}
		return a, err
	}
	own = own.Clone()
	own.ServerName, _, _ = net.SplitHostPort(seed)
	a, err := askOver(ctx, seed, own)
	var header tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case err == nil:
		a.TLS = true
	case errors.As(err, &header) && string(header.RecordHeader[:]) == "INFO ":
		err = noTLS(false, true)
	case errors.As(err, &cert):
		err = disagreement(fmt.Sprintf("TLS between the nodes fails: its certificate is not one that cluster.tls.ca here signed for that address: %v", cert.Err))
	case errors.As(err, &remote) && remote.Op == "remote error":
		err = disagreement(fmt.Sprintf("TLS between the nodes fails: it does not take the certificate of cluster.tls.cert here: %v", remote.Err))
	}
	return a, err
}

// askOver connects to a seed, by TLS where over is set, and reads who it is.
func askOver(ctx context.Context, seed string, over *tls.Config) (seedAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", seed)
	if err != nil {
		return seedAnswer{}, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return seedAnswer{}, err
		}
	}
	if over != nil {
		// The server begins with TLS, and says nothing before. That it does not take this node's certificate comes with what is read first.
		conn = tls.Client(conn, over)
	}
	return readSeed(conn)
}

// speaksTLS reports whether a seed answers as a server with TLS does: with a certificate, which nobody is asked to trust here.
func speaksTLS(ctx context.Context, seed string) bool {
	host, _, err := net.SplitHostPort(seed)
	if err != nil {
		return false
	}
	_, err = askOver(ctx, seed, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, RootCAs: x509.NewCertPool()})
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// speaksHTTP reports whether a seed answers as a server of HTTP does, which says nothing before it is asked.
func speaksHTTP(ctx context.Context, seed string) bool {
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", seed)
	if err != nil {
		return false
	}
	defer conn.Close()
	end, ok := ctx.Deadline()
	if !ok || conn.SetDeadline(end) != nil {
		return false
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	begin := make([]byte, len("HTTP/"))
	_, err = io.ReadFull(conn, begin)
	return err == nil && string(begin) == "HTTP/"
}

// noTLS says that one of two nodes has TLS alone.
func noTLS(there, here bool) disagreement {
	return disagreement(fmt.Sprintf("cluster.tls must be set on all nodes or on none: there it is set: %t, here: %t", there, here))
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
		return noTLS(a.TLS, c.Cert != "")
	case !a.Auth && c.Secret != "": // with TLS alone others may ask for a name all the same
		return disagreement("cluster.secret must be set on all nodes or on none: there it is not, and here it is")
	}
	return nil
}
