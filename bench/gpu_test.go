package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// TestTorchSide talks to a program in place of a Python with PyTorch: what it is given, what it answers, and what it says when it fails.
func TestTorchSide(t *testing.T) {
	python := func(text string) options {
		path := filepath.Join(t.TempDir(), "python")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return options{python: path, device: "cuda:7"}
	}
	g, err := denseNet()
	if err != nil {
		t.Fatal(err)
	}
	x := tensor.Must(tensor.Of([]float32{1, 2, 3, 4}, 2, 2))
	p, err := startTorch(t.Context(), python(`
[ "$2 $4" = "dense cuda:7" ] && [ -s "$1" ] && [ -s "$3/weights.npz" ] || exit 9
echo Peer 1
while read -r word n; do
  case $word in
  run) echo "$n" >>"$3/runs" ;;
  save) cp "$3/x.npy" "$3/y.npy" ;;
  esac
  echo done
done`), "dense", g, x)
	if err != nil {
		t.Fatal(err)
	}
	if p.version != "Peer 1" {
		t.Errorf("it is %q", p.version)
	}
	for _, n := range []int{1, 30} {
		if err := p.run(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if runs, err := os.ReadFile(filepath.Join(p.dir, "runs")); err != nil || string(runs) != "1\n30\n" {
		t.Errorf("it was told %q, %v", runs, err)
	}
	if y, err := p.output(t.Context()); err != nil || y.String() != x.String() {
		t.Errorf("output %v, %v", y, err)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	if _, err := startTorch(t.Context(), python("echo no torch here >&2; exit 3"), "dense", g, x); err == nil || !strings.Contains(err.Error(), "no torch here") {
		t.Errorf("a Python without PyTorch: %v", err)
	}
}
