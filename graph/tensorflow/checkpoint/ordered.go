package checkpoint

import "encoding/binary"

// Keys of slices are in ordered code: byte strings that sort as the values in them do. A number without sign is its
// length in bytes and its bytes, highest first, without zeros before them. A string ends with 00 01; 00 in it is 00 ff,
// ff is ff 00. A signed number has as many ones at its front as it has bytes (inverted where it is negative), as UTF-8.

// sliceKey returns the key of a slice of a tensor: 0, the tensor's name, the number of dimensions, and start and length of each.
// A length of -1 stands for the whole dimension where the slice was written so.
func sliceKey(name string, s Slice) []byte {
	b := appendNumber(nil, 0)
	b = appendString(b, name)
	b = appendNumber(b, uint64(len(s.Start)))
	for i := range s.Start {
		length := int64(s.Length[i])
		if s.full[i] {
			length = -1
		}
		b = appendSigned(b, int64(s.Start[i]))
		b = appendSigned(b, length)
	}
	return b
}

func appendNumber(b []byte, v uint64) []byte {
	var buf [8]byte
	binary.BigEndian.PutUint64(buf[:], v)
	n := 8
	for n > 0 && buf[8-n] == 0 {
		n--
	}
	return append(append(b, byte(n)), buf[8-n:]...)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		switch s[i] {
		case 0:
			b = append(b, 0, 0xff)
		case 0xff:
			b = append(b, 0xff, 0)
		default:
			b = append(b, s[i])
		}
	}
	return append(b, 0, 1)
}

func appendSigned(b []byte, v int64) []byte {
	size := v
	if v < 0 {
		size = ^v
	}
	n := 1
	for n < 10 && size>>(7*n-1) != 0 {
		n++
	}
	// The number with its sign over 10 bytes, of which the last n count; the ones of its length are put over its sign.
	var buf [10]byte
	if v < 0 {
		buf[0], buf[1] = 0xff, 0xff
	}
	binary.BigEndian.PutUint64(buf[2:], uint64(v))
	ones := uint16(0xffff) << (16 - n)
	out := buf[10-n:]
	out[0] ^= byte(ones >> 8)
	if n > 1 {
		out[1] ^= byte(ones)
	}
	return append(b, out...)
}
