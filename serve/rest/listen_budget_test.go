package rest_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

// deaf opens an event stream with values that nobody reads after its first line, over a socket with a receive buffer of some bytes.
func (n *node) deaf(buffer int) *bufio.Reader {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(buffer)
	if _, err := io.WriteString(conn, "GET /rest/v2/caches/c?action=listen&values=true HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		n.t.Fatal(err)
	}
	in := bufio.NewReaderSize(conn, 16)
	line, err := in.ReadString('\n')
	if err != nil || line != "HTTP/1.1 200 OK\r\n" {
		n.t.Fatalf("%q, %v", line, err)
	}
	return in
}

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestListenersShareABudget has 40 readers that never read while 100 KB entries come: 1.8 GB once. What the process holds for them stays within
// the budget, and a reader that does read misses nothing.
func TestListenersShareABudget(t *testing.T) {
	const all, each = 32 << 20, 2 << 20
	budget := grid.NewBudget(all, each)
	n := start(t, rest.Config{Listeners: budget}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	reading := n.listen("&values=true")
	var before, most int64
	const warm = 150 // what the grid itself keeps has settled then
	for i := range 2 * warm {
		if i == warm {
			before = heap()
			for range 40 {
				n.deaf(4 << 10)
			}
		}
		if _, err := c.Put(t.Context(), fmt.Sprint(i), make([]byte, 100_000), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if e, err := reading.next(); err != nil || !strings.Contains(e.data, fmt.Sprintf(`"key":"%d"`, i)) {
			t.Fatalf("%d: %.100s, %v", i, e.data, err)
		}
		if i > warm && i%25 == 24 {
			most = max(most, heap()-before)
		}
	}
	t.Logf("40 readers that never read, 15 MB of entries: at most %d MB more in memory, %d MB in the budget, %d ended", most>>20, budget.Used()>>20, budget.Behind())
	if most > all+16<<20 {
		t.Errorf("%d MB more in memory, want at most the budget's %d and 16", most>>20, all>>20)
	}
	if got := budget.Used(); got > all {
		t.Errorf("the budget has %d bytes taken of %d", got, all)
	}
	if budget.Behind() != 40 {
		t.Errorf("%d listeners ended, want the 40 that do not read", budget.Behind())
	}
	if err := n.stop(); err != nil || budget.Used() != 0 {
		t.Errorf("after the stop %d bytes are taken, %v", budget.Used(), err)
	}
}

// TestListenerIsToldThatItIsBehind has a reader stop while more comes than may wait for it. When it reads on it is told, its stream ends, and it resumes
// without a loss.
func TestListenerIsToldThatItIsBehind(t *testing.T) {
	budget := grid.NewBudget(64<<20, 1<<20)
	n := start(t, rest.Config{Listeners: budget}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	in := n.deaf(64 << 10)
	const keys = 40
	for i := range keys {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), make([]byte, 100_000), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for budget.Behind() == 0 {
		runtime.Gosched()
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n"), in)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s := newStream(t, resp.Body)
	seen := map[string]bool{}
	key := func(e event) string {
		var entry struct{ Key string }
		if err := json.Unmarshal([]byte(e.data), &entry); err != nil {
			t.Fatalf("%.100s: %v", e.data, err)
		}
		return entry.Key
	}
	last := s.start
	for {
		e, err := s.next()
		if err != nil {
			t.Fatalf("the stream ended without a reason: %v", err)
		}
		if e.name == "error" {
			var told struct {
				Error, Code string
				LastID      string `json:"last_id"`
			}
			if err := json.Unmarshal([]byte(e.data), &told); err != nil || told.Code != "listener_behind" || told.LastID != last || !strings.Contains(told.Error, "1048576 bytes") {
				t.Errorf("%s, %v; want listener_behind and the last id %s", e.data, err, last)
			}
			break
		}
		last = e.id
		seen[key(e)] = true
	}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the reason: %v", err)
	}
	if len(seen) == keys { // on a loaded machine it may be none
		t.Fatalf("%d of %d events came before the end", len(seen), keys)
	}
	again := n.listen("&values=true", "Last-Event-ID: "+last)
	for len(seen) < keys {
		e, err := again.next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[key(e)] {
			t.Errorf("%s came twice", key(e))
		}
		seen[key(e)] = true
	}
}

// TestListenersWithoutRoom holds that one listener more than there is room for is refused with a reason, and let in when another is gone.
func TestListenersWithoutRoom(t *testing.T) {
	n := start(t, rest.Config{Listeners: grid.NewBudget(600<<10, 1<<20)}, serve.Config{}, nil)
	first := n.listen("")
	n.listen("")
	a := n.want(503, "GET", "/rest/v2/caches/c?action=listen", "")
	if !strings.Contains(a.body, `"code":"listener_behind"`) || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	first.body.Close()
	for deadline := time.Now().Add(20 * time.Second); ; {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/rest/v2/caches/c?action=listen", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := n.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}

// TestLargeEntriesReachAReader holds that an entry which is larger than one listener's bound comes nevertheless.
func TestLargeEntriesReachAReader(t *testing.T) {
	n := start(t, rest.Config{Listeners: grid.NewBudget(64<<20, 1<<19)}, serve.Config{}, nil)
	newCache(t, n.grid, grid.CacheConfig{Name: "large", MaxEntryBytes: 8 << 20})
	c, err := n.grid.Cache(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), make([]byte, 8<<20), grid.PutOptions{ContentType: "application/octet-stream"}); err != nil {
			t.Fatal(err)
		}
	}
	seen, last := 0, ""
	for connections := 0; seen < 3; connections++ {
		if connections == 10 {
			t.Fatalf("%d of 3 entries came over %d connections", seen, connections)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/rest/v2/caches/large?action=listen&values=true&includeCurrentState=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		resp, err := n.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		s := newStream(t, resp.Body)
		for seen < 3 {
			e, err := s.next()
			if err != nil || e.name == "error" {
				break
			}
			if e.id != "" {
				seen, last = seen+1, e.id
			}
		}
		resp.Body.Close()
	}
}
