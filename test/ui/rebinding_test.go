package ui_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// strangers is a name that leads to this machine, as a page's owner can make their name do after the page was loaded (DNS rebinding).
const strangers = "evil.example"

// TestRebinding is a page of another site whose name was pointed at the node. To the browser they are one origin, so that its rules let the page
// do everything: the node has to refuse it.
func TestRebinding(t *testing.T) {
	c := demo(t, t.TempDir(), "127.0.0.1:0")
	c.HTTP.Debug = true
	address, _ := run(t, c)
	put(t, address, "secret", "text/plain", []byte("nobody's business"))
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	theirs := "http://" + strangers + ":" + u.Port() + "/"
	p := open(t, theirs, desktop)
	p.forgive()
	if origin := ask[string](p, "location.origin"); origin+"/" != theirs {
		t.Fatalf("the page's origin is %s, want %s", origin, theirs)
	}
	if text := ask[string](p, "document.body.textContent"); !strings.Contains(text, `"code":"host_refused"`) {
		t.Errorf("the page shows %.200s", text)
	}
	for _, path := range []string{
		"", "app.js", "openapi.yaml", "metrics", "debug/pprof/goroutine", "v2", "v2/health/live", "v2/models/digits", "rest/v2/stats", "rest/v2/caches",
		"rest/v2/caches/digits/secret", "rest/v2/caches/digits?action=entries", "rest/v2/caches/digits?action=listen&includeCurrentState=true",
	} {
		p.refused("GET", path)
	}
	p.refused("PUT", "rest/v2/caches/digits/secret")
	p.refused("POST", "rest/v2/caches/mine")
	p.refused("DELETE", "rest/v2/caches/digits")
	p.refused("POST", "v2/models/digits/infer")
	p.forgive()
	answer, err := http.Get(address + "rest/v2/caches/digits/secret")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("what the page was refused to remove is gone: %s", answer.Status)
	}

	// The same name is let in once it is listed.
	c = demo(t, t.TempDir(), "127.0.0.1:0")
	c.HTTP.Hosts = []string{strangers}
	address, _ = run(t, c)
	if u, err = url.Parse(address); err != nil {
		t.Fatal(err)
	}
	listed := open(t, "http://"+strangers+":"+u.Port()+"/", desktop)
	listed.ready()
}

// refused asks as a script of the page can, and wants the answer 421.
func (p *tab) refused(method, path string) {
	p.tb.Helper()
	script := fmt.Sprintf(`fetch('/%s', {method: '%s', body: '%s' === 'GET' ? undefined : 'x'}).then((r) => r.status)`, path, method, method)
	got, err := chromedp.Run(p.ctx, chromedp.Evaluate[int](script, chromedp.EvalAwaitPromise))
	p.must(script, err)
	if got != http.StatusMisdirectedRequest {
		p.tb.Errorf("%s /%s: a rebound page got %d", method, path, got)
	}
}
