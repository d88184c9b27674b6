package shipped_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/internal/shipped"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/media/stroke"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

func digits(t *testing.T) *model.Model {
	t.Helper()
	data, ok := shipped.Model("digits")
	if !ok {
		t.Fatal("there is no model \"digits\" in the binary")
	}
	if len(data) >= 1<<20 {
		t.Errorf("the model has %d bytes, not under 1 MiB", len(data))
	}
	m, err := model.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestValidation holds the model against the 10,000 images that its training did not see.
func TestValidation(t *testing.T) {
	set, err := train.Open(sharedtest.Data(t, "mnist"), train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, kept, err := set.Split("10000", 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := train.Evaluate(t.Context(), native.New(native.Config{}), engine.Options{}, digits(t).Graph, kept)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d right (%.2f %%), loss %.4f", got.Correct, got.Examples, 100*got.Accuracy(), got.Loss)
	if got.Accuracy() < 0.99 {
		t.Errorf("accuracy %.4f is under 0.99", got.Accuracy())
	}
}

// drawings is the table of drawings, which was there before the model was trained.
func drawings(t *testing.T) (all []struct {
	Group string `json:"group"`
	stroke.Params
}) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "media", "stroke", "testdata", "drawings.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDrawings sends drawings as PNG files the way a pipeline does: decoded, inverted where dark on light, centred.
func TestDrawings(t *testing.T) {
	m := digits(t)
	spec, err := m.Spec()
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := media.NewDecoder(spec)
	if err != nil {
		t.Fatal(err)
	}
	session, err := native.New(native.Config{}).Open(t.Context(), m.Graph, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	scores, ok, err := m.Scores()
	if err != nil || !ok {
		t.Fatal("the model has no scores", err)
	}
	all := drawings(t)
	right, byGroup, size := 0, map[string]int{}, map[string]int{}
	var wrong [10][10]int
	for i, d := range all {
		img, err := stroke.Draw(d.Params)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			t.Fatal(err)
		}
		x, err := decoder.Decode("image/png", file.Bytes())
		if err != nil {
			t.Fatalf("drawing %d: %v", i, err)
		}
		x, err = x.Reshape(append(tensor.Shape{1}, x.Shape()...)...)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]*tensor.Tensor, len(session.Outputs()))
		if err := session.Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
			t.Fatal(err)
		}
		best, p := 0, tensor.Data[float32](out[scores.Output])
		for k, v := range p {
			if v > p[best] {
				best = k
			}
		}
		size[d.Group]++
		if best == d.Digit {
			right++
			byGroup[d.Group]++
		} else {
			wrong[d.Digit][best]++
		}
	}
	for g, n := range size {
		t.Logf("%-10s %d of %d", g, byGroup[g], n)
	}
	for d, row := range wrong {
		for k, n := range row {
			if n > 0 {
				t.Logf("%d read as %d: %d times", d, k, n)
			}
		}
	}
	t.Logf("%d of %d right (%.2f %%)", right, len(all), 100*float64(right)/float64(len(all)))
	if float64(right) < 0.95*float64(len(all)) {
		t.Errorf("%d of %d drawings are read right, under 95 %%", right, len(all))
	}
}
