package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/tensor"
)

var writeLayout = flag.Bool("write-layout", false, "keep a node's folder as this build makes it, under testdata/layout")

// layoutName is the archive that -write-layout makes. A build that writes another layout takes another name, and the
// old archives stay: every later build opens them all.
const layoutName = "format-2.tar.gz"

// entries that a kept folder has.
var layoutEntries = map[string]string{"a": "first", "b/with=odd {bytes}\x00": "second", "labelled": "third"}

// TestLayout opens the folders that earlier builds wrote.
func TestLayout(t *testing.T) {
	dir := filepath.Join("testdata", "layout")
	if *writeLayout {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		made := t.TempDir()
		makeLayout(t, made)
		if err := pack(made, filepath.Join(dir, layoutName)); err != nil {
			t.Fatal(err)
		}
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no kept folders in %s: %v", dir, err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			data := t.TempDir()
			if err := unpack(archive, data); err != nil {
				t.Fatal(err)
			}
			checkLayout(t, data)
			if format, err := os.ReadFile(filepath.Join(data, "FORMAT")); err != nil || string(format) != "millrace-grid 2\n" {
				t.Errorf("FORMAT %q, %v", format, err)
			}
		})
	}
}

func openLayout(t *testing.T, dir string, partitions int) (*grid.Grid, *registry.Registry) {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{Dir: dir, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(t.Context(), g, registry.Config{Open: func(ctx context.Context, m *model.Model, _ registry.Settings, _ bool) (engine.Session, string, error) {
		s, err := native.New(native.Config{}).Open(ctx, m.Graph, engine.Options{})
		return s, native.Name, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return g, r
}

func closeLayout(t *testing.T, g *grid.Grid, r *registry.Registry) {
	t.Helper()
	if err := errors.Join(r.Close(), g.Close(context.Background())); err != nil {
		t.Error(err)
	}
}

func makeLayout(t *testing.T, dir string) {
	g, r := openLayout(t, dir, 2)
	defer closeLayout(t, g, r)
	if err := g.CreateCache(t.Context(), grid.CacheConfig{Name: "kept", MaxEntries: 100}); err != nil {
		t.Fatal(err)
	}
	c, err := g.Cache(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range layoutEntries {
		o := grid.PutOptions{ContentType: "text/plain"}
		if key == "labelled" {
			o.Labels = map[string]string{"colour": "dark red", "digit": "7"}
		}
		if _, err := c.Put(t.Context(), key, []byte(value), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(t.Context(), "removed", []byte("x"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Delete(t.Context(), "removed", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b := graph.NewBuilder("plus")
	b.Output(b.Name(b.Op("Add", nil, b.Input("x", tensor.Float32, graph.Dims(-1)), b.Float(1)), "y"))
	built, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	file, err := onnx.Encode(built)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Push(t.Context(), "plus", 0, file); err != nil {
		t.Fatal(err)
	}
	makeReader(t, g)
}

// makeReader leaves a reader behind that has dealt with ten changes, and has a result of one more that it did not come to
// tell of; three wait. (format-1-readers.tar.gz has the same, as version 1 of the layout kept it: a durable consumer.)
func makeReader(t *testing.T, g *grid.Grid) {
	t.Helper()
	for _, name := range []string{"inputs", "results"} {
		if err := g.CreateCache(t.Context(), grid.CacheConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	in, out := layoutCache(t, g, "inputs"), layoutCache(t, g, "results")
	put := func(key string) grid.Made {
		rev, err := in.Put(t.Context(), key, []byte("input"), grid.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return grid.Made{Key: key, Value: []byte("result"), Reader: "reader", Revision: rev}
	}
	var made []grid.Made
	for i := range 10 {
		made = append(made, put(fmt.Sprint("done", i)))
	}
	r, err := g.Read(t.Context(), grid.ReaderConfig{Name: "reader", Cache: "inputs"})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 10; {
		changes, err := r.Next(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		r.Done(changes)
		n += len(changes)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range out.PutMade(t.Context(), append(made, put("stored"))) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		put(fmt.Sprint("waits", i))
	}
}

func layoutCache(t *testing.T, g *grid.Grid, name string) *grid.Cache {
	t.Helper()
	c, err := g.Cache(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkReader holds that a reader goes on where it was: what it dealt with is not given out, and what it had stored and not
// told of is known.
func checkReader(t *testing.T, g *grid.Grid) {
	t.Helper()
	if _, err := g.Cache(t.Context(), "inputs"); errors.Is(err, grid.ErrNoCache) {
		return // an archive from before there were readers in it
	}
	out := layoutCache(t, g, "results")
	r, err := g.Read(t.Context(), grid.ReaderConfig{Name: "reader", Cache: "inputs"})
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for len(stored) < 4 {
		changes, err := r.Next(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			made, err := out.MadeOf(t.Context(), c.Entry.Key)
			if err != nil {
				t.Fatal(err)
			}
			stored[c.Entry.Key] = made.Reader == "reader" && made.Revision >= c.Entry.Revision
		}
		r.Done(changes)
	}
	if want := map[string]bool{"stored": true, "waits0": false, "waits1": false, "waits2": false}; !maps.Equal(stored, want) {
		t.Errorf("given out, and whether its result is stored: %v, want %v", stored, want)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func checkLayout(t *testing.T, dir string) {
	g, r := openLayout(t, dir, 0)
	defer closeLayout(t, g, r)
	c, err := g.Cache(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if max := c.Config().MaxEntries; max != 100 {
		t.Errorf("the cache's limit is %d", max)
	}
	var keys []string
	for e, err := range c.List(t.Context(), grid.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
		if want := layoutEntries[e.Key]; string(e.Value) != want || e.ContentType != "text/plain" || e.Revision == 0 {
			t.Errorf("entry %+v, want the value %q", e, want)
		}
		if e.Key == "labelled" && fmt.Sprint(e.Labels) != "map[colour:dark red digit:7]" {
			t.Errorf("labels %v", e.Labels)
		}
	}
	if len(keys) != len(layoutEntries) || slices.Contains(keys, "removed") {
		t.Errorf("keys %q", keys)
	}
	checkReader(t, g)
	h, err := r.Acquire(t.Context(), "plus", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	out := make([]*tensor.Tensor, 1)
	if err := h.Session().Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1)}, out); err != nil || tensor.Data[float32](out[0])[0] != 2 {
		t.Errorf("the model gives %v, %v", out[0], err)
	}
	if _, err := c.Put(t.Context(), "new", []byte("x"), grid.PutOptions{}); err != nil {
		t.Errorf("a put into the folder: %v", err)
	}
}

// pack writes a folder as an archive.
func pack(dir, archive string) (err error) {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	if err := tw.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return err
	}
	return os.WriteFile(archive, buf.Bytes(), 0o644)
}

// unpack is the inverse of pack, for archives of ours.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%s leaves the folder", h.Name)
		}
		if fs.FileMode(h.Mode).IsDir() || h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, tr)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
