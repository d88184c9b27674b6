package onnx

import (
	"hash/maphash"
	"math/bits"
)

// words are the strings that were read last, by their hash: a value's name comes at least twice in a file, and an operator's thousands of times.
type words struct {
	seed maphash.Seed
	last []string
}

// newWords sizes the table for a file of so many bytes.
func newWords(size int) words {
	return words{maphash.MakeSeed(), make([]string, 1<<min(15, bits.Len(uint(size/128))))}
}

// of returns b as a string, the one that was made before where that is still known.
func (w *words) of(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	s := &w.last[maphash.Bytes(w.seed, b)&uint64(len(w.last)-1)]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}

// listRoom is how many strings are allocated at a time.
const listRoom = 256

// list makes an empty list with room for n strings, which is of one piece with others: most are of one or two.
func (d *decoder) list(n int) []string {
	if n > listRoom/8 {
		return make([]string, 0, n)
	}
	if n > len(d.lists) {
		d.lists = make([]string, listRoom)
	}
	l := d.lists[:0:n]
	d.lists = d.lists[n:]
	return l
}
