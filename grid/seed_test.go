package grid_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// FuzzSeed: whatever a seed says first is read or refused.
func FuzzSeed(f *testing.F) {
	f.Add("INFO {\"server_id\":\"A\",\"server_name\":\"n1\",\"cluster\":\"test\",\"auth_required\":true}\r\n")
	f.Add("INFO {}\n")
	f.Add("INFO {\"server_name\":7}\r\n")
	f.Add("HTTP/1.1 400 Bad Request\r\n")
	f.Add("INFO [" + strings.Repeat("[", 100))
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		name, err := grid.ReadSeed(line)
		if err == nil && (!strings.HasPrefix(line, "INFO ") || !strings.Contains(line, "\n")) {
			t.Errorf("%q was read as the answer of %q", line, name)
		}
	})
}

// TestClusterConfig: each fault of a cluster's configuration is told by its key.
func TestClusterConfig(t *testing.T) {
	good := func() grid.Config {
		return grid.Config{Dir: "d", Cluster: &grid.Cluster{Name: "c", Node: "n", Listen: "127.0.0.1:1", Seeds: []string{"127.0.0.1:2"}, Secret: clusterSecret}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for key, spoil := range map[string]func(*grid.Config){
		"cluster.name":     func(c *grid.Config) { c.Cluster.Name = "a b" },
		"cluster.node":     func(c *grid.Config) { c.Cluster.Node = "a.b" },
		"cluster.listen":   func(c *grid.Config) { c.Cluster.Listen = "127.0.0.1" },
		"cluster.seeds[0]": func(c *grid.Config) { c.Cluster.Seeds = []string{"host:0"} },
		"cluster.seeds":    func(c *grid.Config) { c.Cluster.Seeds = []string{c.Cluster.Listen} },
		"cluster.replicas": func(c *grid.Config) { c.Cluster.Replicas = 2 },
		"cluster.secret":   func(c *grid.Config) { c.Cluster.Secret = "short" },
		"cluster.tls":      func(c *grid.Config) { c.Cluster.Cert = "cert.pem" },
		"cluster":          func(c *grid.Config) { c.Dir, c.InMemory = "", true },
	} {
		c := good()
		spoil(&c)
		if err := c.Validate(); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := good()
	c.Cluster.Secret = ""
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "cluster.secret: ") {
		t.Errorf("neither a secret nor TLS: %v", err)
	}
}

// TestSeedOfHTTP: a seed that is an address of HTTP is told as that.
func TestSeedOfHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	cfg := clusterConfigs(t, 2)[0]
	cfg.Cluster.Seeds = []string{s.Listener.Addr().String()}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := grid.Open(ctx, cfg); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), cfg.Cluster.Seeds[0]+": HTTP is spoken there") {
		t.Error(err)
	}
}
