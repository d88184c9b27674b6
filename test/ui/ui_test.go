// Package ui_test tests the page in a real browser against a whole node: it draws, reads answers and looks at the page
// as people do, on a desk and on a phone, in the light and in the dark.
package ui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/web"
)

// seven, one and four as a person draws them, in shares of the canvas.
var (
	seven = []spot{{.27, .24}, {.4, .235}, {.55, .24}, {.7, .23}, {.66, .35}, {.58, .5}, {.5, .65}, {.44, .82}}
	one   = []spot{{.5, .2}, {.5, .5}, {.49, .8}}
	four  = [][]spot{{{.36, .2}, {.3, .52}, {.68, .5}}, {{.6, .24}, {.58, .82}}}
)

// demo is the configuration of the demo: the network in the binary reads what is put into `digits`.
func demo(tb testing.TB, dir, listen string) app.Config {
	tb.Helper()
	c := app.Defaults()
	c.HTTP.Listen = listen
	c.HTTP.Demo = true
	c.Node.Data = app.Path(dir)
	c.Engine = "native"
	c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
	c.Caches = map[string]app.CacheConfig{"digits": {}, "predictions": {}}
	c.Pipelines = map[string]app.PipelineConfig{"classify": {From: "digits", Model: "digits", To: "predictions"}}
	return c
}

// run starts a node and returns its address and what stops it. It stops with the test at the latest.
func run(tb testing.TB, c app.Config) (address string, stop func()) {
	tb.Helper()
	need(tb) // a node without a browser would be for nothing
	c.Complete()
	if err := c.Validate(); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- app.Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(n *app.Node) { ready <- n.URL() })
	}()
	var once bool
	stop = func() {
		if once {
			return
		}
		once = true
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("stop the node: %v", err)
		}
	}
	select {
	case address = <-ready:
	case err := <-done:
		cancel()
		tb.Fatalf("start the node: %v", err)
	}
	tb.Cleanup(stop)
	return address, stop
}

// put stores a value over the API, as another client would.
func put(tb testing.TB, address, key, kind string, value []byte) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, address+"rest/v2/caches/digits/"+key, bytes.NewReader(value))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(answer.Body)
		tb.Fatalf("put %s: %s %s", key, answer.Status, text)
	}
}

// written is a digit's picture, as the page gets it.
func written(tb testing.TB, digit int) []byte {
	tb.Helper()
	h, err := web.Handler(web.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/samples/write/%d.png?seed=3", digit), nil))
	return w.Body.Bytes()
}

// answered waits until the page shows a label as the answer, with its scores and both times.
func (p *tab) answered(label string) {
	p.tb.Helper()
	p.until(`document.getElementById('answer').dataset.state === 'known' && document.getElementById('label').textContent === '` + label + `'`)
	if n := ask[int](p, `document.querySelectorAll('#bars li').length`); n != 10 {
		p.tb.Errorf("%d bars, want 10", n)
	}
	if best := ask[string](p, `document.querySelector('#bars .best .name').textContent`); best != label {
		p.tb.Errorf("the best bar is %s, the answer %s", best, label)
	}
	for _, id := range []string{"latency", "roundtrip"} {
		if text := ask[string](p, `document.getElementById('`+id+`').textContent`); !strings.HasSuffix(text, "s") || text == "0 µs" {
			p.tb.Errorf("%s is %q", id, text)
		}
	}
	if text := ask[string](p, `document.getElementById('answer-text').textContent`); !strings.HasPrefix(text, "The answer is "+label+", ") {
		p.tb.Errorf("read aloud: %q", text)
	}
}

// inked is the share of the drawing area that is painted.
func (p *tab) inked() float64 {
	p.tb.Helper()
	return ask[float64](p, `(() => {
		const c = document.getElementById('canvas');
		const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		let n = 0;
		for (let i = 3; i < d.length; i += 4) n += d[i] > 127;
		return n / (d.length / 4);
	})()`)
}

func TestDrawWithTheMouse(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	if share := p.inked(); share < 0.03 || share > 0.3 {
		t.Errorf("ink covers %.3f of the canvas", share)
	}
	p.until(`document.querySelector('#feed li b')?.textContent === '7'`)
	p.until(`(() => { const c = document.querySelector('#feed canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
		let low = 255, high = 0; for (let i = 0; i < d.length; i += 4) { low = Math.min(low, d[i]); high = Math.max(high, d[i]); } return high - low > 150; })()`)

	p.do(chromedp.Click(chromedp.ID("clear")))
	if share := p.inked(); share != 0 {
		t.Errorf("after Clear ink covers %.3f", share)
	}
	p.draw(false, four...)
	p.answered("4")
	// The next digit begins a new drawing without Clear, once the last one was a while ago.
	p.pass(1700)
	p.draw(false, one)
	p.answered("1")
	p.until(`document.querySelectorAll('#feed li').length === 3`)
}

func TestDrawOnAPhone(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, phone)
	p.ready()
	p.draw(true, seven)
	p.answered("7")
	// Nothing is wider than the screen, whatever is shown.
	put(t, address, "a-very-long-key-"+strings.Repeat("without-any-blank", 12), "image/png", written(t, 3))
	p.until(`document.querySelectorAll('#feed li').length === 2 && document.querySelectorAll('#key-list button').length > 0 && document.querySelector('.model')`)
	for _, width := range []int64{375, 320} {
		p.do(chromedp.EmulateViewport(width, 700, chromedp.EmulateScale(2), chromedp.EmulateMobile))
		p.until(fmt.Sprintf(`innerWidth === %d`, width))
		if wide := ask[int64](p, `document.documentElement.scrollWidth`); wide > width {
			t.Errorf("the page is %d wide on a screen of %d", wide, width)
		}
	}
	if small := ask[string](p, `[...document.querySelectorAll('button')].filter((b) => b.offsetParent && Math.min(b.offsetWidth, b.offsetHeight) < 36).map((b) => b.textContent || b.ariaLabel).join()`); small != "" {
		t.Errorf("too small for a finger: %s", small)
	}
}

// A key that is no text is listed, its entry opens, and its result has its picture.
func TestKeyThatIsNoText(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	put(t, address, "%FF", "image/png", written(t, 3))
	p.until(`document.querySelector('#feed li .key')?.textContent === '%FF'`)
	p.until(`document.querySelector('#feed canvas').dataset.flip !== undefined`) // the picture was fetched and painted
	p.until(`[...document.querySelectorAll('#key-list button')].some((b) => b.textContent === '%FF')`)
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll('#key-list button')].find((b) => b.textContent === '%FF').click()`))
	p.until(`document.querySelector('#entry canvas') && document.querySelector('#entry dd').textContent === '%FF'`)
}

func TestSamplesAndKeyboard(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	p.box("#samples") // scrolls there: they load when they are seen
	p.until(`[...document.querySelectorAll('#samples img')].filter((i) => i.complete && i.naturalWidth > 0).length >= 10`)
	p.do(chromedp.Evaluate[chromedp.Void](`window.scrollTo(0, 0)`))
	// With the keyboard alone: the first stop is the way past the navigation, and every stop shows where it is.
	p.do(chromedp.KeyEvent(kb.Tab))
	if at := ask[string](p, `document.activeElement.className`); at != "skip" {
		t.Errorf("the first stop is %q", at)
	}
	seen := map[string]bool{}
	for range 14 {
		p.do(chromedp.KeyEvent(kb.Tab))
		stop := ask[string](p, `(() => { const e = document.activeElement; return (e.id || e.ariaLabel || e.textContent).trim() + '|' + (getComputedStyle(e).outlineStyle !== 'none'); })()`)
		name, visible, _ := strings.Cut(stop, "|")
		seen[name] = true
		if visible != "true" {
			t.Errorf("the focus on %q cannot be seen", name)
		}
	}
	for _, want := range []string{"canvas", "clear", "burst"} {
		if !seen[want] {
			t.Errorf("Tab does not reach %s; it saw %v", want, seen)
		}
	}
	p.do(chromedp.Focus(chromedp.ID("canvas")), chromedp.KeyEvent("8"))
	p.answered("8")
	if p.inked() < 0.01 {
		t.Error("the written digit is not shown in the drawing area")
	}
	p.do(chromedp.KeyEvent(kb.Escape))
	if share := p.inked(); share != 0 {
		t.Errorf("after Escape ink covers %.3f", share)
	}
	p.do(chromedp.Focus(chromedp.CSS(`#samples button[aria-label$="a 5"]`)), chromedp.KeyEvent(kb.Enter))
	p.answered("5")
	p.do(chromedp.Click(chromedp.CSS(`#samples button[aria-label$="a 3"]`)))
	p.answered("3")
}

func TestDarkAndLight(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	brightness := `(() => { const [r, g, b] = getComputedStyle(document.body)[%q].match(/[\d.]+/g).map(Number); return (r + g + b) / 3; })()`
	for _, dark := range []bool{false, true} {
		s := desktop
		s.dark = dark
		p := open(t, address, s)
		p.ready()
		ground, ink := ask[float64](p, fmt.Sprintf(brightness, "backgroundColor")), ask[float64](p, fmt.Sprintf(brightness, "color"))
		if dark != (ground < ink) || max(ground, ink)-min(ground, ink) < 150 {
			t.Errorf("dark %v: the ground has %.0f, the ink %.0f", dark, ground, ink)
		}
		p.draw(false, seven)
		p.answered("7")
		p.keep("page")
	}
}

// pressKey presses the first key of the list, in one step: the list is made anew when entries come.
const pressKey = `(() => { const key = document.querySelector('#key-list button'); key?.click(); return !!key; })()`

func TestResultsOfOthers(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	put(t, address, "before", "image/png", written(t, 2))
	p := open(t, address, desktop)
	p.ready()
	p.until(`document.querySelector('#feed .key')?.textContent === 'before'`) // what was there before the page
	put(t, address, "after", "", written(t, 9))
	p.until(`document.querySelector('#feed .key')?.textContent === 'after' && document.querySelector('#feed b').textContent === '9'`)
	put(t, address, "broken", "image/png", []byte("this is no picture"))
	p.until(`document.querySelector('#feed .wrong .key')?.textContent.includes('said to be a PNG')`)

	// The browser of caches finds all three, and shows a picture and a result.
	p.do(chromedp.Click(chromedp.Search(`//ul[@id="cache-list"]//button[span="digits"]`)))
	p.until(`document.querySelectorAll('#key-list button').length === 3`)
	p.do(chromedp.SendKeys(chromedp.ID("prefix"), "aft"))
	p.until(`document.querySelectorAll('#key-list button').length === 1`)
	p.until(pressKey)
	p.until(`document.querySelector('#entry canvas') && document.getElementById('entry').textContent.includes('image/png')`)
	p.do(chromedp.Click(chromedp.Search(`//ul[@id="cache-list"]//button[span="predictions"]`)))
	p.until(`document.querySelectorAll('#key-list button').length === 1`)
	p.until(pressKey)
	p.until(`document.querySelector('#entry pre')?.textContent.includes('"label": "9"')`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('prefix').value = 'zzz'; document.getElementById('prefix').dispatchEvent(new Event('input'))`))
	p.until(`document.getElementById('key-note').textContent === 'No key begins so.'`)

	p.until(`document.querySelector('.model')?.textContent.includes('float32')`)
	model := ask[string](p, `document.querySelector('.model').textContent`)
	for _, want := range []string{"digits", "native", "28, 28", "Conv"} {
		if !strings.Contains(model, want) {
			t.Errorf("the model's card lacks %q: %s", want, model)
		}
	}
}

// TestLatestResults: a page that opens beside a full cache shows the results that were made last, from the newest.
func TestLatestResults(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	var lines bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&lines, `{"key": "old-%d", "contentType": "application/json", "value": {"label": "3", "score": 1, "source": {"cache": "digits", "key": "old-%d"}}}`+"\n", i, i)
	}
	load(t, address, "predictions", &lines)
	load(t, address, "classify-errors", strings.NewReader(`{"key": "x", "contentType": "application/json", "value": {"error": "of a start before", "pipeline": "classify"}}`))
	for i := range 5 {
		put(t, address, fmt.Sprint("new-", i), "image/png", written(t, i))
		waitFor(t, address, fmt.Sprint("new-", i))
	}
	p := open(t, address, desktop)
	p.ready()
	p.until(`[...document.querySelectorAll('#feed .key')].slice(0, 5).map((e) => e.textContent).join() === 'new-4,new-3,new-2,new-1,new-0'`)
	p.until(`document.querySelectorAll('#feed li').length === 24`)
	p.until(`document.querySelector('#diagram svg').textContent.includes('1 error')`) // of all that are there, not since the start
	// What comes now stands before them.
	put(t, address, "now", "image/png", written(t, 7))
	p.until(`document.querySelector('#feed .key')?.textContent === 'now' && document.querySelector('#feed b').textContent === '7'`)
}

// load imports JSON lines.
func load(t *testing.T, address, cache string, lines io.Reader) {
	t.Helper()
	resp, err := http.Post(address+"rest/v2/caches/"+cache+"?action=import&format=jsonl", "application/x-ndjson", lines)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", resp.Status, said, err)
	}
}

// waitFor waits until a key has its result.
func waitFor(t *testing.T, address, key string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(address + "rest/v2/caches/predictions/" + key)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no result for %s", key)
		}
	}
}

func TestLiveNumbers(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	p.until(`document.querySelectorAll('#diagram svg g').length === 6`)
	p.until(`document.getElementById('burst-state').textContent === '500 samples into digits, their results into predictions'`)
	p.do(chromedp.Click(chromedp.ID("burst")))
	p.until(`document.querySelector('#diagram .water.runs')`)
	p.until(`document.getElementById('burst-state').textContent.startsWith('500 put in')`)
	p.until(`document.querySelector('#chart-latency .first').textContent.includes('s') && document.querySelector('#chart-rate .a').getAttribute('d').length > 20`)
	p.until(`[...document.querySelectorAll('.levels div')].some((d) => d.textContent === 'predictions500')`)
	p.until(`document.querySelector('#chart-batch .now').textContent.includes('entries a run') && document.querySelectorAll('.hist div').length >= 7`)
	diagram := ask[string](p, `document.querySelector('#diagram svg').textContent`)
	for _, want := range []string{"digits", "classify", "predictions", "500 entries", "version 1"} {
		if !strings.Contains(diagram, want) {
			t.Errorf("the diagram lacks %q: %s", want, diagram)
		}
	}
	if n := ask[int](p, `document.querySelectorAll('#feed li').length`); n > 24 {
		t.Errorf("the feed grew to %d", n)
	}
	inOrder := `(() => { const w = [...document.querySelectorAll('#feed li')].map((e) => Date.parse(e.dataset.when)); return w.every((v, i) => !i || w[i - 1] >= v); })()`
	if !ask[bool](p, inOrder) {
		t.Errorf("the feed is not newest first: %s", ask[string](p, `[...document.querySelectorAll('#feed li')].map((e) => e.dataset.when).join()`))
	}
}

func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	address, stop := run(t, demo(t, dir, "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	stop()
	p.until(`document.getElementById('status').dataset.state === 'away' && !document.getElementById('notice').hidden`)
	p.keep("away")
	listen := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	run(t, demo(t, dir, listen))
	p.ready()
	p.until(`document.getElementById('notice').hidden`)
	p.pass(1700)
	p.draw(false, one)
	p.answered("1")
	p.until(`document.querySelectorAll('#feed li').length === 2`) // the one before the restart is still there
	p.forgive()
}

// The demo begins with an empty grid each time, and people leave its page open: the page must not wait for what follows
// an event that the new grid never had.
func TestEmptyServerAfterRestart(t *testing.T) {
	address, stop := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, desktop)
	p.ready()
	for digit := range 3 {
		put(t, address, fmt.Sprint(digit), "image/png", written(t, digit))
	}
	p.until(`document.querySelectorAll('#feed li').length === 3`)
	stop()
	p.until(`document.getElementById('status').dataset.state === 'away'`)
	run(t, demo(t, t.TempDir(), strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")))
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	p.forgive()
}

func TestToken(t *testing.T) {
	const token = "a-token-of-enough-length"
	c := demo(t, t.TempDir(), "127.0.0.1:0")
	c.HTTP.Tokens = []string{token}
	address, _ := run(t, c)
	p := open(t, address, desktop)
	p.until(`document.getElementById('token-dialog').open`)
	p.do(chromedp.SendKeys(chromedp.ID("token"), "not-this-token-here"+kb.Enter))
	p.until(`document.getElementById('token-dialog').open && !document.getElementById('token-fault').hidden`)
	p.do(chromedp.SendKeys(chromedp.ID("token"), token+kb.Enter))
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	if kept := ask[string](p, `Object.values(localStorage).join() + document.cookie + location.href`); strings.Contains(kept, token) {
		t.Error("the token stays longer than the tab")
	}
	p.forgive()
}

// TestScreenshot takes the README's picture when MILLRACE_UI_SHOT names its file.
func TestScreenshot(t *testing.T) {
	file := os.Getenv("MILLRACE_UI_SHOT")
	if file == "" {
		t.Skip("MILLRACE_UI_SHOT names no file to write the README's picture to")
	}
	if !filepath.IsAbs(file) {
		t.Fatalf("MILLRACE_UI_SHOT=%s must be an absolute path", file)
	}
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	p := open(t, address, screen{width: 1360, height: 1240, scale: 1})
	p.ready()
	p.do(chromedp.Click(chromedp.ID("burst")))
	p.until(`!document.getElementById('burst').disabled`)
	p.do(chromedp.Reload()) // how long this machine took is no part of the picture
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	p.pass(1500)
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur(); window.scrollTo({top: 0, behavior: 'instant'})`))
	picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
