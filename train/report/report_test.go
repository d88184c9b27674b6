package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
	"github.com/millrace/millrace/train/report"
)

// pictures are of 6x6 pixels, dark or light, with names of labels that are no HTML.
func pictures(t *testing.T) *train.Set {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	s, err := train.Collect(func(yield func(train.Example, error) bool) {
		for i := range 120 {
			p := make([]uint8, 36)
			for k := range p {
				p[k] = uint8(r.IntN(140) + 100*(i%2))
			}
			if !yield(train.Example{Input: tensor.Must(tensor.Of(p, 1, 6, 6)), Label: i % 2}, nil) {
				return
			}
		}
	}, []string{"<b>dark</b>", `"light" & bright`})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWrite makes a report of a small run: a page that needs nothing else, whose text is text, and plots that are XML.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "<run>")
	cfg := train.Config{Arch: train.MLP, Set: pictures(t), Eval: "40", Epochs: 2, Batch: 10, Dir: dir, Engine: native.New(native.Config{})}
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 { // anew
		if err := report.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, report.Page))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"&lt;run&gt;", "&lt;b&gt;dark&lt;/b&gt;", "&#34;light&#34; &amp; bright", "data:image/png;base64,", "Calibration", "precision", "80 to train on, 40 kept"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"<b>", "<script", "<link", "@import", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, url := range regexp.MustCompile(`https?://[^"' )]*`).FindAllString(page, -1) {
		if url != "http://www.w3.org/2000/svg" {
			t.Errorf("the page asks for %s", url)
		}
	}
	plots, err := filepath.Glob(filepath.Join(dir, "plots", "*.svg"))
	if err != nil || len(plots) != 4 {
		t.Fatal(plots, err)
	}
	for _, path := range plots {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := 0
		for d := xml.NewDecoder(f); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
				for _, a := range e.Attr {
					if a.Name.Local == "d" && strings.Contains(a.Value, "L") {
						lines++
					}
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("%s: %s", path, a.Value)
					}
				}
			}
		}
		if lines == 0 {
			t.Errorf("%s has no line", path)
		}
	}
	if err := report.Write(t.TempDir()); !errors.Is(err, train.ErrRunDir) {
		t.Errorf("another folder: %v", err)
	}
}

// TestWriteEmpty makes a report of a run that has just begun.
func TestWriteEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte(`{"format":1,"state":"running"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(dir); err != nil {
		t.Fatal(err)
	}
}
