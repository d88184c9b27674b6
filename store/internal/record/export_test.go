package record

import (
	"bytes"
	"encoding/binary"
)

// Mend puts the right checksum into a header, where b has one.
func Mend(b []byte) []byte {
	n, err := HeadBytes(b)
	if err != nil || n > len(b) {
		return b
	}
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[36:], headSum(b[:n]))
	return b
}
