package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
	"github.com/millrace/millrace/internal/limittest"
	"github.com/millrace/millrace/tensor"
)

type entries = map[string][]byte

// index makes a checkpoint of version 2 of those entries of its index, in one shard with that data.
func index(e entries, data []byte) fstest.MapFS {
	all := entries{"": checkpointtest.BundleHeader(1, false)}
	maps.Copy(all, e)
	return folder("m", map[string][]byte{".index": table1(all), ".data-00000-of-00001": data})
}

// table1 writes entries sorted by key; those without a value are left out.
func table1(e entries) []byte {
	var list []checkpointtest.Entry
	for _, key := range slices.Sorted(maps.Keys(e)) {
		if e[key] != nil {
			list = append(list, checkpointtest.Entry{Key: key, Value: e[key]})
		}
	}
	return checkpointtest.Table(list, checkpointtest.Options{})
}

func sum(b []byte) uint32 { return table.Mask(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

// float is the entry of a float variable in shard 0.
func float(shape []int, off, size int64, data []byte, parts ...checkpoint.Slice) []byte {
	return checkpointtest.BundleEntry(1, shape, 0, off, size, sum(data), parts)
}

// v1 makes a checkpoint of version 1: its list of variables, and its other entries.
func v1(meta []byte, e entries) fstest.MapFS {
	all := entries{"": checkpointtest.Message(1, meta)}
	maps.Copy(all, e)
	return folder("m", map[string][]byte{"": table1(all)})
}

// oneOf is v1 with one variable "w" of that type and [2], whose TensorProto is given.
func oneOf(dtype checkpoint.DataType, values []byte) fstest.MapFS {
	s := slice(0, 2)
	return v1(checkpointtest.Message(1, checkpointtest.SliceMeta("w", []int{2}, dtype, s)),
		entries{checkpointtest.SliceKey("w", s): checkpointtest.SavedSlice("w", s, values)})
}

func strs(data string) fstest.MapFS {
	return index(entries{"w": checkpointtest.BundleEntry(7, []int{2}, 0, 0, int64(len(data)), sum([]byte(data)), nil)}, []byte(data))
}

func hostile() map[string]struct {
	fsys fstest.MapFS
	err  error
	say  []string
} {
	data := []byte("12345678")
	msg := checkpointtest.Message
	a, b := slice(0, 1), slice(1, 1)
	half := func(s checkpoint.Slice, off int64) (string, []byte) {
		return checkpointtest.SliceKey("w", s), float([]int{1}, off, 4, data[off:off+4])
	}
	key0, half0 := half(a, 0)
	key1, half1 := half(b, 4)
	many := make([]checkpoint.Slice, 20000)
	for i := range many {
		many[i] = slice(0, 1)
	}
	list := func(parts ...checkpoint.Slice) []byte {
		return msg(1, checkpointtest.SliceMeta("w", []int{2}, 1, parts...))
	}
	saved := func(s checkpoint.Slice) (string, []byte) {
		return checkpointtest.SliceKey("w", s), checkpointtest.SavedSlice("w", s, msg(5, "1234"))
	}
	s0, v0 := saved(a)
	_, v1st := saved(b)
	type m = struct {
		fsys fstest.MapFS
		err  error
		say  []string
	}
	bad, no := checkpoint.ErrFormat, checkpoint.ErrUnsupported
	return map[string]m{
		"good":                    {index(entries{"w": float([]int{2}, 0, 8, data)}, data), nil, nil},
		"good slices":             {index(entries{"w": float([]int{2}, 0, 0, nil, a, b), key0: half0, key1: half1}, data), nil, nil},
		"shape of 2^62":           {index(entries{"w": float([]int{1 << 62}, 0, 8, data)}, data), bad, []string{"m.index", `"w"`, "too many elements"}},
		"shape of 2^40":           {index(entries{"w": float([]int{1 << 40}, 0, 8, data)}, data), bad, []string{`"w"`, "4398046511104 bytes"}},
		"product of 2^64":         {index(entries{"w": float([]int{1 << 32, 1 << 32}, 0, 8, data)}, data), bad, []string{`"w"`, "too many elements"}},
		"negative dimension":      {index(entries{"w": float([]int{-1}, 0, 8, data)}, data), bad, []string{`"w"`, "dimension 0 is -1"}},
		"unknown rank":            {index(entries{"w": msg(1, 1, 2, msg(3, 1))}, data), bad, []string{`"w"`, "unknown rank"}},
		"255 dimensions":          {index(entries{"w": float(make([]int, 255), 0, 0, nil)}, data), bad, []string{`"w"`, "254"}},
		"outside its shard":       {index(entries{"w": float([]int{2}, 4, 8, data)}, data), bad, []string{`"w"`, "m.data-00000-of-00001", "8 bytes at offset 4", "outside"}},
		"offset of 2^62":          {index(entries{"w": float([]int{2}, 1<<62, 8, data)}, data), bad, []string{`"w"`, "outside"}},
		"negative offset":         {index(entries{"w": float([]int{2}, -1, 8, data)}, data), bad, []string{`"w"`, "offset -1"}},
		"shard that is not there": {index(entries{"w": checkpointtest.BundleEntry(1, []int{2}, 7, 0, 8, 0, nil)}, data), bad, []string{`"w"`, "shard 7 of 1"}},
		"wrong size":              {index(entries{"w": float([]int{2}, 0, 4, data)}, data), bad, []string{`"w"`, "needs 8 bytes", "has 4"}},
		"wrong checksum":          {index(entries{"w": float([]int{2}, 0, 8, nil)}, data), bad, []string{`"w"`, "m.data-00000-of-00001", "checksum"}},
		"entries over each other": {index(entries{"w": float([]int{2}, 0, 8, data), "v": float([]int{1}, 4, 4, data[4:])}, data), bad, []string{`"w" and "v" share bytes`, "m.data"}},
		"missing slice":           {index(entries{"w": float([]int{2}, 0, 0, nil, a), key0: half0}, data), bad, []string{`"w"`, "slices are missing: 1 of 2"}},
		"slice without entry":     {index(entries{"w": float([]int{2}, 0, 0, nil, a, b), key0: half0}, data), bad, []string{`"w"`, "slice [1]+[1]", "no entry"}},
		"slice twice":             {index(entries{"w": float([]int{2}, 0, 0, nil, a, a), key0: half0}, data), bad, []string{`"w"`, "overlaps"}},
		"slices over each other":  {index(entries{"w": float([]int{2}, 0, 0, nil, a, a, b), key0: half0, key1: half1}, data), bad, []string{`"w"`, "overlap"}},
		"slice beyond the shape":  {index(entries{"w": float([]int{2}, 0, 0, nil, slice(1, 2))}, data), bad, []string{`"w"`, "slice 0", "from 1, 2 long"}},
		"slice of another rank":   {index(entries{"w": float([]int{2}, 0, 0, nil, slice(0, 0, 1, 1))}, data), bad, []string{`"w"`, "more than"}},
		"slice of no rank":        {index(entries{"w": float([]int{2}, 0, 0, nil, checkpoint.Slice{})}, data), bad, []string{`"w"`, "0 dimensions"}},
		"slice of another type":   {index(entries{"w": float([]int{2}, 0, 0, nil, a, b), key0: checkpointtest.BundleEntry(3, []int{1}, 0, 0, 4, sum(data[:4]), nil), key1: half1}, data), bad, []string{`"w"`, "int32[1]"}},
		"many slices":             {index(entries{"w": float([]int{2}, 0, 0, nil, many...)}, data), bad, []string{`"w"`, "overlap"}},
		"variant":                 {index(entries{"w": checkpointtest.BundleEntry(21, []int{2}, 0, 0, 8, sum(data), nil)}, data), no, []string{`"w"`, "variant"}},
		"float8":                  {index(entries{"w": checkpointtest.BundleEntry(24, []int{8}, 0, 0, 8, sum(data), nil)}, data), no, []string{`"w"`, "float8_e5m2"}},
		"unknown type":            {index(entries{"w": checkpointtest.BundleEntry(99, []int{8}, 0, 0, 8, sum(data), nil)}, data), no, []string{`"w"`, "data type 99"}},
		"damaged entry":           {index(entries{"w": {0x0a}}, data), bad, []string{`"w"`, "field 1"}},
		"endless varint":          {index(entries{"w": bytes.Repeat([]byte{0x80}, 100)}, data), bad, []string{`"w"`, "tag is damaged"}},
		"no header":               {index(entries{"": nil, "w": float([]int{2}, 0, 8, data)}, data), bad, []string{"m.index", "header"}},
		"no entries":              {folder("m", map[string][]byte{".index": table1(nil)}), bad, []string{"m.index", "no entries"}},
		"2^31 shards":             {index(entries{"": msg(1, 1<<31-1)}, data), bad, []string{"header", "2147483647 shards"}},
		"no shards":               {index(entries{"": msg(3, msg(1, 1))}, data), bad, []string{"header", "0 shards"}},
		"byte order":              {index(entries{"": msg(1, 1, 2, 2)}, data), bad, []string{"header", "byte order 2"}},
		"newer version":           {index(entries{"": msg(1, 1, 3, msg(1, 5, 2, 2))}, data), no, []string{"header", "version 2"}},
		"bad consumer":            {index(entries{"": msg(1, 1, 3, msg(1, 5, 3, 1))}, data), no, []string{"header", "version 1"}},
		"a table of 10 bytes":     {folder("m", map[string][]byte{".index": data}), bad, []string{"m.index", "8 bytes"}},
		"no table":                {folder("m", map[string][]byte{".index": make([]byte, 100)}), bad, []string{"m.index", "not a table's"}},

		"strings: endless varint": {strs(strings.Repeat("\x80", 20)), bad, []string{`"w"`, "string 0 is damaged"}},
		"strings: long":           {strs("\xff\xff\xff\xff\x0f\x00xxxx"), bad, []string{`"w"`, "string 0 of 4294967295 bytes"}},
		"strings: checksum":       {strs("\x00\x00xxxx"), bad, []string{`"w"`, "checksum of the strings' lengths"}},
		"strings: too few bytes":  {strs("\x00"), bad, []string{`"w"`, "1 bytes for 2 strings"}},
		"strings: 2^40": {index(entries{"w": checkpointtest.BundleEntry(7, []int{1 << 40}, 0, 0, 8, sum(data), nil)}, data), bad,
			[]string{`"w"`, "8 bytes for 1099511627776 strings"}},

		"v1 good":                  {v1(list(slice(0, 1), slice(1, 1)), entries{s0: v0, checkpointtest.SliceKey("w", b): v1st}), nil, nil},
		"v1 without list":          {folder("m", map[string][]byte{"": table1(entries{"x": data})}), bad, []string{"file m", "no list of variables"}},
		"v1 with another list":     {folder("m", map[string][]byte{"": table1(entries{"": msg(2, "x")})}), bad, []string{"file m", "lists no variables"}},
		"v1 shape of 2^62":         {v1(msg(1, checkpointtest.SliceMeta("w", []int{1 << 62}, 1, slice(0, 1<<62))), nil), bad, []string{"file m", `"w"`, "too many elements"}},
		"v1 shape of 2^40":         {v1(msg(1, checkpointtest.SliceMeta("w", []int{1 << 40}, 1, slice(0, 1<<20))), nil), bad, []string{`"w"`, "slices are missing"}},
		"v1 no name":               {v1(msg(1, checkpointtest.SliceMeta("", []int{2}, 1)), nil), bad, []string{"file m", "variable 0", `""`}},
		"v1 no slices":             {v1(list(), nil), bad, []string{`"w"`, "no slices"}},
		"v1 missing slice":         {v1(list(a), entries{s0: v0}), bad, []string{`"w"`, "slices are missing"}},
		"v1 slice without entry":   {v1(list(a, b), entries{s0: v0}), bad, []string{`"w"`, "file m", "slice [1]+[1]", "no entry"}},
		"v1 slice twice":           {v1(list(a, a), entries{s0: v0}), bad, []string{`"w"`, "overlaps"}},
		"v1 entry of another name": {v1(list(a, b), entries{s0: checkpointtest.SavedSlice("v", a, msg(5, "1234")), checkpointtest.SliceKey("w", b): v1st}), bad, []string{`"w"`, `one of "v"`}},
		"v1 entry of another part": {v1(list(a, b), entries{s0: v1st, checkpointtest.SliceKey("w", b): v1st}), bad, []string{`"w"`, "one of slice [1]+[1]"}},
		"v1 newer":                 {v1(append(list(a), msg(2, msg(2, 2))...), nil), no, []string{"file m", "version 2"}},
		"v1 too few values":        {oneOf(1, msg(5, "1234")), bad, []string{`"w"`, "file m", "fewer values"}},
		"v1 too many values":       {oneOf(1, msg(5, "123456789012")), bad, []string{`"w"`, "more values"}},
		"v1 part of a value":       {oneOf(1, msg(5, "123456")), bad, []string{`"w"`, "fewer values"}},
		"v1 part, then a number":   {oneOf(3, append(msg(4, "1"), msg(7, "\x01\x01")...)), bad, []string{`"w"`, "damaged"}},
		"v1 no values":             {oneOf(1, nil), bad, []string{`"w"`}},
		"v1 wrong field":           {oneOf(1, msg(7, "\x01\x02")), bad, []string{`"w"`, "values in field 7, not 5"}},
		"v1 wrong type":            {oneOf(1, msg(1, 3, 5, "12345678")), bad, []string{`"w"`, "of type int32"}},
		"v1 too large a value":     {oneOf(4, msg(7, "\x01\x80\x02")), bad, []string{`"w"`, "256 does not fit uint8"}},
		"v1 negative half":         {oneOf(19, append(msg(13, 1), msg(13, -1)...)), bad, []string{`"w"`, "-1 does not fit half"}},
		"v1 endless varint":        {oneOf(9, msg(10, strings.Repeat("\x80", 30))), bad, []string{`"w"`, "damaged"}},
		"v1 truncated varint":      {oneOf(9, msg(10, "\x01\x80")), bad, []string{`"w"`, "damaged"}},
		"v1 variant":               {oneOf(21, msg(15, "x")), no, []string{`"w"`, "variant"}},
		"v1 unpacked values":       {oneOf(9, msg(10, 1, 10, 2)), nil, nil},
		"v1 bytes of values":       {oneOf(1, msg(4, "12345678")), nil, nil},
		"v1 list of two types": {v1(append(list(a), msg(1, checkpointtest.SliceMeta("w", []int{2}, 3, b))...), nil), bad,
			[]string{"file m", "int32[2] here and float[2] before"}},
	}
}

// readAll opens a checkpoint and reads all that is in it.
func readAll(fsys fs.FS) (err error) {
	c, err := checkpoint.OpenFS(fsys, "m")
	if err != nil {
		return err
	}
	defer c.Close()
	for in := range c.List() {
		if _, e := c.Read(in.Name); e != nil {
			err = errors.Join(err, e)
		}
	}
	if _, e := c.Objects(); e != nil && !errors.Is(e, checkpoint.ErrNotFound) {
		err = errors.Join(err, e)
	}
	return err
}

func TestHostile(t *testing.T) {
	for name, tt := range hostile() {
		t.Run(name, func(t *testing.T) {
			err := readAll(tt.fsys)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("got %v; want %v", err, tt.err)
			}
			for _, part := range tt.say {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if tt.err != nil {
				t.Log(err)
			}
		})
	}
}

func TestHostileObjects(t *testing.T) {
	msg := checkpointtest.Message
	const n = 50_000
	var deep, wide []byte
	for i := range n {
		deep = append(deep, msg(1, msg(1, msg(1, (i+1)%n, 2, "a")))...)
	}
	for i := range 151 { // 150 levels of one object, then one of all others
		children := msg(1, msg(1, i+1, 2, "a"))
		for j := 152; i == 150 && j < n; j++ {
			children = append(children, msg(1, msg(1, j, 2, "a"))...)
		}
		wide = append(wide, msg(1, children)...)
	}
	for range n - 151 {
		wide = append(wide, msg(1, msg(1, msg(1, 0, 2, "root")))...)
	}
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "no nodes"},
		"child outside":    {msg(1, msg(1, msg(1, 1, 2, "a"))), `node 0: child "a" is node 1 of 1`},
		"negative child":   {msg(1, msg(1, msg(1, -1, 2, "a"))), "node 0: "},
		"slot outside":     {msg(1, msg(3, msg(1, 0, 2, "m", 3, 7))), `slot "m"`},
		"truncated":        {[]byte{0x0a, 0x7f}, "field 1"},
		"damaged variable": {msg(1, msg(2, "\x0a")), "node 0: "},
		"deep":             {deep, "objects nest 49999 deep"},
		"circles":          {wide, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, err := checkpoint.DecodeObjects(tt.data)
			if tt.want != "" {
				if !errors.Is(err, checkpoint.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v; want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			paths, began := 0, limittest.CPU()
			for range g.Paths() {
				paths++
			}
			if took := limittest.CPU() - began; paths != n || took > time.Second {
				t.Errorf("%d paths in %v", paths, took)
			}
		})
	}
}

// Whatever a small file asks for, reading it takes no more than a second, four times its size and 64 MiB.
func TestHostileMemory(t *testing.T) {
	files := map[string]fstest.MapFS{}
	for name, tt := range hostile() {
		files[name] = tt.fsys
	}
	msg := checkpointtest.Message
	long := strings.Repeat("a", 60_000)
	var common []checkpointtest.Entry
	for i := range 3000 {
		common = append(common, checkpointtest.Entry{Key: long + string(binary.BigEndian.AppendUint32(nil, uint32(i))), Value: []byte{}})
	}
	common = append([]checkpointtest.Entry{{Key: "", Value: checkpointtest.BundleHeader(1, false)}}, common...)
	files["keys of one beginning"] = folder("m", map[string][]byte{".index": checkpointtest.Table(common, checkpointtest.Options{Block: 1 << 30, Restart: 1 << 30})})
	var small []checkpointtest.Entry
	for i := range 400_000 {
		small = append(small, checkpointtest.Entry{Key: string(binary.BigEndian.AppendUint32(nil, uint32(i+1<<30))), Value: []byte{}})
	}
	small = append([]checkpointtest.Entry{{Key: "", Value: checkpointtest.BundleHeader(1, false)}}, small...)
	files["empty entries"] = folder("m", map[string][]byte{".index": checkpointtest.Table(small, checkpointtest.Options{Snappy: true})})
	files["empty dimensions"] = index(entries{"w": msg(2, bytes.Repeat([]byte{0x12, 0}, 500_000))}, nil)
	files["empty slices"] = index(entries{"w": append(msg(2, msg(2, msg(1, 1))), bytes.Repeat([]byte{0x3a, 0}, 500_000)...)}, nil)
	files["slices of a scalar"] = index(entries{"w": bytes.Repeat([]byte{0x3a, 0}, 500_000)}, nil)
	files["empty variables"] = v1(bytes.Repeat([]byte{0x0a, 3, 0x0a, 1, 'a'}, 500_000), nil)
	const n = 28 << 20
	s := slice(0, n)
	zeros := entries{"": msg(1, msg(1, checkpointtest.SliceMeta("w", []int{n}, 9, s))),
		checkpointtest.SliceKey("w", s): checkpointtest.SavedSlice("w", s, msg(10, make([]byte, n)))}
	var list []checkpointtest.Entry
	for _, key := range slices.Sorted(maps.Keys(zeros)) {
		list = append(list, checkpointtest.Entry{Key: key, Value: zeros[key]})
	}
	files["zeros, packed and compressed"] = folder("m", map[string][]byte{"": checkpointtest.Table(list, checkpointtest.Options{Snappy: true})})
	for name, fsys := range files {
		t.Run(name, func(t *testing.T) {
			holdAll(t, fsys)
		})
	}
}

// Files with bytes changed or cut off are refused or read, and never the cause of a panic.
func TestDamaged(t *testing.T) {
	vars := variables()
	sets := []map[string][]byte{
		checkpointtest.Bundle(vars[:20], 2, false),
		{"": checkpointtest.Legacy(vars[:20], 1, checkpointtest.Options{Block: 1000, Snappy: true})[0]},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, files := range sets {
		names := slices.Sorted(maps.Keys(files))
		for range 300 {
			bad := maps.Clone(files)
			name := names[r.IntN(len(names))]
			b := bytes.Clone(bad[name])
			if r.IntN(2) == 0 {
				b = b[:r.IntN(len(b))]
			} else {
				for range 1 + r.IntN(4) {
					b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
				}
			}
			bad[name] = b
			if err := readAll(folder("m", bad)); err == nil && !(strings.Contains(name, "data") || unread(b, files[name])) {
				t.Errorf("a damaged %q was read", name)
			}
		}
	}
}

// unread reports whether only bytes were changed that have no meaning: those of the meta index and the footer's padding.
func unread(bad, good []byte) bool {
	if len(bad) != len(good) {
		return false
	}
	tab, err := table.Open(bytes.NewReader(bad), int64(len(bad)))
	if err != nil {
		return false
	}
	for _, err := range tab.All() {
		if err != nil {
			return false
		}
	}
	return true
}

func TestUnknownName(t *testing.T) {
	fsys := index(entries{"w": float([]int{2}, 0, 8, []byte("12345678"))}, []byte("12345678"))
	c, err := checkpoint.OpenFS(fsys, "m")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v", "", checkpointtest.SliceKey("w", slice(0, 2))} {
		if _, err := c.Read(name); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("%q: got %v; want ErrNotFound", name, err)
		}
	}
	c.Close()
	if _, err := c.Read("w"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: got %v; want fs.ErrClosed", err)
	}
	if v, err := tensor.New(tensor.Float32, 1); err != nil || v.Size() != 1 {
		t.Error(err)
	}
}
