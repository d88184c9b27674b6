package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// startCold starts a node whose caches may have the store "cold".
func startCold(t *testing.T) (*node, *faultstore.Store) {
	t.Helper()
	s := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
	g := openCold(t, map[string]cold.Store{"cold": {Store: s}}, s.Up)
	n := start(t, rest.Config{Grid: g}, serve.Config{}, nil)
	n.grid = g
	return n, s
}

// openCold opens a grid whose caches may have some stores. Before it is closed, up makes them usable.
func openCold(t *testing.T, stores map[string]cold.Store, up func()) *grid.Grid {
	t.Helper()
	c, err := cold.New(cold.Config{Stores: stores, Wait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.Open(t.Context(), grid.Config{InMemory: true, Tiers: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		up()
		for _, close := range []func(context.Context) error{c.Close, g.Close} {
			if err := close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	if err := c.Start(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestColdEntries: clients of REST see no difference but in the statistics, until the store is away.
func TestColdEntries(t *testing.T) {
	n, s := startCold(t)
	const path = "/rest/v2/caches/c"
	n.want(200, "POST", path, `{"max_entries": 5, "store": "cold", "policy": "lru"}`)
	n.want(200, "PUT", path, `{"lifespan": "24h"}`) // what it does not name stays
	var config map[string]any
	if err := json.Unmarshal([]byte(n.want(200, "GET", path+"?action=config", "").body), &config); err != nil {
		t.Fatal(err)
	}
	if config["store"] != "cold" || config["evict"] != "store" || config["write"] != "behind" || config["policy"] != "lru" {
		t.Errorf("configuration %v", config)
	}
	etags := map[string]string{}
	for i := range 20 {
		key := fmt.Sprint(i)
		etags[key] = n.want(204, "PUT", path+"/"+key, "value of "+key, "Content-Type: text/plain").header.Get("ETag")
	}
	stats := func() (s map[string]float64) {
		t.Helper()
		if err := json.Unmarshal([]byte(n.want(200, "GET", path+"?action=stats", "").body), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// An eviction is counted a moment after its value is gone.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s := stats()
		if s["current_number_of_entries"] == 20 && s["current_number_of_entries_in_memory"] <= 5 && s["cold"] >= 15 && s["evictions"] >= 15 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("statistics %v", s)
		}
	}
	for i := range 20 {
		key := fmt.Sprint(i)
		a := n.want(200, "GET", path+"/"+key, "")
		if a.body != "value of "+key || a.header.Get("ETag") != etags[key] || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %q %v", key, a.body, a.header)
		}
	}
	if s := stats(); s["loads"] < 15 {
		t.Errorf("statistics %v", s)
	}
	n.want(409, "POST", path+"/0", "again")
	n.want(304, "GET", path+"/0", "", "If-None-Match: "+etags["0"])
	n.want(204, "PUT", path+"/1", "second", "If-Match: "+etags["1"])
	n.want(204, "DELETE", path+"/2", "", "If-Match: "+etags["2"])
	n.want(404, "GET", path+"/2", "")

	s.Down()
	code := 0
	for i := 0; code != 507 && i < 100; i++ {
		a := n.do("PUT", path+"/more-"+fmt.Sprint(i), "")
		if code = a.status; code == 507 && (!strings.Contains(a.body, `"code":"full"`) || !strings.Contains(a.body, "store")) {
			t.Errorf("it says %s", a.body)
		}
	}
	if code != 507 {
		t.Errorf("puts go on without the store: %d", code)
	}
	n.want(503, "GET", path+"/5", "")
	s.Up()
	n.want(200, "GET", path+"/5", "")
	n.want(204, "POST", path+"?action=clear", "")
	if s := stats(); s["current_number_of_entries"] != 0 || s["cold"] != 0 {
		t.Errorf("statistics after clear %v", s)
	}
}

// TestColdWithoutItsStore: what needs no value does without the store, and leaves the entry in it.
func TestColdWithoutItsStore(t *testing.T) {
	n, s := startCold(t)
	const path = "/rest/v2/caches/c"
	n.want(200, "POST", path, `{"max_entries": 1, "store": "cold", "policy": "lru"}`)
	etags := map[string]string{}
	for i := range 9 {
		key := fmt.Sprint(i)
		etags[key] = n.want(204, "PUT", path+"/"+key, "value of "+key, "Content-Type: text/plain").header.Get("ETag")
	}
	cold := func() (loads, cold float64) {
		t.Helper()
		var s map[string]float64
		if err := json.Unmarshal([]byte(n.want(200, "GET", path+"?action=stats", "").body), &s); err != nil {
			t.Fatal(err)
		}
		return s["loads"], s["cold"]
	}
	if loads, cold := cold(); loads != 0 || cold != 8 {
		t.Fatalf("%v loads, %v cold", loads, cold)
	}
	s.Down()
	n.want(503, "GET", path+"/0", "")
	a := n.want(200, "HEAD", path+"/0", "")
	if a.header.Get("Content-Length") != "10" || a.header.Get("ETag") != etags["0"] || a.header.Get("Content-Type") != "text/plain" || a.body != "" {
		t.Errorf("HEAD: %q %v", a.body, a.header)
	}
	n.want(304, "HEAD", path+"/0", "", "If-None-Match: "+etags["0"])
	n.want(304, "GET", path+"/0", "", "If-None-Match: "+etags["0"])
	n.want(304, "GET", path+"/0?peek=true", "", "If-None-Match: "+etags["0"])
	n.want(304, "GET", path+"/0", "", "If-Modified-Since: "+time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	n.want(412, "GET", path+"/0", "", `If-Match: "1234567"`)
	n.want(412, "PUT", path+"/0", "other", `If-Match: "1234567", "7654321"`)
	n.want(412, "POST", path+"/0", "other", "If-None-Match: *")
	n.want(412, "DELETE", path+"/0", "", "If-None-Match: *")
	var entries []struct {
		Key   string
		Bytes int
		Cold  bool
		Type  string `json:"contentType"`
	}
	for _, q := range []string{"", "&order=newest&limit=9", "&order=key"} {
		if err := json.Unmarshal([]byte(n.want(200, "GET", path+"?action=entries&values=false"+q, "").body), &entries); err != nil {
			t.Fatal(err)
		}
		if len(entries) != 9 {
			t.Fatalf("%s: %+v", q, entries)
		}
		for i, e := range entries {
			want := fmt.Sprint(i)
			if strings.Contains(q, "newest") {
				want = fmt.Sprint(8 - i)
			}
			if e.Key != want || e.Bytes != 10 || e.Cold != (want != "8") || e.Type != "text/plain" {
				t.Errorf("%s: %+v", q, e)
			}
		}
	}
	n.want(204, "DELETE", path+"/1", "", "If-Match: "+etags["1"]+`, "1234567"`)
	n.want(204, "PUT", path+"/2", "other", "If-Unmodified-Since: "+time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	s.Up()
	if a := n.want(200, "GET", path+"/0?peek=true", ""); a.body != "value of 0" || a.header.Get("ETag") != etags["0"] {
		t.Errorf("peek: %q %v", a.body, a.header)
	}
	if loads, cold := cold(); loads != 1 || cold != 7 {
		t.Errorf("%v loads, %v cold", loads, cold)
	}
	n.want(400, "GET", path+"/0?peek=maybe", "")
	for _, q := range []string{"keys&order=newest&limit=1", "entries&order=newest&limit=1", "entries&order=newest&values=false", "entries&order=newest&values=false&limit=1001", "entries&order=size", "entries&values=no"} {
		n.want(400, "GET", path+"?action="+q, "")
	}
}

// TestPreload: what is loaded at a start is a word, or a number with or without quotes.
func TestPreload(t *testing.T) {
	n, _ := startCold(t)
	for i, c := range []struct {
		body, want string
		status     int
	}{
		{`{"store": "cold"}`, `"preload":"none"`, 200}, {`{"store": "cold", "preload": "keys"}`, `"preload":"keys"`, 200},
		{`{"store": "cold", "preload": 100}`, `"preload":"100"`, 200}, {`{"store": "cold", "preload": "100"}`, `"preload":"100"`, 200},
		{`{"store": "cold", "class": "volatile"}`, `"preload":"all"`, 200}, {`{"store": "cold", "preload": 0}`, "preload", 400},
		{`{"store": "cold", "preload": "some"}`, "preload", 400}, {`{"store": "cold", "preload": 1.5}`, "preload", 400}, {`{"preload": "keys"}`, "needs a store", 400},
		{`{"store": "cold", "preload": {}}`, "configuration", 400},
	} {
		path := fmt.Sprint("/rest/v2/caches/c", i)
		a := n.want(c.status, "POST", path, c.body)
		if c.status == 200 {
			a = n.want(200, "GET", path+"?action=config", "")
		}
		if !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %s", c.body, a.body)
		}
	}
}

// TestEvictedEvent: an entry that leaves a full cache without a store has expired, and the event says why where it has room.
func TestEvictedEvent(t *testing.T) {
	n, _ := startCold(t)
	n.want(200, "POST", "/rest/v2/caches/c", `{"max_entries": 1, "evict": "drop"}`)
	keys, values := n.listen(""), n.listen("&values=true")
	n.want(204, "PUT", "/rest/v2/caches/c/a", "")
	n.want(204, "PUT", "/rest/v2/caches/c/b", "")
	expired := func(s *stream) string { // what came before may be left out
		t.Helper()
		for {
			e, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			if e.name == "cache-entry-expired" {
				return e.data
			}
		}
	}
	if got := expired(keys); got != "a" {
		t.Errorf("%q has expired", got)
	}
	var got map[string]any
	data := expired(values)
	if err := json.Unmarshal([]byte(data), &got); err != nil || got["reason"] != "evicted" || got["key"] != "a" {
		t.Errorf("%v: %s", err, data)
	}
}

// TestEvict: values leave memory when they are told to, and the answer says what stands in the way of those that do not.
func TestEvict(t *testing.T) {
	n, s := startCold(t)
	const path = "/rest/v2/caches/c"
	evict := func(body string) (out struct {
		Evicted, Cold, Missing, Staying int
		Reasons                         []struct {
			Key   grid.JSONKey
			Error string
		}
	}) {
		t.Helper()
		if err := json.Unmarshal([]byte(n.want(200, "POST", path+"?action=evict", body).body), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	n.want(200, "POST", path, `{"store": "cold"}`)
	if out := evict(""); out.Evicted+out.Cold+out.Missing+out.Staying != 0 {
		t.Errorf("of an empty cache %+v", out)
	}
	const odd = "%FF%00x"
	etags := map[string]string{}
	for _, key := range []string{"1", "2", "3", odd} {
		etags[key] = n.want(204, "PUT", path+"/"+key, "value of "+key).header.Get("ETag")
	}
	if out := evict(`{"keys": ["1", "nothing", {"base64": "/wB4"}]}`); out.Evicted != 2 || out.Missing != 1 || out.Staying != 0 {
		t.Errorf("%+v", out)
	}
	if out := evict(""); out.Evicted != 2 || out.Cold != 2 {
		t.Errorf("all: %+v", out)
	}
	var stats map[string]float64
	if err := json.Unmarshal([]byte(n.want(200, "GET", path+"?action=stats", "").body), &stats); err != nil || stats["cold"] != 4 || stats["evictions"] != 4 {
		t.Errorf("%v: statistics %v", err, stats)
	}
	for key, etag := range etags {
		if a := n.want(200, "GET", path+"/"+key, ""); a.body != "value of "+key || a.header.Get("ETag") != etag {
			t.Errorf("%s is %q, %s", key, a.body, a.header.Get("ETag"))
		}
	}
	s.Down()
	n.want(204, "PUT", path+"/new", "")
	if out := evict(`{"keys": ["new", "1"]}`); out.Evicted != 1 || out.Staying != 1 || len(out.Reasons) != 1 || out.Reasons[0].Key != "new" || !strings.Contains(out.Reasons[0].Error, "the store cold does not have it") {
		t.Errorf("without the store: %+v", out)
	}
	n.want(200, "GET", path+"/new", "")
	s.Up()
	for _, body := range []string{"{}", `{"keys": null}`, `{"keys": [1]}`, `{"keys": []} 1`, `{"key": ["1"]}`, "x"} {
		if a := n.want(400, "POST", path+"?action=evict", body); a.code(t) != "bad_request" {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	n.want(400, "POST", path+"?action=evict", `{"keys": [""]}`)
	n.want(413, "POST", path+"?action=evict", strings.Repeat(" ", 4<<20+1))
	n.want(200, "POST", "/rest/v2/caches/plain", "")
	if a := n.want(409, "POST", "/rest/v2/caches/plain?action=evict", ""); a.code(t) != "no_eviction" {
		t.Error(a.body)
	}
	n.want(404, "POST", "/rest/v2/caches/nobody?action=evict", "")
}
