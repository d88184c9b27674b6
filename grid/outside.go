package grid

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/fault"
)

// Access says how a grid shows an external server who it is: by a credentials file, an nkey, a user or a token, and by a certificate. Files are read again
// whenever a connection is made anew.
type Access struct {
	// Credentials is a file with a user's JWT and seed, as `nsc generate creds` writes it, and NKey one with a seed alone.
	Credentials, NKey string
	// User and Password, or Token, are secrets: they are in no log and no error.
	User, Password, Token string
	// CA is a file with the certificates, in PEM, that the server's must come from, beside those that the system trusts where it is empty.
	CA string
	// Cert and Key are files with this node's own certificate and its key, in PEM, where the server asks for one.
	Cert, Key string
}

func (a Access) check(l *fault.Errors, servers string) {
	fields := []struct{ name, value string }{
		{"credentials", a.Credentials}, {"nkey", a.NKey}, {"user", a.User}, {"token", a.Token},
		{"password", a.Password}, {"tls.ca", a.CA}, {"tls.cert", a.Cert}, {"tls.key", a.Key},
	}
	var ways []string
	for i, f := range fields {
		l.Check(f.value == "" || servers != "", f.name, "is for an external server, which url names")
		if i < 4 && f.value != "" {
			ways = append(ways, f.name)
		}
	}
	l.Check(len(ways) < 2, "", "%s are all set; one of them says who the node is", strings.Join(ways, " and "))
	l.Check(a.Password == "" || a.User != "", "password", "needs a user")
	l.Check((a.Cert == "") == (a.Key == ""), "tls", "cert and key go together")
	for server := range strings.SplitSeq(servers, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		l.Check(err != nil || u.User == nil || len(ways) == 0, "url", "has a user in it, and %s is set too", strings.Join(ways, " and "))
	}
	for _, f := range fields {
		if isFile := f.name != "user" && f.name != "token" && f.name != "password"; isFile && f.value != "" && servers != "" {
			_, err := os.Stat(f.value)
			l.Check(err == nil, f.name, "%v", err)
		}
	}
}

// options are those of a connection.
func (a Access) options() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case a.Credentials != "":
		opts = append(opts, nats.UserCredentials(a.Credentials))
	case a.NKey != "":
		o, err := nats.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, fmt.Errorf("%w: nkey: %s is no file with a seed: %w", ErrConfig, a.NKey, err)
		}
		opts = append(opts, o)
	case a.User != "":
		opts = append(opts, nats.UserInfo(a.User, a.Password))
	case a.Token != "":
		opts = append(opts, nats.Token(a.Token))
	}
	if a.CA != "" {
		opts = append(opts, nats.RootCAs(a.CA))
	}
	if a.Cert != "" {
		opts = append(opts, nats.ClientCert(a.Cert, a.Key))
	}
	return opts, nil
}

// redacted is addresses of servers without what is secret in them.
func redacted(servers string) string {
	all := strings.Split(servers, ",")
	for i, s := range all {
		if u, err := url.Parse(strings.TrimSpace(s)); err != nil {
			all[i] = "an address that cannot be read"
		} else {
			if u.User != nil {
				u.User = url.User("xxxxx") // a token stands where a user does
			}
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}

// needs is the oldest server that has everything: batches that are acknowledged as one.
var needs = [2]int{2, 14}

// checkServer refuses a server that lacks something that a grid needs.
func (g *Grid) checkServer(ctx context.Context, nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	if !recent(version) {
		return fmt.Errorf("%w: the NATS server at %s has version %s, a grid needs %d.%d or newer, for batches, and times to live of messages",
			ErrConfig, nc.ConnectedUrlRedacted(), version, needs[0], needs[1])
	}
	_, err := g.js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: the NATS server at %s has no JetStream for this account; a grid needs it", ErrConfig, nc.ConnectedUrlRedacted())
	case err != nil:
		return fmt.Errorf("ask the NATS server at %s for JetStream: %w", nc.ConnectedUrlRedacted(), apiError(err))
	}
	return nil
}

func recent(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err1 := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	return err1 == nil && err2 == nil && (m > needs[0] || m == needs[0] && n >= needs[1])
}

// checkStream refuses a stream that a server of the cluster made without what it was asked for: one that is older.
func checkStream(s jetstream.Stream) error {
	if c := s.CachedInfo().Config; !c.AllowBatchPublish || !c.AllowAtomicPublish || !c.AllowMsgTTL || c.SubjectDeleteMarkerTTL == 0 {
		return fmt.Errorf("%w: a server of the cluster made stream %s without batches or times to live; all must be NATS %d.%d or newer", ErrConfig, c.Name, needs[0], needs[1])
	}
	return nil
}

// deniedText reads what a server says of a permission that is lacking.
var deniedText = regexp.MustCompile(`(?i)Permissions Violation for (Publish|Subscription) to "([^"]*)"`)

// denied takes note of a permission that the server says is lacking: whoever waits for it need not wait longer.
func (g *Grid) denied(err error) {
	m := deniedText.FindStringSubmatch(err.Error())
	if m == nil {
		return
	}
	what := "publish to"
	if strings.EqualFold(m[1], "Subscription") {
		what = "subscribe to"
	}
	lacks := fmt.Errorf("the NATS server does not let this node's user %s %q; it needs that permission", what, m[2])
	g.opening(fmt.Errorf("%w: %w", ErrConfig, lacks))
	if r := g.requests.Load(); r != nil {
		r.deny(m[2], fmt.Errorf("%w: %w", ErrUnavailable, lacks))
	}
}
