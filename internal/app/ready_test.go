package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/natstest"
)

// run runs a node and returns its address; the test's end stops it.
func run(t *testing.T, change func(*app.Config)) string {
	t.Helper()
	n := runStoppable(t, change)
	select {
	case url := <-n.url:
		return url
	case err := <-n.done:
		n.done <- nil
		t.Error(err)
	}
	return ""
}

// stoppable is a node that a test may stop before its end.
type stoppable struct {
	url  chan string // once it is ready
	done chan error
	stop func()
}

func runStoppable(t *testing.T, change func(*app.Config)) stoppable {
	t.Helper()
	c := app.Defaults()
	c.HTTP.Listen = "127.0.0.1:0"
	c.Node.Data = app.Path(t.TempDir())
	change(&c)
	c.Complete()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := stoppable{url: make(chan string, 1), done: make(chan error, 1)}
	go func() {
		n.done <- app.Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(node *app.Node) { n.url <- node.URL() })
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-n.done; err != nil {
			t.Log(err) // what was taken away from it
		}
	})
	t.Cleanup(n.stop)
	return n
}

func send(t *testing.T, method, url string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// awaitReasons waits until the node is ready, for no parts, or has a reason with all parts for not being so.
func awaitReasons(t *testing.T, url string, parts ...string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		status, body := send(t, "GET", url+"v2/health/ready", nil)
		var answer struct{ Reasons []string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		all := strings.Join(answer.Reasons, "\n")
		fits := (status == 200) == (len(parts) == 0)
		for _, p := range parts {
			fits = fits && strings.Contains(all, p)
		}
		if fits {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("wants %q, got %d %s", parts, status, body)
		}
	}
	if status, body := send(t, "GET", url+"v2/health/live", nil); status != 200 || !strings.Contains(body, `"live":true`) {
		t.Errorf("live: %d %s", status, body)
	}
}

// A node is not ready while a pipeline cannot run or is too far behind, and says why. A paused one is no reason.
func TestReadyIsTrueOfPipelines(t *testing.T) {
	url := run(t, func(c *app.Config) {
		c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
		c.Pipelines = map[string]app.PipelineConfig{
			"works": {From: "a", Model: "digits", To: "b"},
			"lacks": {From: "c", Model: "nobody", To: "d", MaxLag: app.Duration(time.Millisecond)},
		}
	})
	awaitReasons(t, url, "pipeline lacks is blocked", "nobody")
	if status, body := send(t, "POST", url+"rest/v2/pipelines/lacks?action=pause", nil); status >= 300 {
		t.Fatalf("pause: %d %s", status, body)
	}
	awaitReasons(t, url)
	if status, body := send(t, "PUT", url+"rest/v2/caches/c/k", []byte("{}")); status != 204 {
		t.Fatalf("put: %d %s", status, body)
	}
	awaitReasons(t, url)
	if status, body := send(t, "POST", url+"rest/v2/pipelines/lacks?action=resume", nil); status >= 300 {
		t.Fatalf("resume: %d %s", status, body)
	}
	awaitReasons(t, url, "lacks")
}

// A node whose folder, or the folder of a store, is taken away is not ready, and puts fail.
func TestReadyIsTrueOfFolders(t *testing.T) {
	var data, store string
	url := run(t, func(c *app.Config) {
		data, store = string(c.Node.Data), filepath.Join(t.TempDir(), "cold")
		c.Stores = map[string]app.StoreConfig{"cold": {Type: "disk", Dir: app.Path(store)}}
		c.Caches = map[string]app.CacheConfig{"a": {Store: "cold"}}
	})
	awaitReasons(t, url)
	for _, name := range []string{"db", "LOCK", "FORMAT"} {
		if err := os.RemoveAll(filepath.Join(store, name)); err != nil {
			t.Fatal(err)
		}
	}
	awaitReasons(t, url, "store cold", "removed")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	awaitReasons(t, url, "removed", string(filepath.Separator)+filepath.Base(data)) // the test's own folder may have the digits of its name
	if status, body := send(t, "PUT", url+"rest/v2/caches/a/k", []byte("v")); status != 503 || !strings.Contains(body, "removed") {
		t.Errorf("a put: %d %s", status, body)
	}
}

// An entry that was damaged on the disk is answered with 410, and counted.
func TestDamagedEntryIsGone(t *testing.T) {
	dir := t.TempDir()
	at := func(c *app.Config) {
		c.Node.Data = app.Path(dir)
		c.Caches = map[string]app.CacheConfig{"a": {}}
	}
	t.Run("put", func(t *testing.T) {
		url := run(t, at)
		for _, k := range []string{"k1", "k2", "k3"} {
			if status, body := send(t, "PUT", url+"rest/v2/caches/a/"+k, []byte("the value of "+k)); status != 204 {
				t.Fatalf("%d %s", status, body)
			}
		}
	})
	flipped := false
	paths, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte("value of k2")); i >= 0 {
			b[i] ^= 1
			flipped = true
			if err := os.WriteFile(p, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !flipped {
		t.Fatal("the value is in no block")
	}
	url := run(t, at)
	for k, want := range map[string]int{"k1": 200, "k2": 410, "k3": 200, "k4": 404} {
		if status, body := send(t, "GET", url+"rest/v2/caches/a/"+k, nil); status != want || want == 410 && !strings.Contains(body, "entry_damaged") {
			t.Errorf("%s: %d %s", k, status, body)
		}
	}
	if _, body := send(t, "GET", url+"rest/v2/stats", nil); !strings.Contains(body, `"a/k2"`) || !strings.Contains(body, `"damaged":1`) {
		t.Errorf("stats: %s", body)
	}
	if _, body := send(t, "GET", url+"metrics", nil); !strings.Contains(body, `millrace_cache_damaged_entries{cache="a"} 1`) || !strings.Contains(body, `millrace_grid_damaged_records_total{class="durable",partition="`) {
		t.Errorf("metrics: %s", body)
	}
}

// Two nodes of one grid, of which one has a pipeline in its configuration file: the other says who runs it and does not remove its positions, and where both
// have the name, the file's node says that it hides the other's.
func TestPipelineInAnotherNodesFile(t *testing.T) {
	nats := natstest.URL(t)
	with := func(c *app.Config) {
		c.Grid.URL = nats
		c.Pipelines = map[string]app.PipelineConfig{"p": {From: "in", Model: "digits", To: "out"}}
		c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
	}
	one := run(t, func(c *app.Config) { c.Grid.URL, c.Node.Name = nats, "other" })
	two := run(t, with)
	type seen struct {
		State, Reason, Origin string
		Hides                 bool
	}
	get := func(address string) (s seen) {
		_, text := send(t, http.MethodGet, address+"rest/v2/pipelines/p", nil)
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				_, text := send(t, http.MethodGet, one+"rest/v2/pipelines", nil)
				t.Fatalf("not within a minute: %s: %s and %+v", what, text, get(two))
			}
		}
	}
	for i := range 20 { // some in the partitions of the node that runs it, which has positions then
		if code, text := send(t, http.MethodPut, fmt.Sprint(two, "rest/v2/caches/in/", i), []byte("no picture")); code != http.StatusNoContent {
			t.Fatalf("%d %s", code, text)
		}
	}
	until("what waits where nobody reads it is told", func() bool {
		s := get(two)
		return s.State == "blocked" && strings.Contains(s.Reason, "not run by the nodes that own partitions")
	})
	until("it is known where it runs", func() bool {
		s := get(one)
		return s.State == "not configured" && s.Reason == "another node runs it, whose configuration file has it"
	})
	if code, text := send(t, http.MethodDelete, one+"rest/v2/pipelines/p", nil); code != http.StatusConflict || !strings.Contains(text, "pipeline_in_file") || !strings.Contains(text, "another node") {
		t.Errorf("removing it from elsewhere: %d %s", code, text)
	}
	for body, want := range map[string]string{
		`{"from":"in","model":"../../etc","to":"away"}`:               `"code":"bad_model_name"`,
		`{"from":"in","model":"digits","to":"away","TO":"b"}`:         `"code":"bad_config"`,
		`{"from":"in","model":"digits","to":"away","max_batch":0}`:    `"code":"bad_config"`,
		`{"from":"in","model":"digits","to":"away","to":"elsewhere"}`: `"code":"bad_config"`,
	} {
		if code, text := send(t, http.MethodPut, one+"rest/v2/pipelines/p", []byte(body)); code != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %s", body, code, text, want)
		}
		if code, text := send(t, http.MethodHead, one+"rest/v2/caches/away", nil); code != http.StatusNotFound {
			t.Errorf("%s: made its cache: %d %s", body, code, text)
		}
	}
	if code, text := send(t, http.MethodPut, one+"rest/v2/pipelines/p", []byte(`{"from":"in","model":"digits","to":"elsewhere"}`)); code != http.StatusCreated {
		t.Fatalf("%d %s", code, text)
	}
	until("the file's hides the grid's", func() bool { s := get(two); return s.Hides && s.Origin == "file" })
	if code, text := send(t, http.MethodPut, two+"rest/v2/pipelines/p", []byte(`{"from":"in","model":"digits","to":"elsewhere"}`)); code != http.StatusConflict || !strings.Contains(text, "pipeline_in_file") {
		t.Errorf("changing what the file has: %d %s", code, text)
	}
	if code, text := send(t, http.MethodDelete, two+"rest/v2/pipelines/p", nil); code != http.StatusNoContent {
		t.Errorf("removing what is hidden: %d %s", code, text)
	}
	until("the grid's is gone", func() bool { return !get(two).Hides && get(one).State == "not configured" })
	if s := get(two); s.Origin != "file" {
		t.Errorf("the file's afterwards: %+v", s)
	}
}
