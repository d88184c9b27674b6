package tensorflow_test

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/sharedtest"
)

// packed holds small golden cases of every operator and of some networks, so that every machine has them.
const packed = "testdata/cases.zip"

// smallNets are the networks among them.
var smallNets = []string{
	"tf1-defun", "tf1-mlp-f16", "tf1-int-embedding", "tf1-functions", "tf1-mlp-f64", "m-py-function-refused", "tf1-int-embedding-ckpt",
	"tf1-while-rnn", "m-random-refused", "m-assign-refused", "tf1-resource-saved-model", "m-lookup-table-refused", "tf1-multi-shard-meta",
	"tf1-mlp-f64-ckpt", "m-scalars", "tf1-partitioned-v2", "tf1-partitioned-v1", "k2-mlp-sequential", "tf1-batchnorm-frozen", "m-string-refused",
	"k3-attention-dot", "m-unused-string", "tf1-snappy-v1", "m-nested-functions", "m-int-uint8-preprocess", "m-topk-argsort", "k3-preprocessing",
	"k3-fake-quant", "tf1-layers-ckpt", "m-large-int-math", "k2-unet-any-size", "tf1-static-rnn-lstm", "k3-permute", "m-gather-scatter",
	"tf1-builder-train-tag", "m-cond", "m-while", "k3-lstm-any-length", "k3-lstm-masked", "k3-simple-rnn", "k2-gru", "k2-convlstm2d", "tf1-while-nested",
	"tf1-while-cumsum", "tf1-dynamic-rnn-ckpt",
}

// TestCases imports and runs the cases that are in the repository.
func TestCases(t *testing.T) {
	engines := engines(t)
	all := append(cases(t, unpack(t)), readCase(t, "checkpoint/testdata/nn2h-v1"))
	for _, c := range all {
		for name, o := range c.check(t, engines) {
			if !o.ok && !(o.refused && c.refusable()) {
				t.Errorf("%s on %s: %s", filepath.Base(c.dir), name, o.text)
			}
		}
	}
}

// unpack returns a folder with the cases of the repository.
func unpack(tb testing.TB) string {
	tb.Helper()
	z, err := zip.OpenReader(packed)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	dir := tb.TempDir()
	if err := os.CopyFS(dir, z); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// TestPack writes the archive anew, with -update.
func TestPack(t *testing.T) {
	if !*update {
		t.Skip("it writes testdata/cases.zip with -update")
	}
	root := sharedtest.Data(t, "tensorflow")
	f, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	defer z.Close()
	for _, part := range []string{"ops", "nets"} {
		for _, c := range cases(t, filepath.Join(root, part)) {
			if part == "ops" || slices.Contains(smallNets, filepath.Base(c.dir)) {
				pack(t, z, c.dir)
			}
		}
	}
}

func pack(t *testing.T, z *zip.Writer, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: filepath.ToSlash(name), Method: zip.Deflate, Modified: time.Unix(0, 0).UTC()})
		if err != nil {
			return err
		}
		r, err := os.Open(path)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
