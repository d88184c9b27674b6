package ui_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// net is a small model: what it takes and gives, and what it does in between.
type net struct {
	inputs, outputs []graph.Value
	nodes           []*graph.Node
	weights         map[string]*tensor.Tensor
	meta            model.Metadata
}

// file writes the net as an ONNX file.
func (n net) file(tb testing.TB) app.Path {
	tb.Helper()
	g := &graph.Graph{
		Name: "test", Producer: "page test", IRVersion: 8, Opset: map[string]int64{"": 17}, Metadata: n.meta.Props(),
		Inputs: n.inputs, Outputs: n.outputs, Nodes: n.nodes,
	}
	for name, t := range n.weights {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
	}
	b, err := onnx.Encode(g)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "model.onnx")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		tb.Fatal(err)
	}
	return app.Path(path)
}

func value(name string, dims ...int64) graph.Value {
	shape := graph.Shape{{Size: -1, Symbol: "N"}}
	for _, d := range dims {
		shape = append(shape, graph.Dim{Size: d})
	}
	return graph.Value{Name: name, DType: tensor.Float32, Shape: shape}
}

func matrix(tb testing.TB, rows, columns int, values ...float32) *tensor.Tensor {
	tb.Helper()
	t, err := tensor.New(tensor.Float32, rows, columns)
	if err != nil {
		tb.Fatal(err)
	}
	copy(tensor.Data[float32](t), values)
	return t
}

func some(v float64) *float64 { return &v }

// linear is a net of one layer on a row.
func linear(tb testing.TB, columns, outputs int, weights ...float32) net {
	tb.Helper()
	return net{
		inputs: []graph.Value{value("row", int64(columns))}, outputs: []graph.Value{value("y", int64(outputs))},
		nodes:   []*graph.Node{{OpType: "MatMul", Inputs: []string{"row", "w"}, Outputs: []string{"y"}}},
		weights: map[string]*tensor.Tensor{"w": matrix(tb, columns, outputs, weights...)},
	}
}

// machine tells a machine's state from three numbers and a category: hot above all else, loud by vibration.
func machine(tb testing.TB) net {
	n := linear(tb, 4, 3,
		0, 1, 0, // temperature
		0, 0, 8, // vibration
		0, 0, 0, // pressure
		30, 0, 0) // valve: shut is 1
	n.meta = model.Metadata{
		Labels: []string{"blocked by the valve", "too hot", "bearing worn out"},
		Columns: []media.Column{
			{Name: "temperature", Type: media.NumberColumn, Mean: some(20.1234), Std: some(4.2)},
			{Name: "vibration", Type: media.NumberColumn, Mean: some(0.5), Std: some(0.1)},
			{Name: "pressure at the inlet", Type: media.NumberColumn, Mean: some(101325), Missing: some(101325)},
			{Name: "valve", Type: media.CategoryColumn, Categories: []string{"open", "shut"}},
		},
		Ignored: []string{"id", "time"},
	}
	return n
}

// degrees predicts a temperature: twice the load, and 10 more where the door is shut.
func degrees(tb testing.TB) net {
	n := linear(tb, 2, 1, 2, 10)
	n.meta = model.Metadata{Task: model.Regression, Target: "temperature", Unit: "°C", Columns: []media.Column{
		{Name: "load", Type: media.NumberColumn, Mean: some(5)},
		{Name: "door", Type: media.CategoryColumn, Categories: []string{"open", "shut"}, Missing: some(0)},
	}}
	return n
}

// colours tells by its mean what a photograph of 8 by 8 pixels shows mostly, among so many classes.
func colours(tb testing.TB, classes int) net {
	labels := make([]string, classes)
	weights := make([]float32, 3*classes)
	for i := range labels {
		labels[i] = fmt.Sprintf("n%08d, something of kind %d", i, i)
	}
	copy(labels, []string{"red: brick, poppy, fire engine", "green: meadow, forest canopy", "blue: sea, cloudless summer sky"})
	for i := range 3 {
		weights[i*classes+i] = 20
	}
	return net{
		inputs: []graph.Value{value("image", 3, 8, 8)}, outputs: []graph.Value{value("scores", int64(classes))},
		nodes: []*graph.Node{
			{OpType: "GlobalAveragePool", Inputs: []string{"image"}, Outputs: []string{"mean"}},
			{OpType: "Flatten", Inputs: []string{"mean"}, Outputs: []string{"rgb"}},
			{OpType: "MatMul", Inputs: []string{"rgb", "w"}, Outputs: []string{"scores"}},
		},
		weights: map[string]*tensor.Tensor{"w": matrix(tb, 3, classes, weights...)},
		meta:    model.Metadata{Labels: labels},
	}
}

// pair takes two inputs and gives their sum and their product.
func pair() net {
	return net{
		inputs: []graph.Value{value("left", 3), value("right", 3)}, outputs: []graph.Value{value("sum", 3), value("product", 3)},
		nodes: []*graph.Node{
			{OpType: "Add", Inputs: []string{"left", "right"}, Outputs: []string{"sum"}},
			{OpType: "Mul", Inputs: []string{"left", "right"}, Outputs: []string{"product"}},
		},
	}
}

// node is a configuration with a pipeline for each net, which reads a cache of its name.
func node(tb testing.TB, nets map[string]net) app.Config {
	tb.Helper()
	c := app.Defaults()
	c.HTTP.Listen = "127.0.0.1:0"
	c.Node.Data = app.Path(tb.TempDir())
	c.Engine = "native"
	c.Models, c.Pipelines = map[string]app.ModelConfig{}, map[string]app.PipelineConfig{}
	for name, n := range nets {
		c.Models[name] = app.ModelConfig{Path: n.file(tb)}
		c.Pipelines[name] = app.PipelineConfig{From: name + "-in", Model: name, To: name + "-out"}
	}
	return c
}

// send stores a value in any cache.
func send(tb testing.TB, address, cache, key, kind string, body []byte) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, address+"rest/v2/caches/"+cache+"/"+key, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		tb.Fatalf("put %s/%s: %s", cache, key, answer.Status)
	}
}

// fill sets fields of a form by their labels, as a person's typing does.
func (p *tab) fill(fields map[string]string) {
	p.tb.Helper()
	for label, text := range fields {
		done := ask[bool](p, fmt.Sprintf(`(() => { const label = [...document.querySelectorAll('#fields label')].find((l) => l.firstChild.textContent === %q);
			const control = label?.querySelector('input, select'); if (!control) return false;
			if (control.tagName === 'SELECT') control.value = [...control.options].find((o) => o.textContent === %[2]q).value; else control.value = %[2]q;
			return true; })()`, label, text))
		if !done {
			p.tb.Fatalf("the form has no field %q", label)
		}
	}
	p.do(chromedp.Click(chromedp.CSS(`#way-form button[type=submit]`)))
}

// says waits for the large answer, and for what is read aloud to begin so.
func (p *tab) says(label, aloud string) {
	p.tb.Helper()
	p.until(fmt.Sprintf(`document.getElementById('answer').dataset.state === 'known' && document.getElementById('label').textContent === %q`, label))
	if text := ask[string](p, `document.getElementById('answer-text').textContent`); !strings.HasPrefix(text, aloud) {
		p.tb.Errorf("read aloud: %q", text)
	}
}

// live waits until the page has the node's numbers and shows a title.
func (p *tab) live(title string) {
	p.tb.Helper()
	p.until(fmt.Sprintf(`document.getElementById('status').dataset.state === 'live' && document.getElementById('ask-title').textContent === %q`, title))
}

// noDigits fails where a page says anything of digits or drawing.
func (p *tab) noDigits() {
	p.tb.Helper()
	text := strings.ToLower(ask[string](p, `document.body.innerText + document.title`))
	for _, word := range []string{"digit", "draw", "sluice"} {
		if strings.Contains(text, word) {
			p.tb.Errorf("the page speaks of %q", word)
		}
	}
}

// everyScreen looks at the page on a phone in the dark, and where pictures are kept on a phone and a desk in the light and in the dark;
// nothing may be wider than the screen.
func everyScreen(tb testing.TB, address, title string, do func(p *tab)) {
	tb.Helper()
	screens := []screen{{width: 375, height: 740, scale: 2, touch: true, dark: true}}
	if os.Getenv("MILLRACE_UI_SHOTS") != "" {
		screens = append(screens, screen{width: 1280, height: 1000, scale: 1}, screen{width: 1280, height: 1000, scale: 1, dark: true}, phone)
	}
	for _, s := range screens {
		p := open(tb, address, s)
		p.live(title)
		do(p)
		if wide := ask[int64](p, `document.documentElement.scrollWidth`); wide > s.width {
			tb.Errorf("the page is %d wide on a screen of %d", wide, s.width)
		}
		if s.touch {
			small := ask[string](p, `[...document.querySelectorAll('button, .button, select')].filter((b) => b.offsetParent && Math.min(b.offsetWidth, b.offsetHeight) < 36).map((b) => b.textContent || b.id).join()`)
			if small != "" {
				tb.Errorf("too small for a finger: %s", small)
			}
		}
		p.keepWhole(fmt.Sprintf("%d-%t", s.width, s.dark))
	}
}

// A table's model has a form with its columns' names; words of any length are its classes.
func TestTablePage(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"machine": machine(t)}))
	p := open(t, address, desktop)
	p.live("Fill in a row")
	p.noDigits()
	if got := ask[string](p, `[...document.querySelectorAll('#fields label')].map((l) => l.firstChild.textContent + '=' + l.querySelector('input, select').value).join()`); got != "temperature=20.1,vibration=0.5,pressure at the inlet=101325,valve=0" {
		t.Errorf("the form is %s", got)
	}
	p.fill(map[string]string{"temperature": "25", "valve": "open"})
	p.says("too hot", "The answer is too hot, ")
	p.fill(map[string]string{"valve": "shut", "pressure at the inlet": ""})
	p.says("blocked by the valve", "The answer is blocked by the valve, ")
	if got := ask[string](p, `[...document.querySelectorAll('#bars .name')].map((n) => n.textContent).join()`); got != "blocked by the valve,too hot,bearing worn out" {
		t.Errorf("the bars are %s", got)
	}
	// What was put is the object, without what was not filled in.
	p.until(`document.querySelector('#feed b').textContent === 'blocked by the valve'`)
	key := ask[string](p, `document.querySelector('#feed .key').textContent`)
	answer, err := http.Get(address + "rest/v2/caches/machine-in/" + key)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var put map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&put); err != nil {
		t.Fatal(err)
	}
	if len(put) != 3 || put["temperature"] != 25.0 || put["valve"] != "shut" || put["vibration"] != 0.5 {
		t.Errorf("the page put %v", put)
	}
	// A field that must be filled in is asked for by the browser, and nothing is put.
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('column-0').value = ''`), chromedp.Click(chromedp.CSS(`#way-form button[type=submit]`)))
	if !ask[bool](p, `document.activeElement.id === 'column-0' && !document.activeElement.validity.valid`) {
		t.Error("an empty field that is needed is not pointed out")
	}
	// JSON does as well, with an example that fits, and by the keyboard.
	p.do(chromedp.Click(chromedp.CSS(`#modes [data-way=json]`)))
	p.until(`JSON.parse(document.getElementById('typed').value)['pressure at the inlet'] === 101325`)
	p.do(chromedp.SendKeys(chromedp.ID("typed"), "x"), chromedp.Click(chromedp.CSS(`#way-json button[type=submit]`)))
	p.until(`document.getElementById('typed-fault').textContent.startsWith('That is no JSON yet')`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('typed').value = '{"valve": "open", "vibration": 9, "temperature": 1, "id": 3}'`), chromedp.Click(chromedp.CSS(`#way-json button[type=submit]`)))
	p.says("bearing worn out", "The answer is bearing worn out, ")
	p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('typed').value = '{"valves": "open"}'`), chromedp.Click(chromedp.CSS(`#way-json button[type=submit]`)))
	p.until(`document.getElementById('answer').dataset.state === 'fault' && document.getElementById('sure').textContent.includes('valve')`)
	p.until(`document.getElementById('models').textContent.includes('valve (open, shut)') && document.getElementById('curl').textContent.includes('"temperature": 20.1')`)
	everyScreen(t, address, "Fill in a row", func(p *tab) {
		p.fill(map[string]string{"temperature": "25"})
		p.says("too hot", "The answer is too hot, ")
	})
}

// A regression is a number with its unit, and a line over time.
func TestRegressionPage(t *testing.T) {
	c := node(t, map[string]net{"degrees": degrees(t)})
	c.Pipelines["degrees"] = app.PipelineConfig{From: "degrees-in", Model: "degrees", To: "degrees-out", Carry: []string{"id"}}
	address, _ := run(t, c)
	for i := range 12 {
		send(t, address, "degrees-in", fmt.Sprint(i), "application/json", fmt.Appendf(nil, `{"load": %d.5, "door": "shut"}`, i*i%7))
	}
	everyScreen(t, address, "Ask for temperature", func(p *tab) {
		p.noDigits()
		p.until(`document.querySelector('#trend .a')?.getAttribute('d').split('L').length >= 12 && document.getElementById('trend').textContent.includes('lowest 11 °C')`)
		p.fill(map[string]string{"load": "20.25", "door": "not known"})
		p.says("40.5", "The answer is 40.5 °C, for temperature, after ")
		if got := ask[string](p, `document.getElementById('unit').textContent + '|' + document.getElementById('sure').textContent + '|' + document.querySelectorAll('#bars li').length`); got != "°C|temperature|0" {
			t.Errorf("beside the number stands %s", got)
		}
		p.until(`document.getElementById('trend').textContent.includes('highest 40.5 °C') && document.querySelector('#feed b').textContent === '40.5 °C'`)
	})
}

func photo(tb testing.TB, width, height int, c color.Color, encode func(*bytes.Buffer, image.Image) error) []byte {
	tb.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			r, g, b, _ := c.RGBA()
			shade := uint32(230 + (x+y)%25)
			m.Set(x, y, color.RGBA{uint8(r * shade / 255 >> 8), uint8(g * shade / 255 >> 8), uint8(b * shade / 255 >> 8), 255})
		}
	}
	var b bytes.Buffer
	if err := encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(b *bytes.Buffer, m image.Image) error  { return png.Encode(b, m) }
func asJPEG(b *bytes.Buffer, m image.Image) error { return jpeg.Encode(b, m, nil) }

// upload gives the page a file, as the file chooser does.
func (p *tab) upload(name string, body []byte) {
	p.tb.Helper()
	path := filepath.Join(p.tb.TempDir(), name)
	p.must("write the file", os.WriteFile(path, body, 0o644))
	p.do(chromedp.SetUploadFiles(chromedp.ID("file"), []string{path}))
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Photographs are uploaded, dropped or pasted, with a preview, and the best of a thousand classes are shown.
func TestPhotographPage(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"colours": colours(t, 1000)}))
	red, blue := photo(t, 300, 200, color.RGBA{220, 40, 30, 255}, asJPEG), photo(t, 90, 160, color.RGBA{30, 60, 210, 255}, asPNG)
	p := open(t, address, desktop)
	p.live("Show it a picture")
	p.noDigits()
	p.until(`document.getElementById('bars-note').textContent === '1,000 classes' && document.getElementById('camera-label').hidden`)
	p.upload("poppies.jpg", red)
	p.says("red: brick, poppy, fire engine", "The answer is red: brick, poppy, fire engine, ")
	p.until(`document.getElementById('upload-note').textContent.startsWith('poppies.jpg, ') && document.getElementById('upload-note').textContent.includes('300 × 200') && !document.getElementById('preview').hidden`)
	if got := ask[string](p, `document.querySelectorAll('#bars li').length + '|' + document.getElementById('bars-note').textContent + '|' + document.querySelector('#bars .best .name').textContent`); got != "10|The best 10 of 1,000 classes|red: brick, poppy, fire engine" {
		t.Errorf("the bars: %s", got)
	}
	// Its thumbnail is the photograph as it is, in its own colours.
	p.until(`document.querySelector('#feed canvas').dataset.painted === 'yes' && document.querySelector('#feed canvas').style.filter === ''`)
	give := `(() => { const bytes = Uint8Array.from(atob(%q), (c) => c.charCodeAt(0)); const data = new DataTransfer();
		data.items.add(new File([bytes], %q, { type: 'image/png' }));
		%s; })()`
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(give, base64Of(blue), "sea.png", `document.getElementById('drop').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))`)))
	p.says("blue: sea, cloudless summer sky", "The answer is blue: ")
	green := photo(t, 64, 64, color.RGBA{30, 200, 60, 255}, asPNG)
	p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(give, base64Of(green), "meadow.png", `document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))`)))
	p.says("green: meadow, forest canopy", "The answer is green: ")
	// What is no picture says so.
	p.upload("letter.png", []byte("this is no picture"))
	p.until(`document.getElementById('answer').dataset.state === 'fault' && document.getElementById('upload-note').textContent.includes('cannot show it')`)
	everyScreen(t, address, "Show it a picture", func(p *tab) {
		p.upload("poppies.jpg", red)
		p.says("red: brick, poppy, fire engine", "The answer is red: ")
		if touch := ask[bool](p, `matchMedia('(pointer: coarse)').matches`); touch == ask[bool](p, `document.getElementById('camera-label').hidden`) {
			t.Errorf("touch %v, and the camera is not offered so", touch)
		}
	})
}

// A model with inputs of its own kind has a field for JSON with an example that it takes, and its outputs are shown as they are.
func TestTensorPage(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"pair": pair()}))
	everyScreen(t, address, "Send it numbers", func(p *tab) {
		p.noDigits()
		p.do(chromedp.Click(chromedp.CSS(`#way-json button[type=submit]`))) // the example as it stands
		p.until(`document.getElementById('answer').dataset.state === 'known' && document.querySelectorAll('.output').length === 2`)
		p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('typed').value = document.getElementById('typed').value.replaceAll('"data":[0,0,0]', '"data":[1.5,-2,300000]')`),
			chromedp.Focus(chromedp.ID("typed")), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(2)))
		p.until(`document.querySelector('.output .values')?.textContent === '3-4600,000'`)
		p.says("", "The answer has 2 outputs, after ")
	})
}

// Several pipelines have a chooser; the choice stands in the address, and outlives a reload and the way back.
func TestChooser(t *testing.T) {
	c := node(t, map[string]net{"machine": machine(t), "degrees": degrees(t), "colours": colours(t, 3)})
	address, _ := run(t, c)
	p := open(t, address, desktop)
	p.live("Show it a picture")
	p.do(chromedp.Click(chromedp.Search(`//ul[@id="pipeline-list"]//a[span="degrees"]`)))
	p.live("Ask for temperature")
	p.until(`document.querySelector('#pipeline-list [aria-current]').textContent.trim() === 'degrees' && location.search === '?pipeline=degrees'`)
	p.until(`document.querySelectorAll('#diagram svg g').length === 6 && document.querySelector('#diagram svg').textContent.includes('degrees-in')`)
	p.do(chromedp.Reload())
	p.live("Ask for temperature")
	p.fill(map[string]string{"load": "3"})
	p.says("6", "The answer is 6 °C")
	p.do(chromedp.Click(chromedp.Search(`//ul[@id="pipeline-list"]//a[span="machine"]`)))
	p.live("Fill in a row")
	p.until(`document.querySelectorAll('#feed li').length === 0 && document.getElementById('answer').dataset.state === 'empty' && document.getElementById('trend').hidden`)
	p.do(chromedp.Evaluate[chromedp.Void](`history.back()`))
	p.live("Ask for temperature")
	p.until(`document.querySelectorAll('#feed li').length === 1`)
	p.keepWhole("chooser")
	p.do(chromedp.Navigate(address + "?pipeline=none-such"))
	p.until(`document.getElementById('chooser-note').textContent === 'There is no pipeline none-such here; this is colours.'`)
}

// A node without pipelines, and one whose model is not there, say what is missing and how to bring it.
func TestNothingThereYet(t *testing.T) {
	c := node(t, nil)
	c.Caches = map[string]app.CacheConfig{"readings": {}}
	address, _ := run(t, c)
	everyScreen(t, address, "Nothing runs here yet", func(p *tab) {
		p.noDigits()
		p.until(`document.getElementById('diagram').textContent.includes('No pipeline') && document.getElementById('models').textContent.includes('No model yet')`)
		p.until(`document.getElementById('none-code').textContent.includes('rest/v2/pipelines/NAME') && document.getElementById('answer').hidden && document.getElementById('controls').hidden`)
	})
	c = node(t, nil)
	c.Pipelines["later"] = app.PipelineConfig{From: "in", Model: "later", To: "out"}
	address, _ = run(t, c)
	p := open(t, address, desktop)
	p.live("No model yet")
	p.noDigits()
	p.until(`document.getElementById('none-code').textContent === 'millrace model push later FILE.onnx' && document.getElementById('answer').hidden`)
	p.keepWhole("model")
	// The model comes, and the page shows how to ask it, without a reload.
	body, err := os.ReadFile(string(machine(t).file(t)))
	if err != nil {
		t.Fatal(err)
	}
	push(t, address, "later", body)
	p.live("Fill in a row")
	p.fill(map[string]string{"temperature": "30"})
	p.says("too hot", "The answer is too hot, ")
}

func push(tb testing.TB, address, name string, body []byte) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodPut, address+"rest/v2/models/"+name, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		tb.Fatalf("push %s: %s", name, answer.Status)
	}
}

// A pipeline is paused, resumed and replayed on the page, which asks first and says where it writes.
func TestManagePipeline(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"degrees": degrees(t)}))
	p := open(t, address, desktop)
	p.live("Ask for temperature")
	p.until(`document.getElementById('state').textContent === 'waiting' && !document.getElementById('controls').hidden`)
	press := func(id string) {
		p.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('` + id + `').click()`))
	}
	// Cancel and Escape change nothing.
	press("pause")
	p.until(`document.getElementById('confirm').open && document.getElementById('confirm-text').textContent.includes('degrees-in') && document.activeElement.id === 'confirm-no'`)
	p.keep("confirm")
	p.do(chromedp.Click(chromedp.ID("confirm-no")))
	press("pause")
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until(`!document.getElementById('confirm').open && document.getElementById('state').textContent === 'waiting'`)
	press("pause")
	p.do(chromedp.Click(chromedp.ID("confirm-yes")))
	p.until(`document.getElementById('state').textContent === 'paused' && document.getElementById('pause').textContent === 'Resume' && document.getElementById('controls-said').textContent === 'degrees is paused.'`)
	// What is asked meanwhile waits, the page says so, and the answer comes when it goes on.
	p.fill(map[string]string{"load": "4"})
	p.until(`document.getElementById('answer').dataset.state === 'late' && document.getElementById('sure').textContent.includes('It is put. The pipeline is paused')`)
	press("pause")
	p.until(`document.getElementById('confirm-title').textContent === 'Resume degrees?'`)
	p.do(chromedp.Click(chromedp.ID("confirm-yes")))
	p.says("8", "The answer is 8 °C")
	press("replay")
	p.until(`document.getElementById('confirm').open && document.getElementById('confirm-text').textContent.includes('degrees-out') && document.getElementById('confirm-more').textContent.includes('all, 1 of them')`)
	p.keep("replay")
	revision := func() string {
		answer, err := http.Head(address + "rest/v2/caches/degrees-out/" + ask[string](p, `document.querySelector('#feed .key').textContent`))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.Header.Get("ETag")
	}
	before := revision()
	p.do(chromedp.Click(chromedp.ID("confirm-yes")))
	p.until(`document.getElementById('controls-said').textContent === 'degrees begins again, and writes into degrees-out.'`)
	for range 200 {
		if revision() != before {
			return
		}
		p.pass(50)
	}
	t.Error("the replay made no result anew")
}

// The sluice writes 500 entries, and is on the demo alone.
func TestSluiceIsOnTheDemoAlone(t *testing.T) {
	c := demo(t, t.TempDir(), "127.0.0.1:0")
	c.HTTP.Demo = false
	address, _ := run(t, c)
	p := open(t, address, desktop)
	p.ready()
	p.draw(false, seven)
	p.answered("7")
	if !ask[bool](p, `document.getElementById('burst').hidden && document.getElementById('burst').offsetParent === null`) {
		t.Error("a node that is no demo offers to put many entries")
	}
}

// The version that serves is chosen on the page, which asks first; what is asked then is answered by it.
func TestChooseVersion(t *testing.T) {
	address, _ := run(t, node(t, map[string]net{"degrees": degrees(t)}))
	second := degrees(t)
	second.weights["w"] = matrix(t, 2, 1, 3, 10)
	body, err := os.ReadFile(string(second.file(t)))
	if err != nil {
		t.Fatal(err)
	}
	push(t, address, "degrees", body)
	p := open(t, address, desktop)
	p.live("Ask for temperature")
	p.fill(map[string]string{"load": "4"})
	p.says("12", "The answer is 12 °C")
	p.until(`document.querySelectorAll('.versions li').length === 2 && document.querySelector('.versions .on').textContent === 'serves'`)
	use := `document.querySelector('.versions button[aria-label="Use version 1 of degrees"]').click()`
	p.do(chromedp.Evaluate[chromedp.Void](use))
	p.until(`document.getElementById('confirm-title').textContent === 'Use version 1 of degrees?' && document.getElementById('confirm-text').textContent.includes('from version 2')`)
	p.do(chromedp.Click(chromedp.ID("confirm-no")))
	p.do(chromedp.Evaluate[chromedp.Void](use), chromedp.Click(chromedp.ID("confirm-yes")))
	p.until(`document.getElementById('models-said').textContent === 'Now version 1 of degrees serves.' && document.querySelector('.versions .on').textContent === 'serves, pinned'`)
	p.box("#models")
	p.keep("versions")
	p.do(chromedp.Evaluate[chromedp.Void](`scrollTo(0, 0)`))
	p.fill(map[string]string{"load": "5"})
	p.says("10", "The answer is 10 °C")
	p.do(chromedp.Evaluate[chromedp.Void](`[...document.querySelectorAll('.versions button')].find((b) => b.textContent === 'Follow the newest').click()`), chromedp.Click(chromedp.ID("confirm-yes")))
	p.until(`document.getElementById('models-said').textContent === 'Now the newest version of degrees serves.'`)
	p.fill(map[string]string{"load": "6"})
	p.says("18", "The answer is 18 °C")
}
