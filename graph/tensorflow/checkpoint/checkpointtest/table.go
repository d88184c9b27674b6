// Package checkpointtest writes checkpoints as TensorFlow does, and damaged ones, for tests. Reading them is left to
// package checkpoint.
package checkpointtest

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/snappy"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An Entry is a key and a value of a table.
type Entry struct {
	Key   string
	Value []byte
}

// Options say how a table is written. The zero value is useful.
type Options struct {
	// Block is the size from which a block ends; 0 means 256 KiB, as TensorFlow's.
	Block int
	// Restart is how many entries share beginnings; 0 means 16.
	Restart int
	// Snappy compresses the blocks that get smaller by an eighth.
	Snappy bool
	// Damage may change a block's content before its checksum is counted: data blocks by number, the index as -1.
	Damage func(block int, content []byte) []byte
	// Handle may change what the index says of a block.
	Handle func(block int, off, size uint64) (uint64, uint64)
}

// Table writes entries, in the order given, as a table.
func Table(entries []Entry, o Options) []byte {
	if o.Block == 0 {
		o.Block = 256 << 10
	}
	if o.Restart == 0 {
		o.Restart = 16
	}
	var file []byte
	var index []Entry
	var block []Entry
	size := 0
	flush := func() {
		n := len(index)
		handle := o.put(&file, n, Block(block, o.Restart))
		index = append(index, Entry{block[len(block)-1].Key, handle})
		block, size = nil, 0
	}
	for _, e := range entries {
		block = append(block, e)
		if size += len(e.Key) + len(e.Value); size >= o.Block {
			flush()
		}
	}
	if len(block) > 0 {
		flush()
	}
	foot := o.put(&file, -2, Block(nil, 16)) // the meta index
	foot = append(foot, o.put(&file, -1, Block(index, 1))...)
	foot = append(foot, make([]byte, 40-len(foot))...)
	foot = binary.LittleEndian.AppendUint64(foot, 0xdb4775248b80fb57)
	return append(file, foot...)
}

// put appends a block with its trailer, and returns its handle.
func (o Options) put(file *[]byte, n int, content []byte) []byte {
	if o.Damage != nil && n >= -1 {
		content = o.Damage(n, content)
	}
	kind := byte(0)
	if o.Snappy && n >= 0 {
		if small := snappy.Encode(nil, content); len(small) < len(content)-len(content)/8 {
			content, kind = small, 1
		}
	}
	return o.raw(file, n, content, kind)
}

func (o Options) raw(file *[]byte, n int, content []byte, kind byte) []byte {
	off, size := uint64(len(*file)), uint64(len(content))
	*file = append(append(*file, content...), kind)
	sum := crc32.Checksum((*file)[off:], castagnoli)
	*file = binary.LittleEndian.AppendUint32(*file, table.Mask(sum))
	if o.Handle != nil {
		off, size = o.Handle(n, off, size)
	}
	return binary.AppendUvarint(binary.AppendUvarint(nil, off), size)
}

// Raw writes a table of one data block whose content and kind of compression are given: its checksum is right, whatever it holds.
func Raw(content []byte, kind byte) []byte {
	var file []byte
	var o Options
	handle := o.raw(&file, 0, content, kind)
	foot := o.put(&file, -2, Block(nil, 16))
	foot = append(foot, o.put(&file, -1, Block([]Entry{{"\xff", handle}}, 1))...)
	foot = append(foot, make([]byte, 40-len(foot))...)
	return append(file, binary.LittleEndian.AppendUint64(foot, 0xdb4775248b80fb57)...)
}

// Block returns the content of a block with a restart point every so many entries.
func Block(entries []Entry, every int) []byte {
	var b []byte
	var restarts []uint32
	before := ""
	for i, e := range entries {
		shared := 0
		if i%every == 0 {
			restarts = append(restarts, uint32(len(b)))
		} else {
			for shared < min(len(before), len(e.Key)) && before[shared] == e.Key[shared] {
				shared++
			}
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(e.Key)-shared))
		b = binary.AppendUvarint(b, uint64(len(e.Value)))
		b = append(append(b, e.Key[shared:]...), e.Value...)
		before = e.Key
	}
	if len(restarts) == 0 {
		restarts = []uint32{0}
	}
	for _, r := range restarts {
		b = binary.LittleEndian.AppendUint32(b, r)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(len(restarts)))
}
