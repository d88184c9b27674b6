package ui_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace/millrace/internal/cli"
	"github.com/millrace/millrace/serve/admin"
)

// runDemo runs `millrace demo` with flags, and returns the address that it prints. It stops with the test.
func runDemo(tb testing.TB, flags ...string) (address string) {
	tb.Helper()
	need(tb)
	args := append([]string{"demo", "--no-browser", "--http", "127.0.0.1:0", "--dir", tb.TempDir()}, flags...)
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var stderr strings.Builder
	done := make(chan int, 1)
	go func() {
		done <- cli.Main(ctx, args, cli.Process{Stdout: in, Stderr: &stderr})
		in.Close()
	}()
	tb.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 || stderr.Len() > 0 {
			tb.Errorf("the demo ended with %d: %s", code, stderr.String())
		}
	})
	lines := bufio.NewScanner(out)
	for address == "" && lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, "http://") {
			address = line
		}
	}
	if address == "" {
		tb.Fatal("the demo prints no address")
	}
	go io.Copy(io.Discard, out) // it ends with the demo
	return address
}

// places are the keys on the shelf, the newest first, by where their values are.
func (p *tab) places() (hot, cold []string) {
	p.tb.Helper()
	for _, tile := range ask[[]string](p, `[...document.querySelectorAll('#shelf-list li')].map((li) => li.className.split(' ')[0] + ' ' + li.firstChild.title.split(',')[0])`) {
		where, key, _ := strings.Cut(tile, " ")
		if where == "hot" {
			hot = append(hot, key)
		} else {
			cold = append(cold, key)
		}
	}
	return hot, cold
}

// shelved waits until so many digits are in memory and so many in the store, on the shelf and in the table.
func (p *tab) shelved(hot, cold int, memory string) {
	p.tb.Helper()
	p.until(fmt.Sprintf(`document.querySelectorAll('#shelf-list .hot').length === %d && document.querySelectorAll('#shelf-list .cold').length === %d`, hot, cold))
	p.until(fmt.Sprintf(`document.getElementById('shelf-memory').textContent === %q && document.getElementById('shelf-store').textContent === '%d'`, memory, cold))
	p.until(fmt.Sprintf(`(() => { const cells = [...document.querySelectorAll('#tiers tbody tr')].find((r) => r.cells[0].textContent.startsWith('digits')).cells;
		return cells[1].textContent === %q && cells[2].textContent === '%d'; })()`, memory, cold))
}

// pick clicks a key's tile.
func (p *tab) pick(key string) {
	p.tb.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`[...document.querySelectorAll('#shelf-list button')].find((b) => b.title.startsWith(%q)).click()`, key+",")))
}

// TestDigitGoesColdAndComesBack is what the demo is for with room for five: of eight digits five are in memory, one that is in the store
// comes back when it is picked, and the one that was not needed for the longest goes.
func TestDigitGoesColdAndComesBack(t *testing.T) {
	address := runDemo(t, "--max-entries", "5")
	p := open(t, address, screen{width: 1280, height: 1000, scale: 1})
	p.ready()
	p.until(`!document.getElementById('shelf').hidden && !document.getElementById('shelf-empty').hidden`)
	p.draw(false, seven)
	p.answered("7")
	p.pass(1700)
	p.draw(false, four...)
	p.answered("4")
	for _, digit := range []string{"0", "1", "2", "3", "5", "6"} {
		p.do(chromedp.Focus(chromedp.ID("canvas")), chromedp.KeyEvent(digit))
		p.answered(digit)
	}
	p.shelved(5, 3, "5 of 5")
	p.until(`document.querySelectorAll('#shelf-list li[data-painted]').length === 8`)
	hot, cold := p.places()
	if !strings.Contains(cold[2], "-1") || !strings.Contains(hot[0], "-8") {
		t.Errorf("in memory %q, in the store %q", hot, cold)
	}
	p.box("#memory")
	p.keep("cold")

	p.pick(cold[2])
	p.until(`document.getElementById('shelf-said').textContent.includes('came back')`)
	p.shelved(5, 3, "5 of 5")
	nowHot, nowCold := p.places()
	if !slices.Contains(nowHot, cold[2]) || !slices.Contains(nowCold, hot[4]) {
		t.Errorf("in memory %q, in the store %q; %s was to come, and %s to go", nowHot, nowCold, cold[2], hot[4])
	}
	p.until(`[...document.querySelectorAll('#tiers tbody tr')].some((r) => r.cells[7].textContent.includes('1 in all'))`)
	p.until(`[...document.querySelectorAll('#tiers tbody tr')].some((r) => r.cells[5].textContent === '0.0 %')`)
	p.keep("back")

	// By the keyboard as well, and what is in memory can be sent away.
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#shelf-list .hot button').focus()`), chromedp.KeyEvent(kb.Enter))
	p.shelved(4, 4, "4 of 5")
	p.until(`document.activeElement.closest('#shelf-list') && document.activeElement.getAttribute('aria-label').includes('in the store. Bring it back')`)
	if said := ask[string](p, `document.getElementById('shelf-said').textContent`); !strings.Contains(said, "went to the store") {
		t.Errorf("read aloud: %q", said)
	}

	// The browser of caches has the same marks.
	p.until(`document.querySelectorAll('#key-list button').length === 8 && document.querySelectorAll('#key-list button.cold').length === 4`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#key-list button.cold').click()`))
	p.until(`document.getElementById('entry').textContent.includes('came back')`)
	p.shelved(5, 3, "5 of 5")
	p.until(`document.querySelectorAll('#key-list button.cold').length === 3`)
}

// digits are the live numbers of the cache that is drawn into.
func digits(tb testing.TB, address string) admin.CacheStats {
	tb.Helper()
	answer, err := http.Get(address + "rest/v2/stats")
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	var s admin.Stats
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		tb.Fatal(err)
	}
	for _, c := range s.Caches {
		if c.Name == "digits" {
			return c
		}
	}
	tb.Fatal("no cache digits")
	return admin.CacheStats{}
}

// TestLookingMovesNothing: a page that is opened shows what is where, and does not bring back what it shows.
func TestLookingMovesNothing(t *testing.T) {
	address := runDemo(t, "--max-entries", "2")
	for digit := range 6 {
		put(t, address, fmt.Sprint(digit), "image/png", written(t, digit))
	}
	for _, s := range []screen{{width: 1280, height: 1000, scale: 1}, {width: 1280, height: 1000, scale: 1, dark: true}, phone} {
		p := open(t, address, s)
		p.ready()
		p.shelved(2, 4, "2 of 2")
		p.until(`document.querySelectorAll('#feed li').length === 6 && document.querySelectorAll('#feed canvas[data-flip]').length === 2`)
		p.until(`document.querySelectorAll('#shelf-list li[data-painted]').length === 2`)
		hot, cold := p.places()
		if !slices.Equal(hot, []string{"5", "4"}) || !slices.Equal(cold, []string{"3", "2", "1", "0"}) {
			t.Errorf("in memory %q, in the store %q", hot, cold)
		}
		p.until(`[...document.querySelectorAll('#shelf-list b')].map((b) => b.textContent).join('') === '543210'`) // as the network read them
		if s := digits(t, address); s.Loads != 0 || s.Evictions != 4 || s.Hits != 0 {
			t.Errorf("%d loads, %d evictions and %d hits, want 0, 4 and 0", s.Loads, s.Evictions, s.Hits)
		}
		p.box("#shelf")
		p.keep(fmt.Sprintf("%d-%t", s.width, s.dark))
		if wide := ask[int64](p, `document.documentElement.scrollWidth`); wide > s.width {
			t.Errorf("the page is %d wide on a screen of %d", wide, s.width)
		}
	}
}

// TestWithoutStore: a cache that has no store has nothing to send away, and the table says so.
func TestWithoutStore(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	put(t, address, "a", "image/png", written(t, 3))
	p := open(t, address, desktop)
	p.ready()
	p.until(`document.getElementById('memory-lead').textContent === 'No cache here has a store, so every value stays in memory' && document.getElementById('shelf').hidden`)
	p.until(`document.querySelector('#tiers tbody tr').cells[2].textContent === '–'`)
}
