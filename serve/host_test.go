package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/serve"
)

// TestHost holds which names a request may use for the node, to read as to write, wherever it goes.
func TestHost(t *testing.T) {
	open := serve.Config{}
	listed := serve.Config{Hosts: []string{"Node.example.com", "192.168.1.5", "[fd00::5]"}}
	withToken := serve.Config{Tokens: []string{token}}
	wide := serve.Config{Listen: "0.0.0.0:0", Insecure: true}
	wideListed := serve.Config{Listen: "0.0.0.0:0", Insecure: true, Hosts: []string{"node.example.com"}}
	for _, c := range []struct {
		name  string
		cfg   serve.Config
		local string
		host  string
		ok    bool
	}{
		{"address", open, "127.0.0.1", "127.0.0.1:8080", true},
		{"address without port", open, "127.0.0.1", "127.0.0.1", true},
		{"another address of loopback", open, "127.8.9.1", "127.8.9.1:1", true},
		{"IPv6", open, "::1", "[::1]:8080", true},
		{"IPv6 without port", open, "::1", "[::1]", true},
		{"IPv4 in IPv6", open, "::1", "[::ffff:127.0.0.1]:8080", true},
		{"localhost", open, "127.0.0.1", "LocalHost:8080", true},
		{"localhost with its dot", open, "127.0.0.1", "localhost.:8080", true},
		{"below localhost", open, "127.0.0.1", "tour.localhost:8080", true},
		{"a name", open, "127.0.0.1", "evil.example:8080", false},
		{"a name without port", open, "127.0.0.1", "evil.example", false},
		{"a name that begins as loopback", open, "127.0.0.1", "localhost.evil.example", false},
		{"a name that begins as an address", open, "127.0.0.1", "127.0.0.1.evil.example:8080", false},
		{"a name that ends alike", open, "127.0.0.1", "evillocalhost:8080", false},
		{"another address", open, "127.0.0.1", "192.168.1.5:8080", false},
		{"every address", open, "127.0.0.1", "0.0.0.0:8080", false},
		{"odd", open, "127.0.0.1", "[::1:8080", false},
		{"HTTP/1.0 without one", open, "127.0.0.1", "", true},
		{"listed", listed, "127.0.0.1", "node.example.com:8080", true},
		{"listed with its dot", listed, "127.0.0.1", "NODE.example.com.", true},
		{"listed address", listed, "127.0.0.1", "192.168.1.5:8080", true},
		{"listed IPv6", listed, "127.0.0.1", "[fd00::5]:8080", true},
		{"below what is listed", listed, "127.0.0.1", "x.node.example.com:8080", false},
		{"with tokens", withToken, "127.0.0.1", "mine.example:8080", true},
		{"insecure, its address", wide, "192.168.1.5", "192.168.1.5:8080", true},
		{"insecure, a probe by another address", wide, "10.1.2.3", "192.168.1.5:8080", true},
		{"insecure, a name", wide, "192.168.1.5", "node:8080", true},
		{"insecure, over loopback", wide, "127.0.0.1", "evil.example:8080", false},
		{"insecure with a list, the name", wideListed, "192.168.1.5", "node.example.com:8080", true},
		{"insecure with a list, another", wideListed, "192.168.1.5", "evil.example:8080", false},
		{"insecure with a list, an address", wideListed, "192.168.1.5", "192.168.1.5:8080", true},
		{"loopback by the configuration alone", open, "", "evil.example", false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			for _, path := range []string{"/", "/rest/v2/caches/c/k", "/v2/health/live", "/metrics"} {
				r := httptest.NewRequest(method, path, nil)
				r.Host = c.host
				if c.local != "" {
					r = r.WithContext(contextWith(r, c.local))
				}
				if len(c.cfg.Tokens) > 0 {
					r.Header.Set("Authorization", "Bearer "+token)
				}
				w := httptest.NewRecorder()
				newServer(t, c.cfg, ok).Handler().ServeHTTP(w, r)
				if (w.Code == http.StatusOK) != c.ok || !c.ok && w.Code != http.StatusMisdirectedRequest {
					t.Errorf("%s: %s %s with Host %q: %d %s", c.name, method, path, c.host, w.Code, w.Body)
				}
				if c.ok || method == http.MethodHead {
					continue
				}
				var e serve.ErrorBody
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code != "host_refused" || !strings.Contains(e.Error, "http.hosts") {
					t.Errorf("%s: %s: %v", c.name, w.Body, err)
				}
			}
		}
	}
}

// contextWith is the context of a request that came in on an address.
func contextWith(r *http.Request, local string) context.Context {
	return context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local), Port: 8080})
}

// TestHostOfAConnection asks a server over its socket: with the Host that a page of another name has, and in the absolute form of a proxy.
func TestHostOfAConnection(t *testing.T) {
	addr, _ := start(t, serve.Config{}, ok, nil)
	for request, want := range map[string]int{
		"GET / HTTP/1.1\r\nHost: " + addr + "\r\n\r\n":                        200,
		"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n":                        421,
		"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n":        421,
		"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil\r\n\r\n": 200,
		"GET / HTTP/1.0\r\n\r\n":                                              200,
		"GET / HTTP/1.0\r\nHost: evil.example\r\n\r\n":                        421,
		"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":     400,
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := ask(t, c, request); status != want {
			t.Errorf("%q: %d %s, want %d", request, status, body, want)
		}
		c.Close()
	}
}

func TestHostsValidate(t *testing.T) {
	err := serve.Config{Hosts: []string{"a.example", "http://b.example", "c.example:8080", "*", "", "::1", "d example"}}.Validate()
	for i, bad := range []bool{false, true, true, true, true, false, true} {
		if err == nil || strings.Contains(err.Error(), fmt.Sprintf("hosts[%d]", i)) != bad {
			t.Errorf("hosts[%d] is refused: %v, want %v: %v", i, !bad, bad, err)
		}
	}
}

// FuzzHost holds that whatever is let in is loopback's in the eyes of a URL's reader too.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1:8080", "[::1]:1", "localhost", "a.localhost.", "evil.example", "[localhost]", "localhost:x", "127.1", "[[::1]]", "::1", "local\u212Aost"} {
		f.Add(s)
	}
	s, err := serve.New(serve.Config{}, ok, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		u, err := url.Parse("http://" + host + "/")
		if w.Code != http.StatusOK || err != nil || u.Hostname() == "" {
			return
		}
		name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		ip := net.ParseIP(name)
		if name != "localhost" && !strings.HasSuffix(name, ".localhost") && (ip == nil || !ip.IsLoopback()) {
			t.Errorf("%q is let in, which is %q", host, name)
		}
	})
}
