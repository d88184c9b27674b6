package checkpoint_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/internal/limittest"
)

// seeds are small checkpoints as files "" or ".index" and ".data-00000-of-00001".
func seeds(f *testing.F) []map[string][]byte {
	f.Helper()
	read := func(dir string, names ...string) map[string][]byte {
		files := map[string][]byte{}
		for _, name := range names {
			data, err := os.ReadFile("testdata/" + dir + "/model.ckpt" + name)
			if err != nil {
				f.Fatal(err)
			}
			files[name] = data
		}
		return files
	}
	return []map[string][]byte{
		read("tf1-partitioned-v1", ""),
		read("tf1-snappy-v1", ""),
		read("tf1-partitioned-v2", ".index", ".data-00000-of-00001"),
	}
}

// Whatever bytes a file has, it is read or refused.
func FuzzFile(f *testing.F) {
	for _, files := range seeds(f) {
		f.Add(files[""], files[".index"], files[".data-00000-of-00001"])
	}
	for _, tt := range hostile() {
		f.Add(fileOf(tt.fsys, "m"), fileOf(tt.fsys, "m.index"), fileOf(tt.fsys, "m.data-00000-of-00001"))
	}
	f.Fuzz(func(t *testing.T, v1, index, data []byte) {
		if len(v1) > 0 {
			holdAll(t, folder("m", map[string][]byte{"": v1}))
		}
		holdAll(t, folder("m", map[string][]byte{".index": index, ".data-00000-of-00001": data}))
	})
}

// holdAll reads all of a checkpoint within the limits for one of its size.
func holdAll(t *testing.T, fsys fstest.MapFS) {
	t.Helper()
	size := 0
	for _, f := range fsys {
		size += len(f.Data)
	}
	limittest.Hold(t, size, func() { _ = readAll(fsys) })
}

func fileOf(fsys fstest.MapFS, name string) []byte {
	if f := fsys[name]; f != nil {
		return f.Data
	}
	return nil
}

// The same behind the checksums, which a mutated file hardly ever gets right: two entries of a version 2.
func FuzzIndex(f *testing.F) {
	data := []byte("12345678")
	a, b := slice(0, 1), slice(1, 1)
	f.Add(checkpointtest.BundleHeader(1, false), "w", float([]int{2}, 0, 8, data), checkpointtest.SliceKey("w", a), float([]int{1}, 0, 4, data[:4]), data)
	f.Add(checkpointtest.BundleHeader(1, true), "w", float([]int{2}, 0, 0, nil, a, b), checkpointtest.SliceKey("w", a), float([]int{1}, 0, 4, data[:4]), data)
	f.Add(checkpointtest.BundleHeader(2, false), "s", checkpointtest.BundleEntry(7, []int{1}, 0, 0, 8, sum(data), nil), "b", checkpointtest.BundleEntry(10, []int{8}, 0, 0, 8, sum(data), nil), data)
	f.Fuzz(func(t *testing.T, header []byte, key1 string, entry1 []byte, key2 string, entry2, data []byte) {
		holdAll(t, index(entries{"": header, key1: entry1, key2: entry2}, data))
	})
}

// The same of a version 1: its list of variables and two slices.
func FuzzSlices(f *testing.F) {
	msg := checkpointtest.Message
	a, b := slice(0, 1), slice(1, 1)
	for i, dtype := range []checkpoint.DataType{1, 2, 3, 7, 8, 9, 10, 18, 19, 22, 23} {
		field := []int{5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17}[i]
		f.Add(msg(1, checkpointtest.SliceMeta("w", []int{2}, dtype, a, b)),
			checkpointtest.SliceKey("w", a), checkpointtest.SavedSlice("w", a, msg(field, "12345678")),
			checkpointtest.SliceKey("w", b), checkpointtest.SavedSlice("w", b, msg(4, "12345678")))
	}
	f.Fuzz(func(t *testing.T, meta []byte, key1 string, value1 []byte, key2 string, value2 []byte) {
		holdAll(t, v1(meta, entries{key1: value1, key2: value2}))
	})
}

func FuzzObjects(f *testing.F) {
	msg := checkpointtest.Message
	f.Add(append(msg(1, msg(1, msg(1, 1, 2, "layer"))), msg(1, msg(2, msg(1, "VARIABLE_VALUE", 2, "dense/kernel", 3, "layer/.ATTRIBUTES/VARIABLE_VALUE"), 3, msg(1, 1, 2, "m", 3, 0)))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		limittest.Hold(t, len(data), func() {
			g, err := checkpoint.DecodeObjects(data)
			if err != nil {
				return
			}
			seen := make([]bool, len(g.Nodes))
			for node := range g.Paths() {
				if node < 0 || node >= len(g.Nodes) || seen[node] {
					t.Fatalf("node %d is wrong or comes twice", node)
				}
				seen[node] = true
			}
		})
	})
}
