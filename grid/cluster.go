package grid

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/fault"
)

// Cluster makes the server in this process one of a cluster of nodes, which keep the grid together.
type Cluster struct {
	// Name is the cluster's, the same on each node; Node is this one's, and no other's. Both are [A-Za-z0-9_-]{1,64}.
	Name, Node string
	// Listen is the address for the other nodes, as HOST:PORT.
	Listen string
	// Seeds are the Listen addresses of other nodes, one at least. Any one of them that answers leads to all.
	Seeds []string
	// Replicas is how many nodes have each partition: 1, 3 or 5, fixed when the grid is made; 3 if 0.
	Replicas int
	// Secret is what nodes prove to each other, in 16 characters or more. It crosses the network in a form that whoever listens there can use: TLS
	// hides it.
	Secret string
	// Cert and Key, with which a node is served and shows itself to the others, and CA, which signed those of all nodes, are PEM files. All
	// three are set, or none.
	Cert, Key, CA string
	// Roles are what this node does; all of Roles where it is empty.
	Roles []Role
	// Grow has the node wait, where there is no grid yet, until the cluster has taken over that of a node alone (Grid.Grow); else it makes a new one. It needs
	// Secret.
	Grow bool
	// Intake, where it is set and Grow is, is called at the opening with what a node alone reaches this one by. It must not block.
	Intake func(*Intake)
	// Waiting, where it is set, is called at the opening with what the node waits for, each time that changes. It must not block.
	Waiting func(reason string)
}

const (
	// defaultReplicas is how many nodes have each partition where nobody says.
	defaultReplicas = 3
	// minSecret is the least length of a cluster's secret.
	minSecret = 16
	// clusterTimeout limits an operation in a cluster that has no time limit of its own: a leader that died is replaced within about 5 s, and one election may fail.
	clusterTimeout = 15 * time.Second
	// routePing is how often nodes ask each other whether they are there, and routePings how many of these questions may be without an answer: after that the
	// connection is made anew, for ever. Until both ends have given the old one up, which TCP alone does after many minutes, a node that was cut off is let in by nobody.
	routePing  = 2 * time.Second
	routePings = 2
	// routeUser is the name that nodes use for one another.
	routeUser = "millrace"
	// entriesUser is whoever in this process says no name.
	entriesUser = "millrace-entries"
	// systemUser is the name of this process for what only the cluster's system account may do.
	systemUser = "millrace-system"
)

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *Cluster) validate(l *fault.Errors) {
	l.Check(nodeName.MatchString(c.Name), "cluster.name", "%q: it has 1 to 64 letters, digits, _ and -", c.Name)
	l.Check(nodeName.MatchString(c.Node), "cluster.node", "%q: it has 1 to 64 letters, digits, _ and -", c.Node)
	l.Check(isAddress(c.Listen), "cluster.listen", "%q is not HOST:PORT with a port from 1 to 65535", c.Listen)
	others := 0
	for i, seed := range c.Seeds {
		l.Check(isAddress(seed), fmt.Sprintf("cluster.seeds[%d]", i), "%q is not HOST:PORT with a port from 1 to 65535", seed)
		if seed != c.Listen {
			others++
		}
	}
	l.Check(others > 0, "cluster.seeds", "must name cluster.listen of another node at least: one node alone is no cluster")
	l.Check(slices.Contains([]int{0, 1, 3, 5}, c.Replicas), "cluster.replicas", "%d must be 1, 3 or 5", c.Replicas)
	l.Check(c.Secret == "" || len(c.Secret) >= minSecret, "cluster.secret", "must have at least %d characters", minSecret)
	CheckRoles(l, "cluster.roles", c.Roles)
	l.Check(c.has(RoleGrid) || !c.Grow, "cluster.grow", "is for nodes that have %s in node.roles: the others wait for the grid in any case", RoleGrid)
	files := 0
	for _, f := range []string{c.Cert, c.Key, c.CA} {
		if f != "" {
			files++
		}
	}
	l.Check(files == 0 || files == 3, "cluster.tls", "cert, key and ca must all be set, or none")
	l.Check(c.Secret != "" || !c.Grow, "cluster.secret", "must be set, since cluster.grow is: the node that the grid comes from shows it")
	l.Check(c.Secret != "" || files > 0, "cluster.secret", "must be set, or cluster.tls: else anybody who reaches %s could join", c.Listen)
}

func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, numErr := strconv.Atoi(port)
	return err == nil && numErr == nil && host != "" && n > 0 && n <= 65535
}

// withDefaults returns a copy that has every value.
func (c *Cluster) withDefaults() *Cluster {
	if c == nil {
		return nil
	}
	out := *c
	if out.Replicas == 0 {
		out.Replicas = defaultReplicas
	}
	if len(out.Roles) == 0 {
		out.Roles = Roles()
	}
	if out.Intake == nil {
		out.Intake = func(*Intake) {}
	}
	if out.Waiting == nil {
		out.Waiting = func(string) {}
	}
	return &out
}

// password is what nodes tell each other in place of the secret, which may be used elsewhere too.
func (c *Cluster) password() string { return c.derived("millrace cluster " + c.Name) }

// leafPassword is what the node shows whose grid the cluster takes over.
func (c *Cluster) leafPassword() string { return c.derived("millrace leaf " + c.Name) }

func (c *Cluster) derived(from string) string {
	mac := hmac.New(sha256.New, []byte(c.Secret))
	mac.Write([]byte(from))
	return hex.EncodeToString(mac.Sum(nil))
}

// tls is nil where the nodes do not use it.
func (c *Cluster) tls() (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: cluster.tls: %w", ErrConfig, err)
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("%w: cluster.tls.ca: %w", ErrConfig, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: cluster.tls.ca: %s has no certificate in PEM", ErrConfig, c.CA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// apply makes options those of a server of the cluster, which shows s to the others. It returns the password of systemUser.
func (c *Cluster) apply(o *server.Options, s shown) (string, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", fmt.Errorf("%w: cluster.listen: %w", ErrConfig, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", fmt.Errorf("%w: cluster.listen: %w", ErrConfig, err)
	}
	o.ServerName, o.Tags = c.Node, []string{tagOf(c.Node)}
	o.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: number, PingInterval: routePing, MaxPingsOut: routePings, ConnectRetries: math.MaxInt, AuthTimeout: authTime,
	}
	if o.Cluster.TLSConfig, err = c.tls(); err != nil {
		return "", err
	}
	if o.Cluster.TLSConfig != nil {
		o.Cluster.TLSTimeout = 5
	}
	var user *url.Userinfo
	if o.Cluster.Username, o.Cluster.Password = c.credentials(s); o.Cluster.Username != "" {
		user = url.UserPassword(o.Cluster.Username, o.Cluster.Password)
	}
	for _, seed := range c.Seeds {
		if seed != c.Listen {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: seed, User: user})
		}
	}
	// A server that listens for no clients does not listen for the other nodes either: it waits for its clients' port first. This one is on loopback, any
	// that is free, and has nobody in but this process, which comes through pipes and needs no name.
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Cluster.NoAdvertise = true
	if c.Grow { // on loopback too: what comes from elsewhere comes through this process
		o.LeafNode = server.LeafNodeOpts{
			Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: routeUser, Password: c.leafPassword(), Account: server.DEFAULT_GLOBAL_ACCOUNT,
		}
	}
	inProcess := map[string]struct{}{jwt.ConnectionTypeInProcess: {}}
	// The leader of the whole cluster steps down for the system's account alone.
	system := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
	password := rand.Text()
	o.Accounts, o.SystemAccount = []*server.Account{system}, system.Name
	o.NoAuthUser = entriesUser
	o.Users = []*server.User{
		{Username: entriesUser, Password: rand.Text(), AllowedConnectionTypes: inProcess},
		{Username: systemUser, Password: password, Account: system, AllowedConnectionTypes: inProcess},
	}
	return password, nil
}

// errRefused is why a node stops that the others would not have.
var errRefused = errors.New("this node cannot join")

// sameName is why a node is refused by one other alone.
const sameName = "another node has its name; node.name must be another on each node"

// turnedAway returns the address of a node that does not let this one in, where the server's log tells of that.
func turnedAway(text string) (address string, ok bool) {
	address, _, _ = strings.Cut(text, " - ")
	return address, strings.Contains(text, "Route Error") && strings.Contains(text, "Authorization Violation")
}

// stranger returns the address of somebody who has connected and shown another secret or nothing that this program knows, and what was wrong with it, where the server's log tells of that.
func stranger(text string) (address, why string, ok bool) {
	address, rest, _ := strings.Cut(text, " - ")
	if !strings.HasPrefix(rest, "rid:") {
		return "", "", false
	}
	if _, failed, ok := strings.Cut(rest, "TLS route handshake error: "); ok {
		return address, "the TLS handshake failed: " + failed, true
	}
	return address, "it has not shown the secret of this cluster", strings.Contains(rest, "authentication error")
}

// refusal returns why another node refuses this one, of what the server's log says, "" for what says nothing of it.
func refusal(text string) string {
	at, away := turnedAway(text)
	switch {
	case away:
		return fmt.Sprintf("the node at %s has another cluster.secret; it must be the same on all nodes", at)
	case strings.Contains(text, "Rejecting connection, cluster name"):
		_, why, _ := strings.Cut(text, "Rejecting connection, ")
		return "the other nodes have another cluster.name: " + strings.Trim(why, "'")
	case strings.Contains(text, "Remote server has a duplicate name"):
		return sameName
	}
	return ""
}
