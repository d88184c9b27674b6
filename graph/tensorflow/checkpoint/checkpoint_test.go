package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/tensor"
)

// random returns a tensor of any bits that are valid.
func random(r *rand.Rand, dtype tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(dtype, shape...))
	if s, ok := t.Raw().([]string); ok {
		for i := range s {
			s[i] = strings.Repeat(string(rune('a'+i%26)), r.IntN(300))
		}
		return t
	}
	for i, b := 0, t.Bytes(); i < len(b); i++ {
		b[i] = byte(r.Uint32())
		if dtype == tensor.Bool {
			b[i] &= 1
		}
	}
	return t
}

func same(a, b *tensor.Tensor) bool {
	if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) {
		return false
	}
	if a.DType() == tensor.String {
		return slices.Equal(tensor.Data[string](a), tensor.Data[string](b))
	}
	return bytes.Equal(a.Bytes(), b.Bytes())
}

func slice(startAndLength ...int) checkpoint.Slice {
	n := len(startAndLength) / 2
	return checkpoint.Slice{Start: startAndLength[:n], Length: startAndLength[n:]}
}

// variables are of every type, whole and in slices along several dimensions.
func variables() []checkpointtest.Variable {
	r := rand.New(rand.NewPCG(1, 2))
	var all []checkpointtest.Variable
	for d := tensor.Float32; d <= tensor.BFloat16; d++ {
		all = append(all,
			checkpointtest.Variable{Name: d.String() + "/scalar", Value: random(r, d), Shard: 1},
			checkpointtest.Variable{Name: d.String() + "/empty", Value: random(r, d, 3, 0)},
			checkpointtest.Variable{Name: d.String() + "/matrix", Value: random(r, d, 130, 7), Shard: 2},
			checkpointtest.Variable{Name: d.String() + "/rows", Value: random(r, d, 9, 3), Slices: []checkpoint.Slice{
				slice(4, 0, 5, 3), slice(0, 0, 4, 3)}},
			checkpointtest.Variable{Name: d.String() + "/mixed", Value: random(r, d, 4, 6, 5), Shard: 1, Slices: []checkpoint.Slice{
				slice(0, 0, 0, 4, 2, 5), slice(0, 2, 0, 1, 4, 5), slice(1, 2, 0, 3, 4, 3), slice(1, 2, 3, 3, 4, 2)}},
		)
	}
	for q, plain := range map[checkpoint.DataType]tensor.DType{11: tensor.Int8, 12: tensor.Uint8, 13: tensor.Int32, 15: tensor.Int16, 16: tensor.Uint16} {
		all = append(all, checkpointtest.Variable{Name: q.String(), Type: q, Value: random(r, plain, 5)})
	}
	all = append(all, checkpointtest.Variable{Name: "odd\xff\x00name", Value: random(r, tensor.Float32, 2), Slices: []checkpoint.Slice{slice(0, 2)}})
	return all
}

func folder(prefix string, files map[string][]byte) fstest.MapFS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[prefix+name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	return m
}

func legacy(files [][]byte) map[string][]byte {
	m := map[string][]byte{}
	for i, f := range files {
		m[fmt.Sprintf("-%05d-of-%05d", i, len(files))] = f
	}
	return m
}

// Variables of every type come back from every way of writing them.
func TestRoundTrip(t *testing.T) {
	vars := variables()
	tests := map[string]map[string][]byte{
		"v2":              checkpointtest.Bundle(vars, 1, false),
		"v2 in shards":    checkpointtest.Bundle(vars, 3, false),
		"v2 big-endian":   checkpointtest.Bundle(vars, 2, true),
		"v1":              {"": checkpointtest.Legacy(vars, 1, checkpointtest.Options{})[0]},
		"v1 snappy":       {"": checkpointtest.Legacy(vars, 1, checkpointtest.Options{Snappy: true})[0]},
		"v1 small blocks": {"": checkpointtest.Legacy(vars, 1, checkpointtest.Options{Block: 100})[0]},
		"v1 in shards":    legacy(checkpointtest.Legacy(vars, 3, checkpointtest.Options{})),
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := checkpoint.OpenFS(folder("a/model", files), "a/model")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Len() != len(vars) {
				t.Errorf("it has %d variables; want %d", c.Len(), len(vars))
			}
			for _, v := range vars {
				got, err := c.Read(v.Name)
				if err != nil {
					t.Error(err)
					continue
				}
				if !same(got, v.Value) {
					t.Errorf("%q is %v; want %v", v.Name, got, v.Value)
				}
				in, err := c.Stat(v.Name)
				if err != nil {
					t.Fatal(err)
				}
				if v.Type != 0 && in.Type != v.Type || len(v.Slices) > 0 && len(in.Slices) != len(v.Slices) {
					t.Errorf("%q is listed as %+v", v.Name, in)
				}
			}
		})
	}
}

// Reading takes the memory of the values and a little more, also where the variable is one large value of a table or
// is put together from slices.
func TestReadMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rows, columns = 4096, 1024 // 16 MiB
	value := random(r, tensor.Float32, rows, columns)
	whole := checkpointtest.Variable{Name: "w", Value: value}
	halves := whole
	halves.Slices = []checkpoint.Slice{slice(0, 0, rows, columns/2), slice(0, columns/2, rows, columns/2)}
	tests := map[string]map[string][]byte{
		"v2":        checkpointtest.Bundle([]checkpointtest.Variable{whole}, 1, false),
		"v2 slices": checkpointtest.Bundle([]checkpointtest.Variable{halves}, 2, false),
		"v1":        {"": checkpointtest.Legacy([]checkpointtest.Variable{whole}, 1, checkpointtest.Options{Snappy: true})[0]},
		"v1 slices": legacy(checkpointtest.Legacy([]checkpointtest.Variable{halves}, 2, checkpointtest.Options{})),
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			fsys := folder("m", files)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := checkpoint.OpenFS(fsys, "m")
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Read("w")
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if !same(got, value) {
				t.Error("it came back changed")
			}
			size := uint64(len(value.Bytes()))
			used := after.TotalAlloc - before.TotalAlloc // all that was ever allocated counts
			t.Logf("%.3f times the values' size", float64(used)/float64(size))
			if used > size+size/10 {
				t.Errorf("%d bytes of values took %d", size, used)
			}
		})
	}
}

// Which files a name means.
func TestOpen(t *testing.T) {
	old := checkpointtest.Variable{Name: "w", Value: tensor.Scalar(float32(1))}
	young := checkpointtest.Variable{Name: "w", Value: tensor.Scalar(float32(2))}
	fsys := fstest.MapFS{}
	add := func(prefix string, files map[string][]byte) {
		for name, f := range folder(prefix, files) {
			fsys[name] = f
		}
	}
	add("run/m-1", checkpointtest.Bundle([]checkpointtest.Variable{old}, 1, false))
	add("run/m-2", checkpointtest.Bundle([]checkpointtest.Variable{young}, 2, false))
	add("run/checkpoint", map[string][]byte{"": []byte("model_checkpoint_path: \"m-2\"\nall_model_checkpoint_paths: \"m-1\"\n")})
	add("moved/m-2", checkpointtest.Bundle([]checkpointtest.Variable{young}, 1, false))
	add("moved/checkpoint", map[string][]byte{"": []byte(`model_checkpoint_path: "/home/me/run/m-2"`)})
	add("one/variables", checkpointtest.Bundle([]checkpointtest.Variable{old}, 1, false))
	add("two/a", checkpointtest.Bundle([]checkpointtest.Variable{old}, 1, false))
	add("two/b", checkpointtest.Bundle([]checkpointtest.Variable{old}, 1, false))
	add("v1/m", legacy(checkpointtest.Legacy([]checkpointtest.Variable{old}, 2, checkpointtest.Options{})))
	add("both/m", legacy(checkpointtest.Legacy([]checkpointtest.Variable{old}, 2, checkpointtest.Options{})))
	add("both/m", legacy(checkpointtest.Legacy([]checkpointtest.Variable{old}, 3, checkpointtest.Options{})))
	add("aside/checkpoint", map[string][]byte{"": []byte(`model_checkpoint_path: "../one/variables"`)})
	add("leaves/checkpoint", map[string][]byte{"": []byte(`model_checkpoint_path: "../../one/variables"`)})
	add("state/checkpoint", map[string][]byte{"": []byte("nothing")})
	add("empty/x", map[string][]byte{"": nil})
	tests := []struct {
		name string
		want float32
		err  string
	}{
		{"run/m-1", 1, ""},
		{"run/m-1.index", 1, ""},
		{"run/m-2.data-00001-of-00002", 2, ""},
		{"run", 2, ""},
		{"run/", 2, ""},
		{"moved", 2, ""},
		{"one", 1, ""},
		{"two", 0, "name one of two/a, two/b"},
		{"v1/m", 1, ""},
		{"v1/m-?????-of-00002", 1, ""},
		{"v1/m-00001-of-00002", 1, ""},
		{"v1/m-?????-of-00003", 0, "nor shards v1/m-?????-of-NNNNN"},
		{"both/m", 0, "m-?????-of-00002"},
		{"both/m-?????-of-00003", 1, ""},
		{"aside", 1, ""},
		{"leaves", 0, "leaves the folder"},
		{"state", 0, "model_checkpoint_path"},
		{"empty/x", 0, "0 bytes"},
		{"empty", 0, "neither a file"},
		{"run/m-3", 0, "the folder has run/m-1, run/m-2"},
		{"../x", 0, "not a path inside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := checkpoint.OpenFS(fsys, tt.name)
			if err != nil {
				if tt.err == "" || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v; want %q", err, tt.err)
				}
				return
			}
			defer c.Close()
			v, err := c.Read("w")
			if err != nil {
				t.Fatal(err)
			}
			if got := tensor.Data[float32](v)[0]; tt.err != "" || got != tt.want {
				t.Errorf("got %v; want %v %s", got, tt.want, tt.err)
			}
		})
	}
}

// A shard that is missing is no reason to fail until a variable in it is read.
func TestPartial(t *testing.T) {
	vars := []checkpointtest.Variable{
		{Name: "here", Value: tensor.Vector[float32](1, 2)},
		{Name: "there", Value: tensor.Vector[float32](3, 4), Shard: 1},
		{Name: "both", Value: tensor.Vector[float32](5, 6), Slices: []checkpoint.Slice{slice(0, 1), slice(1, 1)}},
	}
	v1 := legacy(checkpointtest.Legacy(vars, 2, checkpointtest.Options{}))
	delete(v1, "-00001-of-00002")
	v2 := checkpointtest.Bundle(vars, 2, false)
	delete(v2, ".data-00001-of-00002")
	for name, files := range map[string]map[string][]byte{"v1": v1, "v2": v2} {
		t.Run(name, func(t *testing.T) {
			c, err := checkpoint.OpenFS(folder("m", files), "m")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Read("here"); err != nil {
				t.Error(err)
			}
			for _, missing := range []string{"there", "both"} {
				_, err := c.Read(missing)
				if err == nil || !strings.Contains(err.Error(), "00001-of-00002") || !strings.Contains(err.Error(), missing) {
					t.Errorf("%q: got %v; want the shard's name", missing, err)
				}
			}
			if name == "v2" {
				if _, err := c.Read("there"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got %v; want fs.ErrNotExist", err)
				}
			}
		})
	}
}
