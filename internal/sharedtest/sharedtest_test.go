package sharedtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/sharedtest"
)

func TestFind(t *testing.T) {
	tests := []struct {
		name  string
		files []string // that are there, under a folder with the repository in "millrace"
		named string   // MILLRACE_SHARED, under that folder
		path  string   // what is found, under that folder
		skip  string
		fault string
	}{
		{name: "nothing", skip: "the shared test data is not here"},
		{name: "somebody else's folder", files: []string{"shared/data/holidays.txt"}, skip: "the shared test data is not here"},
		{name: "beside", files: []string{"shared/data/mnist/a.gz"}, path: "shared/data/mnist/a.gz"},
		{name: "in part", files: []string{"shared/data/oip/README.md"}, fault: "shared lacks a part"},
		{name: "a file is missing", files: []string{"shared/data/mnist/b.gz"}, fault: "shared lacks a part"},
		{name: "named", files: []string{"elsewhere/data/mnist/a.gz"}, named: "elsewhere", path: "elsewhere/data/mnist/a.gz"},
		{name: "named before beside", files: []string{"elsewhere/data/mnist/a.gz", "shared/data/mnist/a.gz"}, named: "elsewhere", path: "elsewhere/data/mnist/a.gz"},
		{name: "named and not there", named: "elsewhere", fault: "MILLRACE_SHARED is "},
		{name: "named and not there, beside", files: []string{"shared/data/mnist/a.gz"}, named: "elsewhere", fault: "MILLRACE_SHARED is "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "millrace", "go.mod"), "// A comment.\nmodule github.com/millrace/millrace\n\ngo 1.26\n")
			write(t, filepath.Join(dir, "millrace", "bench", "go.mod"), "module github.com/millrace/millrace/bench\n")
			for _, name := range test.files {
				write(t, filepath.Join(dir, filepath.FromSlash(name)), "data")
			}
			named := test.named
			if named != "" {
				named = filepath.Join(dir, named)
			}
			for _, wd := range []string{"millrace", "millrace/train/mnist", "millrace/bench"} {
				path, skip, err := sharedtest.Find(named, filepath.Join(dir, filepath.FromSlash(wd)), "mnist", "a.gz")
				if want := test.path; want != "" && path != filepath.Join(dir, filepath.FromSlash(want)) || want == "" && path != "" {
					t.Errorf("from %s: path %q, want %q", wd, path, want)
				}
				if !strings.Contains(skip, test.skip) || (skip == "") != (test.skip == "") {
					t.Errorf("from %s: skip %q, want %q", wd, skip, test.skip)
				}
				if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
					t.Errorf("from %s: %v, want %q", wd, err, test.fault)
				}
			}
		})
	}
	if _, _, err := sharedtest.Find("", t.TempDir(), "mnist"); err == nil {
		t.Error("outside of the repository there is no error")
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
