package outfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/outfile"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

// Check and Write agree: what Check lets through is written, and what it refuses is not.
func TestCheckAndWrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		path  string
		make  func(t *testing.T, dir string)
		fault string
		root  bool // the system lets root do it
	}{
		{name: "new", path: "a.onnx"},
		{name: "old", path: "a.onnx", make: file("a.onnx", 0o600)},
		{name: "through a link", path: "link", make: func(t *testing.T, dir string) {
			file("a.onnx", 0o644)(t, dir)
			must(t, os.Symlink("a.onnx", filepath.Join(dir, "link")))
		}},
		{name: "a long name", path: strings.Repeat("n", 250)},
		{name: "too long a name", path: strings.Repeat("n", 300), fault: "name too long"},
		{name: "no name", fault: "folder"},
		{name: "missing folder", path: "none/a.onnx", fault: "none: make it first"},
		{name: "missing folders", path: "none/of/these/a.onnx", fault: "make it first"},
		{name: "a folder", path: "d", make: folder("d", 0o755), fault: "it is a folder"},
		{name: "a folder with a slash", path: "d/", make: folder("d", 0o755), fault: "it is a folder"},
		{name: "a folder that is not there", path: "d/", fault: "name of a folder"},
		{name: "a file as folder", path: "a/b", make: file("a", 0o644), fault: "not a directory"},
		{name: "a link to nothing", path: "link", make: func(t *testing.T, dir string) { must(t, os.Symlink("none/a", filepath.Join(dir, "link"))) }, fault: "a link to what is not there"},
		{name: "a read-only folder", path: "d/a.onnx", make: folder("d", 0o555), fault: "permission denied", root: true},
		{name: "a read-only file", path: "a.onnx", make: file("a.onnx", 0o444), fault: "permission denied", root: true},
		{name: "a read-only file system", path: "/proc/a.onnx", fault: "/proc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Getuid() == 0 {
				t.Skip("root may write everywhere")
			}
			dir := t.TempDir()
			if c.make != nil {
				c.make(t, dir)
			}
			path := c.path
			if !filepath.IsAbs(path) {
				path = dir + "/" + path
			} else if _, err := os.Stat(filepath.Dir(path)); err != nil {
				t.Skip(err)
			}
			before := names(t, dir)
			err := outfile.Check(path)
			if got := names(t, dir); !slices.Equal(got, before) {
				t.Errorf("Check left %v, where there was %v", got, before)
			}
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("Check: %v, want %q", err, c.fault)
				}
				if c.name != "a read-only file" && outfile.Write(path, text("new")) == nil {
					t.Error("Write did what Check refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := outfile.Write(path, text("new")); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
				t.Errorf("the file has %q, %v", got, err)
			}
			if got := names(t, dir); len(got) > max(len(before), 1) {
				t.Errorf("Write left %v", got)
			}
		})
	}
}

// A write that fails leaves what was there, and nothing else.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	file("a", 0o640)(t, dir)
	bad := errors.New("no more")
	err := outfile.Write(filepath.Join(dir, "a"), func(w io.Writer) error { return errors.Join(text("half")(w), bad) })
	if !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(got) != "old" || len(names(t, dir)) != 1 {
		t.Errorf("the file has %q, the folder %v, %v", got, names(t, dir), err)
	}
	must(t, outfile.Write(filepath.Join(dir, "a"), text("new")))
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode changed: %v, %v", info.Mode(), err)
	}
}

// A device is written to, not replaced by a file.
func TestDevice(t *testing.T) {
	if err := outfile.Check(os.DevNull); err != nil {
		t.Fatal(err)
	}
	if err := outfile.Write(os.DevNull, text("gone")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s is a file now: %v", os.DevNull, err)
	}
}

func file(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), mode)) }
}

func folder(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, name), mode)) }
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
