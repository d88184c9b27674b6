package train_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

func csvSet(t *testing.T, text string) *train.Set {
	t.Helper()
	return csvSetOf(t, text, train.Options{})
}

func csvSetOf(t *testing.T, text string, o train.Options) *train.Set {
	t.Helper()
	s, err := train.ReadCSV(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A class that cannot be learned is named in a warning, wherever the set comes from.
func TestClassWarnings(t *testing.T) {
	gaps, err := train.FromIDX(tensor.Must(tensor.New(tensor.Uint8, 20, 2, 2)), tensor.Vector([]uint8{0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3}...))
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Repeat("cat,1.5\ndog,2.5\n", 10)
	for _, c := range []struct {
		name string
		set  *train.Set
		eval string
		want string
	}{
		{"two", csvSet(t, both), "0", ""},
		{"one", csvSet(t, strings.Repeat("cat,1.5\n", 10)), "0", "have the label cat"},
		{"one is left for training", csvSet(t, strings.Repeat("cat,1.5\n", 10)+"dog,2.5\n"), "1", "no training example has the label dog"},
		{"a long one", csvSet(t, strings.Repeat(strings.Repeat("ä", 1000)+",1.5\n", 10)), "0", "have the label " + strings.Repeat("ä", 80) + "...: "},
		{"one number", csvSetOf(t, "a,b\n"+strings.Repeat("1,7.5\n2,7.5\n", 5), train.Options{Task: "regression"}), "0", "have the number 7.5: the model"},
		{"two numbers", csvSetOf(t, "a,b\n"+strings.Repeat("1,7.5\n2,8\n", 5), train.Options{Task: "regression"}), "0", ""},
		{"numbers that no label has", gaps, "0", "the label 1, 2:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			_, err := train.Run(t.Context(), train.Config{Set: c.set, Eval: c.eval, Epochs: 1, Batch: 10, Engine: native.New(native.Config{}), Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			warned := strings.Contains(log.String(), "WARN")
			if warned != (c.want != "") || !strings.Contains(log.String(), c.want) {
				t.Errorf("the log says %s, want %q", log.String(), c.want)
			}
		})
	}
}

// A label that is a text of megabytes is cut where it is told.
func TestLongLabelsAreCut(t *testing.T) {
	long := strings.Repeat("ä", 1_000_000)
	for _, n := range csvSet(t, strings.Repeat("cat,1.5\n"+long+",2.5\n", 5)).Notes() {
		if len(n.Text) > 1000 || !strings.Contains(n.Text, "with 2 classes (cat, "+strings.Repeat("ä", 80)+"...)") {
			t.Errorf("%d bytes: %.500s", len(n.Text), n.Text)
		}
	}
}

// What cannot be written is found before anything is read or computed.
func TestOutIsCheckedFirst(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", []byte("x"))
	for name, path := range map[string]string{
		"missing folder": filepath.Join(dir, "none", "a.onnx"), "a folder": dir, "a file as folder": filepath.Join(dir, "file", "a.onnx"),
	} {
		for _, c := range []train.Config{{Out: path}, {Checkpoint: path}} {
			c.Data, c.Engine = filepath.Join(dir, "absent.csv"), native.New(native.Config{})
			_, err := train.Run(t.Context(), c)
			if err == nil || errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "cannot write "+path) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A model that was trained on numbers takes them as they are, also in a table whose rows look like pictures.
func TestFeaturesThatLookLikePictures(t *testing.T) {
	row := func(class int, scale float64) string {
		var b strings.Builder
		fmt.Fprint(&b, class)
		for i := range 64 {
			fmt.Fprintf(&b, ",%v", scale*float64(10+100*class+i))
		}
		return b.String() + "\n"
	}
	var fractions, whole string
	for i := range 40 {
		fractions += row(i%2, 1+float64(i)/1e3)
		whole += row(i%2, 1)
	}
	out := filepath.Join(t.TempDir(), "out.onnx")
	cfg := train.Config{Set: csvSetOf(t, fractions, train.Options{Label: "1"}), Eval: "0", Epochs: 20, Batch: 10, Engine: native.New(native.Config{}), Out: out}
	r, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Model.Metadata["millrace.scale"]; got != "1" {
		t.Errorf("the model's metadata gives scale %q", got)
	}
	set := csvSet(t, whole)
	if !set.Picture() {
		t.Fatal("the rows do not look like pictures")
	}
	without := *r.Model // as models that were trained before have it
	without.Metadata = map[string]string{"millrace.labels": `["0","1"]`}
	for name, g := range map[string]*graph.Graph{"with a scale": r.Model, "without": &without} {
		m, err := train.Evaluate(t.Context(), cfg.Engine, cfg.EngineOptions, g, set)
		if err != nil || m.Accuracy() < 1 {
			t.Errorf("%s: accuracy %v, %v", name, m.Accuracy(), err)
		}
	}
	data, err := onnx.Encode(&without)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(out), "old.onnx", data)
	cfg.Arch, cfg.Set, cfg.LearningRate, cfg.Epochs, cfg.Out = filepath.Join(filepath.Dir(out), "old.onnx"), set, 1e-6, 1, ""
	if r, err = train.Run(t.Context(), cfg); err != nil || r.Accuracy < 1 || r.Model.Metadata["millrace.scale"] != "1" {
		t.Errorf("trained further: accuracy %v, metadata %v, %v", r.Accuracy, r.Model.Metadata, err)
	}
}

// Whoever trains on a table of whole numbers sends such numbers, as JSON, as an array of any type or as bytes, and gets the same answer for all.
func TestTableOfPicturesTakesNumbers(t *testing.T) {
	var table strings.Builder
	row := make([]int, 64)
	for i := range 60 {
		fmt.Fprint(&table, i%2)
		for k := range row {
			row[k] = 100*(i%2) + (i*7+k*13)%90
			fmt.Fprintf(&table, ",%d", row[k])
		}
		fmt.Fprintln(&table)
	}
	for _, arch := range []string{train.MLP, train.CNN} {
		r, err := train.Run(t.Context(), train.Config{Arch: arch, Set: csvSet(t, table.String()), Eval: "0", Epochs: 5, Batch: 10, Engine: native.New(native.Config{})})
		if err != nil {
			t.Fatal(err)
		}
		if r.Accuracy < 0.9 {
			t.Errorf("%s: accuracy %v", arch, r.Accuracy)
		}
		m, err := model.New(r.Model)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := m.Spec()
		if err != nil {
			t.Fatal(err)
		}
		d, err := media.NewDecoder(spec)
		if err != nil {
			t.Fatal(err)
		}
		var bytes []uint8
		var floats []float32
		for _, v := range row {
			bytes, floats = append(bytes, uint8(v)), append(floats, float32(v))
		}
		text := strings.ReplaceAll(fmt.Sprint(row), " ", ",")
		for name, data := range map[string][]byte{"bytes": bytes, "JSON": []byte(text), ".npy of uint8": npy(t, tensor.Vector(bytes...)), ".npy of float32": npy(t, tensor.Vector(floats...))} {
			got, err := d.Decode("", data)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if !slices.Equal(tensor.Data[float32](got), floats) {
				t.Errorf("%s, %s: the model gets %v", arch, name, tensor.Data[float32](got)[:8])
			}
		}
	}
}

func npy(t *testing.T, x *tensor.Tensor) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := media.WriteNPY(&file, x); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
