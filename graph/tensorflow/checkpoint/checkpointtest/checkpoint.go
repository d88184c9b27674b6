package checkpointtest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
	"github.com/millrace/millrace/tensor"
)

// A Variable is what is to be written.
type Variable struct {
	Name string
	// Type is TensorFlow's; 0 means that of Value.
	Type  checkpoint.DataType
	Value *tensor.Tensor
	// Slices are the parts to write it in; none means one piece.
	Slices []checkpoint.Slice
	// Shard is the shard of the first slice; each further one is in the next.
	Shard int
}

// Type returns TensorFlow's type of elements of d.
func Type(d tensor.DType) checkpoint.DataType {
	for t := checkpoint.DataType(1); ; t++ {
		if t.DType() == d {
			return t
		}
	}
}

func (v Variable) dtype() checkpoint.DataType {
	if v.Type != 0 {
		return v.Type
	}
	return Type(v.Value.DType())
}

// Bundle writes a checkpoint of version 2: files by what their names add to the prefix.
func Bundle(vars []Variable, shards int, bigEndian bool) map[string][]byte {
	data := make([][]byte, shards)
	var entries []Entry
	put := func(key string, v Variable, t *tensor.Tensor, shard int) {
		raw, sum := content(t, bigEndian)
		entries = append(entries, Entry{key, BundleEntry(v.dtype(), t.Shape(), shard, int64(len(data[shard])), int64(len(raw)), table.Mask(sum), nil)})
		data[shard] = append(data[shard], raw...)
	}
	for _, v := range vars {
		if len(v.Slices) == 0 {
			put(v.Name, v, v.Value, v.Shard%shards)
			continue
		}
		entries = append(entries, Entry{v.Name, BundleEntry(v.dtype(), v.Value.Shape(), 0, 0, 0, 0, v.Slices)})
		for i, s := range v.Slices {
			put(SliceKey(v.Name, s), v, Part(v.Value, s), (v.Shard+i)%shards)
		}
	}
	entries = append(entries, Entry{"", BundleHeader(shards, bigEndian)})
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	files := map[string][]byte{".index": Table(entries, Options{})}
	for i, d := range data {
		files[fmt.Sprintf(".data-%05d-of-%05d", i, shards)] = d
	}
	return files
}

// BundleHeader returns a BundleHeaderProto.
func BundleHeader(shards int, bigEndian bool) []byte {
	order := 0
	if bigEndian {
		order = 1
	}
	return Message(1, shards, 2, order, 3, Message(1, 1))
}

// BundleEntry returns a BundleEntryProto; sum is the masked checksum.
func BundleEntry(dtype checkpoint.DataType, shape []int, shard int, off, size int64, sum uint32, parts []checkpoint.Slice) []byte {
	b := Message(1, int(dtype), 2, Shape(shape), 3, shard, 4, int(off), 5, int(size))
	b = protowire.AppendFixed32(protowire.AppendTag(b, 6, protowire.Fixed32Type), sum)
	for _, s := range parts {
		b = append(b, Message(7, SliceMessage(s))...)
	}
	return b
}

// content returns the bytes of a tensor in a data file, and their checksum.
func content(t *tensor.Tensor, bigEndian bool) ([]byte, uint32) {
	if t.DType() == tensor.String {
		return stringContent(tensor.Data[string](t), bigEndian)
	}
	raw := slices.Clone(t.Bytes())
	size := t.DType().Size()
	if t.DType() == tensor.Complex64 || t.DType() == tensor.Complex128 {
		size /= 2
	}
	for b := raw; bigEndian && len(b) > 0; b = b[size:] {
		slices.Reverse(b[:size])
	}
	return raw, crc32.Checksum(raw, castagnoli)
}

func stringContent(all []string, bigEndian bool) ([]byte, uint32) {
	var order binary.AppendByteOrder = binary.LittleEndian
	if bigEndian {
		order = binary.BigEndian
	}
	var raw, lengths []byte
	for _, s := range all {
		raw = binary.AppendUvarint(raw, uint64(len(s)))
		lengths = order.AppendUint32(lengths, uint32(len(s)))
	}
	sum := crc32.Checksum(lengths, castagnoli)
	rest := order.AppendUint32(nil, table.Mask(sum))
	rest = append(rest, strings.Join(all, "")...)
	return append(raw, rest...), crc32.Update(sum, castagnoli, rest)
}

// Part returns the elements of t in a slice.
func Part(t *tensor.Tensor, s checkpoint.Slice) *tensor.Tensor {
	out := tensor.Must(tensor.New(t.DType(), s.Length...))
	for i := range out.Size() {
		from, stride, rest := 0, 1, i
		for d := len(s.Length) - 1; d >= 0; d-- {
			from += (s.Start[d] + rest%s.Length[d]) * stride
			rest /= s.Length[d]
			stride *= t.Shape()[d]
		}
		if t.DType() == tensor.String {
			tensor.Data[string](out)[i] = tensor.Data[string](t)[from]
			continue
		}
		size := t.DType().Size()
		copy(out.Bytes()[i*size:], t.Bytes()[from*size:(from+1)*size])
	}
	return out
}

// Legacy writes a checkpoint of version 1 in that many files.
func Legacy(vars []Variable, shards int, o Options) [][]byte {
	metas := make([][]byte, shards)
	entries := make([][]Entry, shards)
	for _, v := range vars {
		parts := v.Slices
		if len(parts) == 0 {
			parts = []checkpoint.Slice{{Start: make([]int, v.Value.Rank()), Length: v.Value.Shape()}}
		}
		for i, s := range parts {
			at := (v.Shard + i) % shards
			metas[at] = append(metas[at], Message(1, SliceMeta(v.Name, v.Value.Shape(), v.dtype(), s))...)
			entries[at] = append(entries[at], Entry{SliceKey(v.Name, s), SavedSlice(v.Name, s, Values(Part(v.Value, s)))})
		}
	}
	files := make([][]byte, shards)
	for i := range files {
		all := append(entries[i], Entry{"", Message(1, append(metas[i], Message(2, Message(1, 1))...))})
		slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
		files[i] = Table(all, o)
	}
	return files
}

// SliceMeta returns a SavedSliceMeta.
func SliceMeta(name string, shape []int, dtype checkpoint.DataType, parts ...checkpoint.Slice) []byte {
	b := Message(1, name, 2, Shape(shape), 3, int(dtype))
	for _, s := range parts {
		b = append(b, Message(4, SliceMessage(s))...)
	}
	return b
}

// SavedSlice returns a SavedTensorSlices of one slice, whose TensorProto is given.
func SavedSlice(name string, s checkpoint.Slice, values []byte) []byte {
	return Message(2, Message(1, name, 2, SliceMessage(s), 3, values))
}

// Values returns a TensorProto with the elements of t as packed numbers.
func Values(t *tensor.Tensor) []byte {
	switch d := t.Raw().(type) {
	case []float32, []complex64:
		return Message(map[bool]int{true: 5, false: 9}[t.DType() == tensor.Float32], t.Bytes())
	case []float64, []complex128:
		return Message(map[bool]int{true: 6, false: 12}[t.DType() == tensor.Float64], t.Bytes())
	case []string:
		var b []byte
		for _, s := range d {
			b = append(b, Message(8, s)...)
		}
		return b
	case []int64:
		return packed(10, d)
	case []int32:
		return packed(7, d)
	case []int16:
		return packed(7, d)
	case []int8:
		return packed(7, d)
	case []uint8:
		return packed(7, d)
	case []uint16:
		return packed(7, d)
	case []tensor.Half:
		return packed(13, d)
	case []tensor.BHalf:
		return packed(13, d)
	case []uint32:
		return packed(16, d)
	case []uint64:
		return packed(17, d)
	}
	return Message(11, t.Bytes()) // booleans are varints of one byte
}

func packed[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | tensor.Half | tensor.BHalf](field int, v []T) []byte {
	var b []byte
	for _, e := range v {
		b = protowire.AppendVarint(b, uint64(e))
	}
	return Message(field, b)
}

// Shape returns a TensorShapeProto.
func Shape(shape []int) []byte {
	var b []byte
	for _, d := range shape {
		b = append(b, Message(2, Message(1, d))...)
	}
	return b
}

// SliceMessage returns a TensorSliceProto.
func SliceMessage(s checkpoint.Slice) []byte {
	var b []byte
	for i := range s.Start {
		b = append(b, Message(1, Message(1, s.Start[i], 2, s.Length[i]))...)
	}
	return b
}

// Message makes a protobuf message of pairs of a field's number and an int, a string, or bytes (or a message).
func Message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		num := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		default:
			panic(fmt.Sprintf("checkpointtest: a field of %T", v))
		}
	}
	return b
}

// SliceKey returns the key of a slice with explicit lengths.
func SliceKey(name string, s checkpoint.Slice) string {
	key := "\x00"
	for i := range len(name) {
		switch name[i] {
		case 0:
			key += "\x00\xff"
		case 0xff:
			key += "\xff\x00"
		default:
			key += name[i : i+1]
		}
	}
	key += "\x00\x01"
	if n := len(s.Start); n == 0 {
		key += "\x00"
	} else {
		key += "\x01" + string([]byte{byte(n)})
	}
	for i := range s.Start {
		key += signed(s.Start[i]) + signed(s.Length[i])
	}
	return key
}

// signed returns a number that is not negative in ordered code, up to 2^27-1.
func signed(v int) string {
	switch {
	case v < 1<<6:
		return string([]byte{0x80 | byte(v)})
	case v < 1<<13:
		return string([]byte{0xc0 | byte(v>>8), byte(v)})
	case v < 1<<20:
		return string([]byte{0xe0 | byte(v>>16), byte(v >> 8), byte(v)})
	case v < 1<<27:
		return string([]byte{0xf0 | byte(v>>24), byte(v >> 16), byte(v >> 8), byte(v)})
	}
	panic("checkpointtest: a slice of more than 2^27")
}
