package ui_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/millrace/millrace/internal/cli"
)

// patience is how long the page may take for anything; a loaded machine is slow.
const patience = time.Minute

// program finds the browser; "" where there is none.
func program() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// need skips a test without a browser, and fails it in CI.
func need(tb testing.TB) {
	tb.Helper()
	switch {
	case program() != "":
	case os.Getenv("CI") == "true":
		tb.Fatal("Chromium is not there: install Debian's package chromium")
	default:
		tb.Skip("Chromium is not there: install it (Debian: apt-get install chromium) to test the page")
	}
}

// tab is a page in a real browser of its own. Its methods fail the test on errors.
type tab struct {
	tb     testing.TB
	ctx    context.Context
	mu     sync.Mutex
	hosts  map[string]int
	logged []string
}

// screen is how the browser shows the page.
type screen struct {
	width, height int64
	scale         float64
	dark, touch   bool
}

var (
	desktop = screen{width: 1280, height: 900, scale: 1}
	phone   = screen{width: 375, height: 740, scale: 2, touch: true}
)

// browser is the one process of all tests; each has a profile of its own in it. TestMain ends it.
var browser = sync.OnceValues(func() (context.Context, error) {
	profile, err := os.MkdirTemp("", "millrace-ui")
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program()), chromedp.UserDataDir(profile), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// What somebody else's DNS says: their names lead to this machine.
		chromedp.Flag("host-resolver-rules", "MAP "+strangers+" 127.0.0.1"))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, leave := chromedp.NewContext(ctx)
	closeBrowser = func() error {
		defer stop()
		defer leave()
		err := chromedp.Cancel(ctx)
		// The browser's children may write for a moment yet; what they leave then is in the system's temporary folder.
		return errors.Join(err, os.RemoveAll(profile))
	}
	return ctx, chromedp.Do(ctx)
})

var closeBrowser = func() error { return nil }

func TestMain(m *testing.M) {
	if config := os.Getenv(asNode); config != "" { // this process is a node that a test started
		os.Exit(cli.Main(context.Background(), []string{"serve", "-c", config}, cli.Process{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	code := m.Run()
	if err := closeBrowser(); err != nil {
		fmt.Fprintln(os.Stderr, "close the browser:", err)
	}
	os.Exit(code)
}

// open loads an address. When the test ends, the page must have asked no other host and reported no fault.
func open(tb testing.TB, address string, s screen) *tab {
	tb.Helper()
	need(tb)
	parent, err := browser()
	if err != nil {
		tb.Fatalf("start the browser: %v", err)
	}
	ctx, leave := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	p := &tab{tb: tb, ctx: ctx, hosts: map[string]int{}}
	tb.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			tb.Logf("close the tab: %v", err)
		}
		leave()
	})
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("open a tab: %v", err)
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	p.ctx = limited
	tb.Cleanup(func() {
		if tb.Failed() {
			p.keep("failed")
		}
		cancel()
	})
	if err := chromedp.Listen(ctx, p.event); err != nil {
		tb.Fatalf("watch the page: %v", err)
	}
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	_, err = chromedp.Call(p.ctx, network.Enable, network.EnableParams{})
	p.must("watch the network", err)
	_, err = chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	p.must("set the colour scheme", err)
	view := []chromedp.EmulateViewportOption{chromedp.EmulateScale(s.scale)}
	if s.touch {
		view = append(view, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do(chromedp.EmulateViewport(s.width, s.height, view...), chromedp.Navigate(address))
	u, err := url.Parse(address)
	p.must("address", err)
	tb.Cleanup(func() { p.behaved(u.Host) })
	return p
}

// event notes what the page asks and what it complains about.
func (p *tab) event(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" {
			p.hosts[u.Host]++
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			text := make([]string, len(e.Args))
			for i, a := range e.Args {
				text[i] = string(a.Value) + a.Description
			}
			p.logged = append(p.logged, strings.Join(text, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.logged = append(p.logged, text)
	}
}

// behaved fails the test where the page asked another host or reported a fault.
func (p *tab) behaved(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.hosts {
		if other != host {
			p.tb.Errorf("the page asked %s", other)
		}
	}
	for _, text := range p.logged {
		p.tb.Errorf("the page reported: %s", text)
	}
}

// forgive forgets what the page reported so far: that a request failed, where failing requests are what is tested.
func (p *tab) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logged = nil
}

func (p *tab) must(what string, err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatalf("%s: %v", what, err)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.tb.Helper()
	p.must("browser", chromedp.Do(p.ctx, steps...))
}

// ask evaluates JavaScript.
func ask[T any](p *tab, script string) T {
	p.tb.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script))
	p.must(script, err)
	return v
}

// until waits for a JavaScript condition and says what it saw where it does not come true.
func (p *tab) until(condition string) {
	p.tb.Helper()
	_, err := chromedp.Run(p.ctx, chromedp.Poll[chromedp.Void]("!!("+condition+")", chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(20*time.Millisecond)))
	if err == nil {
		return
	}
	now := ask[string](p, `['status-text','notice','sure','answer-text','feed','key-note'].map((id) => id + '=' + document.getElementById(id)?.textContent.trim()).join('; ')`)
	p.tb.Fatalf("waiting for %s: %v; the page shows %s", condition, err, now)
}

// pass lets the page's clock go on by some milliseconds, where time itself is what is tested.
func (p *tab) pass(ms float64) {
	p.tb.Helper()
	p.until(fmt.Sprintf("performance.now() > %f", ask[float64](p, "performance.now()")+ms))
}

// ready waits until the page listens and has its samples.
func (p *tab) ready() {
	p.tb.Helper()
	p.until(`document.getElementById('status').dataset.state === 'live' && document.querySelectorAll('#samples img').length > 0`)
}

// box is where an element lies in the view: left, top, width, height.
func (p *tab) box(selector string) [4]float64 {
	p.tb.Helper()
	quoted, err := json.Marshal(selector)
	p.must("selector", err)
	return ask[[4]float64](p, fmt.Sprintf(`(() => {
		const e = document.querySelector(%s);
		e.scrollIntoView({block: 'center', behavior: 'instant'});
		const b = e.getBoundingClientRect();
		return [b.left, b.top, b.width, b.height];
	})()`, quoted))
}

type spot struct{ x, y float64 }

// along returns points between the corners of a stroke, as a hand passes them.
func along(corners []spot) []spot {
	const steps = 6
	all := []spot{corners[0]}
	for i := 1; i < len(corners); i++ {
		for k := 1; k <= steps; k++ {
			f := float64(k) / steps
			a, b := corners[i-1], corners[i]
			all = append(all, spot{a.x + (b.x-a.x)*f, a.y + (b.y-a.y)*f})
		}
	}
	return all
}

// draw makes strokes on the canvas, in shares of its side, with the mouse or a finger.
func (p *tab) draw(touch bool, strokes ...[]spot) {
	p.tb.Helper()
	b := p.box("#canvas")
	for _, stroke := range strokes {
		points := along(stroke)
		for i, q := range points {
			x, y := b[0]+q.x*b[2], b[1]+q.y*b[3]
			if touch {
				kind := input.DispatchTouchEventTypeTouchMove
				if i == 0 {
					kind = input.DispatchTouchEventTypeTouchStart
				}
				p.touch(kind, &input.TouchPoint{X: x, Y: y})
			} else {
				kind := input.DispatchMouseEventTypeMouseMoved
				if i == 0 {
					kind = input.DispatchMouseEventTypeMousePressed
				}
				p.mouse(kind, x, y)
			}
		}
		last := points[len(points)-1]
		if touch {
			p.touch(input.DispatchTouchEventTypeTouchEnd)
		} else {
			p.mouse(input.DispatchMouseEventTypeMouseReleased, b[0]+last.x*b[2], b[1]+last.y*b[3])
		}
	}
}

func (p *tab) mouse(kind input.DispatchMouseEventType, x, y float64) {
	p.tb.Helper()
	_, err := chromedp.Call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
		Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, Buttons: 1, ClickCount: 1,
	})
	p.must("mouse", err)
}

func (p *tab) touch(kind input.DispatchTouchEventType, points ...*input.TouchPoint) {
	p.tb.Helper()
	if points == nil {
		points = []*input.TouchPoint{}
	}
	_, err := chromedp.Call(p.ctx, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points})
	p.must("touch", err)
}

// keep writes a picture of what the screen shows where MILLRACE_UI_SHOTS names a folder, and keepWhole one of the whole page.
func (p *tab) keep(name string) { p.shot(name, chromedp.CaptureScreenshot()) }

func (p *tab) keepWhole(name string) { p.shot(name, chromedp.FullScreenshot(100)) }

func (p *tab) shot(name string, take chromedp.Action[[]byte]) {
	dir := os.Getenv("MILLRACE_UI_SHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(p.ctx, take)
	if err == nil {
		err = os.WriteFile(fmt.Sprintf("%s/%s-%s.png", dir, strings.ReplaceAll(p.tb.Name(), "/", "-"), name), picture, 0o644)
	}
	if err != nil {
		p.tb.Logf("no picture: %v", err)
	}
}
