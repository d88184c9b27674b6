package ui_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// blocks is a net with two scopes, one in the other.
func blocks(tb testing.TB) net {
	tb.Helper()
	return net{
		inputs: []graph.Value{value("x", 2)}, outputs: []graph.Value{value("y", 2)}, weights: map[string]*tensor.Tensor{"w": matrix(tb, 2, 2, 1, 2, 3, 4)},
		nodes: []*graph.Node{
			{Name: "/encoder/dense/MatMul", OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"a"}}, {Name: "/encoder/dense/Tanh", OpType: "Tanh", Inputs: []string{"a"}, Outputs: []string{"b"}},
			{Name: "/encoder/Add", OpType: "Add", Inputs: []string{"a", "b"}, Outputs: []string{"c"}}, {Name: "/head/MatMul", OpType: "MatMul", Inputs: []string{"c", "w"}, Outputs: []string{"d"}},
			{Name: "/head/Relu", OpType: "Relu", Inputs: []string{"d"}, Outputs: []string{"y"}},
		},
	}
}

// view is what is seen of the picture: x, y, width and height in its own pixels.
func (p *tab) view() [4]float64 {
	p.tb.Helper()
	return ask[[4]float64](p, `document.querySelector('#graph-view svg').getAttribute('viewBox').split(' ').map(Number)`)
}

// boxes waits until so many boxes of the picture are open, and so many closed.
func (p *tab) boxes(open, closed int) {
	p.tb.Helper()
	p.until(fmt.Sprintf(`document.querySelectorAll('#graph-view .g-box[data-open=true]').length === %d && document.querySelectorAll('#graph-view .g-box[data-open=false]').length === %d`, open, closed))
}

func (p *tab) wheel(x, y, by float64) {
	p.tb.Helper()
	_, err := chromedp.Call(p.ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseWheel, X: x, Y: y, DeltaX: 0.01, DeltaY: by})
	p.must("wheel", err)
}

// TestGraph looks at the picture of a model: it is zoomed and moved by wheel, mouse and keys, and its scopes are closed and opened by clicks and keys.
func TestGraph(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"blocks": blocks(t)}))
	p := open(t, address, desktop)
	p.until(`document.querySelector('button[aria-label="Graph of blocks"]')`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('button[aria-label="Graph of blocks"]').click()`))
	p.boxes(3, 0)
	if title := ask[string](p, `document.getElementById('graph-title').textContent`); title != "Graph of blocks, version 1" {
		t.Errorf("the title is %q", title)
	}
	if shapes := ask[string](p, `[...document.querySelectorAll('#graph-view .g-shape')].map((e) => e.textContent).join()`); shapes == "" {
		t.Error("no shapes are on the lines")
	}
	p.keep("graph")
	all := p.view()

	b := p.box("#graph-view")
	x, y := b[0]+b[2]/4, b[1]+b[3]/3
	p.wheel(x, y, -400)
	p.until(fmt.Sprintf(`Number(document.querySelector('#graph-view svg').getAttribute('viewBox').split(' ')[2]) < %f`, all[2]*0.9))
	near := p.view()
	// What is under the mouse stays there.
	if was, is := all[0]+all[2]/4, near[0]+near[2]/4; was-is > 1 || is-was > 1 {
		t.Errorf("the point under the mouse was %v, and is %v after the wheel", was, is)
	}
	p.mouse(input.DispatchMouseEventTypeMousePressed, x, y)
	p.mouse(input.DispatchMouseEventTypeMouseMoved, x+30, y+40)
	p.mouse(input.DispatchMouseEventTypeMouseReleased, x+30, y+40)
	scale := b[2] / near[2]
	if now := p.view(); now[0] > near[0]-29/scale || now[1] > near[1]-39/scale || now[2] != near[2] {
		t.Errorf("dragged from %v to %v", near, now)
	}
	p.boxes(3, 0) // a drag is no click
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('graph-view').focus()`), chromedp.KeyEvent("0"))
	if now := p.view(); now != all {
		t.Errorf("reset to %v, it was %v", now, all)
	}
	p.do(chromedp.KeyEvent("+"), chromedp.KeyEvent(kb.ArrowRight))
	if now := p.view(); now[2] >= all[2] || now[0] <= all[0] {
		t.Errorf("by keys from %v to %v", all, now)
	}
	p.do(chromedp.Click(chromedp.ID("graph-reset")))

	// A click on its title closes a scope, and one on the closed box opens it; it stays under the mouse.
	title := p.box(`#graph-view .g-box[data-key=encoder] text.g-title`)
	p.mouse(input.DispatchMouseEventTypeMousePressed, title[0]+4, title[1]+4)
	p.mouse(input.DispatchMouseEventTypeMouseReleased, title[0]+4, title[1]+4)
	p.boxes(1, 1)
	p.until(`document.getElementById('graph-said').textContent.startsWith('1 box is closed')`)
	p.keep("graph-closed")
	face := p.box(`#graph-view .g-box[data-key=encoder] .g-face`)
	if face[0] > title[0]+4 || face[1] > title[1]+4 {
		t.Errorf("the closed box is at %v, its title was at %v", face, title)
	}
	p.until(`document.activeElement.dataset.key === 'encoder' && document.activeElement.getAttribute('aria-expanded') === 'false'`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.boxes(3, 0)

	// The node measures what each part takes; a closed box has the time of all that is in it.
	p.do(chromedp.Click(chromedp.ID("graph-measure")))
	p.until(`document.getElementById('graph-said').textContent.includes('a run on native, the mean of 10 runs on made-up x [1, 2]')`)
	if n := ask[int](p, `document.querySelectorAll('#graph-view .g-took').length`); n < 5 {
		t.Errorf("%d boxes have a time", n)
	}
	if text := ask[string](p, `document.querySelector('#graph-times li').textContent`); text == "" {
		t.Error("the list of what takes the most is empty")
	}
	p.keep("graph-measured")
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('#graph-view .g-box[data-key=encoder]').focus()`), chromedp.KeyEvent(kb.Enter))
	p.boxes(1, 1)
	p.until(`/µs$/.test(document.querySelector('#graph-view .g-box[data-key=encoder] .g-took text').textContent)`)

	p.do(chromedp.Click(chromedp.ID("graph-close")))
	p.until(`!document.getElementById('graph').open && document.querySelector('#graph-view svg') === null`)
}

// TestGraphDark looks at the picture in the dark.
func TestGraphDark(t *testing.T) {
	address, _ := run(t, demo(t, t.TempDir(), "127.0.0.1:0"))
	dark := desktop
	dark.dark = true
	p := open(t, address, dark)
	p.until(`document.querySelector('button[aria-label="Graph of digits"]')`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('button[aria-label="Graph of digits"]').click()`))
	p.until(`document.querySelectorAll('#graph-view .g-box').length > 5`)
	p.keep("graph-dark")
	// Text is read on what is behind it.
	contrast := ask[float64](p, `(() => {
		const light = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number).reduce((sum, v, i) => sum + [.2126, .7152, .0722][i] * (c.startsWith('color(') ? v * 255 : v), 0);
		const box = document.querySelector('#graph-view .g-heavy');
		return Math.abs(light(getComputedStyle(box.querySelector('.g-face')).fill) - light(getComputedStyle(box.querySelector('text.g-title')).fill));
	})()`)
	if contrast < 100 {
		t.Errorf("the text of a box differs by %v of 255 from its ground", contrast)
	}
}

// TestGraphPhone looks at the picture on a phone: it fits, and two fingers zoom.
func TestGraphPhone(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"blocks": blocks(t)}))
	p := open(t, address, phone)
	p.until(`document.querySelector('button[aria-label="Graph of blocks"]')`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('button[aria-label="Graph of blocks"]').click()`))
	p.boxes(3, 0)
	p.keep("graph-phone")
	if wide := ask[bool](p, `document.getElementById('graph').scrollWidth > document.getElementById('graph').clientWidth + 1 || document.getElementById('graph').getBoundingClientRect().right > innerWidth`); wide {
		t.Error("the dialog is wider than the phone")
	}
	all := p.view()
	b := p.box("#graph-view")
	x, y := b[0]+b[2]/2, b[1]+b[3]/2
	finger := func(id, dx float64) *input.TouchPoint { return &input.TouchPoint{ID: &id, X: x + dx, Y: y} }
	p.touch(input.DispatchTouchEventTypeTouchStart, finger(1, -20))
	p.touch(input.DispatchTouchEventTypeTouchStart, finger(1, -20), finger(2, 20))
	p.touch(input.DispatchTouchEventTypeTouchMove, finger(1, -60), finger(2, 60))
	p.touch(input.DispatchTouchEventTypeTouchEnd)
	p.until(fmt.Sprintf(`Number(document.querySelector('#graph-view svg').getAttribute('viewBox').split(' ')[2]) < %f`, all[2]/2))
	p.boxes(3, 0)
}
