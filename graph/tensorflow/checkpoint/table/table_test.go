package table_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
	"github.com/millrace/millrace/internal/limittest"
)

func open(data []byte) (*table.Table, error) {
	return table.Open(bytes.NewReader(data), int64(len(data)))
}

// sorted makes n entries of keys with common beginnings.
func sorted(n int) []checkpointtest.Entry {
	r := rand.New(rand.NewPCG(1, 2))
	all := []checkpointtest.Entry{{Key: "", Value: []byte("first")}}
	for i := range n {
		all = append(all, checkpointtest.Entry{Key: fmt.Sprintf("layer/%06d", i*3), Value: bytes.Repeat([]byte{byte(i)}, r.IntN(200))})
	}
	// A value for which a block is not read as a whole.
	return append(all, checkpointtest.Entry{Key: "m", Value: make([]byte, 3<<20)}, checkpointtest.Entry{Key: "n", Value: []byte("last")})
}

func TestTable(t *testing.T) {
	entries := sorted(3000)
	for name, o := range map[string]checkpointtest.Options{
		"plain": {}, "snappy": {Snappy: true}, "small blocks": {Block: 50}, "one block": {Block: 1 << 30}, "no restarts": {Block: 1 << 30, Restart: 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			tab, err := open(checkpointtest.Table(entries, o))
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			for e, err := range tab.All() {
				if err != nil {
					t.Fatal(err)
				}
				check(t, entries[i], string(e.Key), e.Value)
				i++
			}
			if i != len(entries) {
				t.Errorf("%d entries; want %d", i, len(entries))
			}
			for _, e := range []checkpointtest.Entry{entries[0], entries[1], entries[1500], entries[len(entries)-2], entries[len(entries)-1]} {
				v, ok, err := tab.Get([]byte(e.Key))
				if err != nil || !ok {
					t.Fatalf("%q: %v, %v", e.Key, ok, err)
				}
				check(t, e, e.Key, v)
			}
			for _, key := range []string{"a", "layer/000001", "layer/zzz", "zz"} {
				if _, ok, err := tab.Get([]byte(key)); ok || err != nil {
					t.Errorf("%q, which is not there: %v, %v", key, ok, err)
				}
			}
		})
	}
}

func check(t *testing.T, want checkpointtest.Entry, key string, v table.Value) {
	t.Helper()
	b, err := v.Bytes(v.Size())
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(v.Reader())
	if err != nil {
		t.Fatal(err)
	}
	if key != want.Key || !bytes.Equal(b, want.Value) || !bytes.Equal(read, want.Value) {
		t.Fatalf("%q has %d bytes; want %q with %d", key, len(b), want.Key, len(want.Value))
	}
}

func TestMask(t *testing.T) {
	for _, v := range []uint32{0, 1, 0xffffffff, 0xa282ead8, 0x12345678} {
		if got := table.Unmask(table.Mask(v)); got != v {
			t.Errorf("%x comes back as %x", v, got)
		}
	}
	// As leveldb's own test has it: masking changes a value, also twice.
	if table.Mask(5) == 5 || table.Mask(table.Mask(5)) == 5 {
		t.Error("masking changes nothing")
	}
}

func uvarints(v ...uint64) []byte {
	var b []byte
	for _, u := range v {
		b = binary.AppendUvarint(b, u)
	}
	return b
}

func hostile() map[string]struct {
	data []byte
	say  string
} {
	type m = struct {
		data []byte
		say  string
	}
	two := []checkpointtest.Entry{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}}
	with := func(o checkpointtest.Options) []byte { return checkpointtest.Table(two, o) }
	handle := func(f func(n int, off, size uint64) (uint64, uint64)) []byte {
		return with(checkpointtest.Options{Block: 1, Handle: f})
	}
	at := func(block int, off, size uint64) []byte {
		return handle(func(n int, o, s uint64) (uint64, uint64) {
			if n == block {
				return off, size
			}
			return o, s
		})
	}
	raw := func(parts ...[]byte) []byte { return checkpointtest.Raw(slices.Concat(parts...), 0) }
	tail := []byte{0, 0, 0, 0, 1, 0, 0, 0}
	good := with(checkpointtest.Options{})
	flip := func(i int) []byte {
		b := bytes.Clone(good)
		b[i] ^= 1
		return b
	}
	small := snappy.Encode(nil, make([]byte, 1000))
	claim := func(n uint64) []byte {
		_, k := binary.Uvarint(small)
		return append(uvarints(n), small[k:]...)
	}
	return map[string]m{
		"empty":                       {nil, "0 bytes"},
		"magic":                       {flip(len(good) - 1), "not a table's"},
		"footer of endless varints":   {slices.Concat(good, bytes.Repeat([]byte{0x80}, 40), good[len(good)-8:]), "the offset of a block is damaged"},
		"data":                        {flip(3), "checksum"},
		"checksum":                    {flip(len(good) - 60), "checksum"},
		"index outside":               {at(-1, 1<<40, 10), "10 bytes at offset 1099511627776 lie outside"},
		"index of 2^62":               {at(-1, 0, 1<<62), "lie outside"},
		"index of 2^63":               {at(-1, 1<<63, 1<<63), "a block of"},
		"block outside":               {at(0, 0, 1<<40), "block 0: "},
		"blocks that loop":            {at(1, 0, 5), "block 1 begins at 0, before the end of the one before it"},
		"block over the footer":       {at(1, 20, uint64(len(good))), "lie outside"},
		"unknown compression":         {checkpointtest.Raw(tail, 7), "unknown compression 7"},
		"no restart points":           {raw([]byte{1, 0, 0}), "too short"},
		"2^32 restart points":         {raw([]byte{0xff, 0xff, 0xff, 0xff}), "4294967295 restart points"},
		"shares more than there is":   {raw(uvarints(5, 1, 1), []byte("ab"), tail), "shares 5 bytes with a key of 0"},
		"key of 2^31":                 {raw(uvarints(0, 1<<31, 0), tail), "limit"},
		"key beyond the block":        {raw(uvarints(0, 100, 0), tail), "beyond the block"},
		"value beyond the block":      {raw(uvarints(0, 1, 1<<31), []byte("a"), tail), "beyond the block"},
		"value of 2^40":               {raw(uvarints(0, 1, 1<<40), []byte("a"), tail), "lengths are damaged"},
		"endless varint":              {raw(bytes.Repeat([]byte{0x80}, 30), tail), "lengths are damaged"},
		"keys out of order":           {raw(uvarints(0, 1, 0), []byte("b"), uvarints(0, 1, 0), []byte("a"), tail), "not after"},
		"key twice":                   {raw(uvarints(0, 1, 0), []byte("b"), uvarints(1, 0, 0), tail), "not after"},
		"blocks out of order":         {checkpointtest.Table([]checkpointtest.Entry{{Key: "b"}, {Key: "a"}}, checkpointtest.Options{Block: 1}), "not after"},
		"snappy of 4 GB":              {checkpointtest.Raw(claim(1<<32-1), 1), "claim to be 4294967295"},
		"snappy of 2^63":              {checkpointtest.Raw(claim(1<<63), 1), "snappy"},
		"snappy of less than it says": {checkpointtest.Raw(claim(1010), 1), "snappy"},
		"snappy without length":       {checkpointtest.Raw(bytes.Repeat([]byte{0x80}, 20), 1), "snappy"},
		"snappy of nothing":           {checkpointtest.Raw(nil, 1), "snappy"},
	}
}

func readAll(data []byte) error {
	tab, err := open(data)
	if err != nil {
		return err
	}
	var keys [][]byte
	for e, err := range tab.All() {
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, e.Value.Reader()); err != nil {
			return err
		}
		if len(keys) < 100 {
			keys = append(keys, bytes.Clone(e.Key))
		}
	}
	for _, key := range keys {
		if _, ok, err := tab.Get(key); err != nil {
			return fmt.Errorf("get %q: %w", key, err)
		} else if !ok {
			return fmt.Errorf("get %q: it is not there", key)
		}
	}
	return nil
}

func TestHostile(t *testing.T) {
	for name, tt := range hostile() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := readAll(tt.data)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, table.ErrFormat) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("got %v; want %q", err, tt.say)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d bytes made it allocate %d", len(tt.data), used)
			}
		})
	}
}

// A block of a few megabytes with very many entries is not searched in more than linear time.
func TestManyEntries(t *testing.T) {
	var all []checkpointtest.Entry
	for i := range 500_000 {
		all = append(all, checkpointtest.Entry{Key: strings.Repeat("k", 200) + string(binary.BigEndian.AppendUint32(nil, uint32(i)))})
	}
	data := checkpointtest.Table(all, checkpointtest.Options{Block: 1 << 30, Restart: 1 << 30})
	began := limittest.CPU()
	tab, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range tab.All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if took := limittest.CPU() - began; n != len(all) || took > time.Second {
		t.Errorf("%d entries in %d bytes took %v", n, len(data), took)
	}
}

func FuzzTable(f *testing.F) {
	for _, tt := range hostile() {
		f.Add(tt.data)
	}
	f.Add(checkpointtest.Table(sorted(20)[:20], checkpointtest.Options{Block: 100, Snappy: true}))
	f.Fuzz(func(t *testing.T, data []byte) {
		limittest.Hold(t, len(data), func() { _ = readAll(data) })
	})
}

// What FuzzTable hardly reaches: the content of a block whose checksum is right.
func FuzzBlock(f *testing.F) {
	f.Add(checkpointtest.Block(sorted(20)[:20], 16), false)
	f.Add(snappy.Encode(nil, checkpointtest.Block(sorted(20)[:20], 16)), true)
	f.Fuzz(func(t *testing.T, content []byte, compressed bool) {
		kind := byte(0)
		if compressed {
			kind = 1
		}
		file := checkpointtest.Raw(content, kind)
		var err error
		limittest.Hold(t, len(file), func() { err = readAll(file) })
		if err != nil && !errors.Is(err, table.ErrFormat) && !strings.Contains(err.Error(), "\\xff") {
			t.Fatal(err)
		}
	})
}
