package ui_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/app"
)

// blockOf finds the block file in a node's folder that has a text, the newest first, and where it is.
func blockOf(tb testing.TB, dir, text string) (path string, at int) {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "KV_*-d-*", "msgs", "*.blk"))
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(paths)
	for _, p := range slices.Backward(paths) {
		b, err := os.ReadFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		if at := bytes.LastIndex(b, []byte(text)); at >= 0 {
			return p, at
		}
	}
	tb.Fatalf("%q is in none of %d blocks", text, len(paths))
	return "", 0
}

// damage flips 16 bytes in the value of an entry.
func damage(tb testing.TB, dir, subject string) {
	tb.Helper()
	path, at := blockOf(tb, dir, subject)
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 16 {
		b[at+len(subject)+60+i] ^= 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// What was damaged on the disk stands at the top, with its caches, partitions, files and keys, and what to do; the caches are marked. A key that is
// put again or removed is damaged no more, and the next start finds whole files.
func TestDamagePage(t *testing.T) {
	dir := t.TempDir()
	c := node(t, nil)
	c.Node.Data = app.Path(dir)
	c.Caches = map[string]app.CacheConfig{"readings": {}, "orders": {}, "whole": {}}
	address, stop := run(t, c)
	for _, cache := range []string{"readings", "orders", "whole"} {
		for i := range 40 {
			send(t, address, cache, fmt.Sprintf("key-%02d", i), "text/plain", bytes.Repeat(fmt.Appendf(nil, "%s %d;", cache, i), 40))
		}
	}
	p := open(t, address, desktop)
	p.live("Nothing runs here yet")
	p.until(`document.getElementById('tiers').textContent.includes('readings')`)
	if !ask[bool](p, `document.getElementById('damage').hidden && !document.body.innerText.includes('damaged')`) {
		t.Error("a whole node speaks of damage")
	}
	stop()
	p.do(chromedp.Navigate("about:blank"))
	p.forgive() // it did not answer
	damage(t, dir, ".readings.key-07")
	damage(t, dir, ".readings.key-23")
	damage(t, dir, ".orders.key-11")
	address, stop = run(t, c)
	everyScreen(t, address, "Nothing runs here yet", func(p *tab) {
		p.until(`document.getElementById('damage-title').textContent === '3 entries are damaged on the disk: 1 in orders, 2 in readings'`)
		p.until(`document.getElementById('damage').innerText.includes('millrace doctor') && document.getElementById('damage').innerText.includes('backup') && document.getElementById('damage').innerText.includes('410')`)
		p.do(chromedp.Click(chromedp.CSS(`#damage summary`)))
		p.until(`['readings/key-07', 'readings/key-23', 'orders/key-11', 'durable partition ', 'sequence', '.blk', '` + filepath.ToSlash(dir) + `'].every((t) => document.getElementById('damage-files').innerText.includes(t))`)
		p.until(`[...document.querySelectorAll('#tiers tbody tr')].map((r) => r.querySelector('.broken').innerText).join() === '1 damaged,2 damaged,'`)
		p.until(`[...document.querySelectorAll('#cache-list button')].map((b) => b.querySelector('.broken').innerText).join() === '1 damaged,2 damaged,'`)
	})
	p = open(t, address, desktop)
	p.until(`document.getElementById('damage-title').textContent.startsWith('3 entries')`)
	send(t, address, "readings", "key-07", "text/plain", []byte("new"))
	p.until(`document.getElementById('damage-title').textContent === '2 entries are damaged on the disk: 1 in orders, 1 in readings'`)
	send(t, address, "readings", "key-23", "text/plain", []byte("new"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, address+"rest/v2/caches/orders/key-11", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	p.until(`document.getElementById('damage-title').textContent === '3 records were found damaged at the start; no key of a cache is known to be lost now'`)
	p.until(`!document.querySelector('.broken:not(:empty)')`)
	p.keep("put-again")
	stop()
	p.do(chromedp.Navigate("about:blank"))
	p.forgive()
	address, _ = run(t, c)
	p = open(t, address, desktop)
	p.until(`document.getElementById('tiers').textContent.includes('readings') && document.getElementById('damage').hidden`)
}
