package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/serve"
)

const (
	token = "0123456789abcdef"
	other = "fedcba9876543210"
)

var ok = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "in") })

func newServer(t *testing.T, cfg serve.Config, h http.Handler) *serve.Server {
	t.Helper()
	s, err := serve.New(cfg, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	s := newServer(t, serve.Config{Tokens: []string{token, other}, Public: func(r *http.Request) bool { return r.URL.Path == "/public" }}, ok)
	for _, c := range []struct {
		path, authorization string
		status              int
		challenge           string
	}{
		{"/rest/v2/caches", "", 401, `Bearer realm="millrace"`},
		{"/rest/v2/caches", "Bearer " + token, 200, ""},
		{"/rest/v2/caches", "bearer  " + other, 200, ""},
		{"/rest/v2/caches", "Bearer " + token + "x", 401, `Bearer realm="millrace", error="invalid_token"`},
		{"/rest/v2/caches", "Bearer", 401, `Bearer realm="millrace", error="invalid_token"`},
		{"/rest/v2/caches", "Basic " + token, 401, `Bearer realm="millrace"`},
		{"/public", "", 200, ""},
		{"/public/", "", 401, `Bearer realm="millrace"`},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s with %q: %d %q, want %d %q", c.path, c.authorization, w.Code, w.Header().Get("WWW-Authenticate"), c.status, c.challenge)
		}
		if c.status == 401 && strings.Contains(w.Body.String(), token) {
			t.Errorf("the answer tells a token: %s", w.Body)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	open := serve.Config{}
	listed := serve.Config{CORS: []string{"https://ours.example"}}
	withToken := serve.Config{Tokens: []string{token}}
	all := serve.Config{Tokens: []string{token}, CORS: []string{"*"}}
	for _, c := range []struct {
		name           string
		cfg            serve.Config
		method         string
		host           string
		origin, site   string
		status         int
		allowed, bears string
	}{
		{"curl", open, "PUT", "127.0.0.1:8080", "", "", 200, "", ""},
		{"our page", open, "PUT", "127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", 200, "", ""},
		{"our page by name", open, "PUT", "localhost:8080", "http://localhost:8080", "same-origin", 200, "", ""},
		{"another site", open, "PUT", "127.0.0.1:8080", "https://evil.example", "cross-site", 403, "", ""},
		{"another site without fetch metadata", open, "DELETE", "127.0.0.1:8080", "https://evil.example", "", 403, "", ""},
		{"another port", open, "POST", "127.0.0.1:8080", "http://127.0.0.1:9999", "same-site", 403, "", ""},
		{"a file", open, "POST", "127.0.0.1:8080", "null", "cross-site", 403, "", ""},
		{"another site reads", open, "GET", "127.0.0.1:8080", "https://evil.example", "cross-site", 200, "", ""},
		{"a name that was pointed here", open, "PUT", "evil.example:8080", "http://evil.example:8080", "same-origin", 421, "", ""},
		{"that name with a token", withToken, "PUT", "mine.example:8080", "http://mine.example:8080", "same-origin", 200, "", token},
		{"listed", listed, "PUT", "127.0.0.1:8080", "https://ours.example", "cross-site", 200, "https://ours.example", ""},
		{"listed reads", listed, "GET", "127.0.0.1:8080", "https://ours.example", "cross-site", 200, "https://ours.example", ""},
		{"not listed", listed, "PUT", "127.0.0.1:8080", "https://evil.example", "cross-site", 403, "", ""},
		{"any, with the token", all, "PUT", "127.0.0.1:8080", "https://evil.example", "cross-site", 200, "https://evil.example", token},
		{"any, without", all, "PUT", "127.0.0.1:8080", "https://evil.example", "cross-site", 401, "https://evil.example", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "http://"+c.host+"/x", nil)
			for name, v := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
				if v != "" {
					r.Header.Set(name, v)
				}
			}
			if c.bears != "" {
				r.Header.Set("Authorization", "Bearer "+c.bears)
			}
			w := httptest.NewRecorder()
			newServer(t, c.cfg, ok).Handler().ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("Access-Control-Allow-Origin") != c.allowed {
				t.Errorf("%d, allowed %q; want %d, %q: %s", w.Code, w.Header().Get("Access-Control-Allow-Origin"), c.status, c.allowed, w.Body)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	s := newServer(t, serve.Config{Tokens: []string{token}, CORS: []string{"https://ours.example"}}, ok)
	ask := func(origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/rest/v2/caches/c/k", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "PUT")
		r.Header.Set("Access-Control-Request-Headers", "authorization,millrace-label-x")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	w := ask("https://ours.example")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Headers") != "authorization,millrace-label-x" ||
		!strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), "PUT") || w.Header().Get("Vary") != "Origin" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask("https://evil.example"); w.Code == 204 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", w.Code, w.Header())
	}
}

func TestValidate(t *testing.T) {
	err := serve.Config{
		Listen: "0.0.0.0:8080", TLS: serve.TLS{Cert: "c.pem"}, Tokens: nil,
		CORS: []string{"*", "ours.example", "https://a.example/x"}, MaxConnections: -1,
	}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{"listen: 0.0.0.0:8080 is reached from other machines", "tls: needs both cert and key", `cors[0]: "*" would let`,
		`cors[1]: "ours.example" is not an origin`, `cors[2]: "https://a.example/x" is not an origin`, "max_connections: -1 must be at least 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if err := (serve.Config{Tokens: []string{"short", "with a blank in it"}}).Validate(); err == nil ||
		!strings.Contains(err.Error(), "tokens[0]") || !strings.Contains(err.Error(), "tokens[1]") || strings.Contains(err.Error(), "short,") {
		t.Errorf("tokens: %v", err)
	}
	if err := (serve.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestCheckListen(t *testing.T) {
	for _, c := range []struct {
		addr             string
		tokens, insecure bool
		ok               bool
	}{
		{"127.0.0.1:8080", false, false, true},
		{"127.8.9.1:0", false, false, true},
		{"[::1]:8080", false, false, true},
		{"localhost:8080", false, false, true},
		{":8080", false, false, false},
		{"0.0.0.0:8080", false, false, false},
		{"[::]:8080", false, false, false},
		{"[::ffff:127.0.0.1]:80", false, false, true},
		{"192.168.1.5:8080", false, false, false},
		{"localhost.example.com:8080", false, false, false},
		{"0.0.0.0:8080", true, false, true},
		{"0.0.0.0:8080", false, true, true},
		{"127.0.0.1", true, true, false},
		{"127.0.0.1:", true, true, false},
		{"127.0.0.1:99999", true, true, false},
		{"127.0.0.1:-1", true, true, false},
		{"127.0.0.1:http", true, true, false},
	} {
		if err := serve.CheckListen(c.addr, c.tokens, c.insecure); (err == nil) != c.ok {
			t.Errorf("%s (tokens %v, insecure %v): %v", c.addr, c.tokens, c.insecure, err)
		}
	}
}
