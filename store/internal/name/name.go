// Package name makes object names of keys, for stores whose names are shorter than our keys or cannot have every byte. Where the objects
// are is left to the stores.
//
// Names have letters, digits and - . = _ ~ alone, at most MaxBytes of them, and have the order of their keys: of two bytes that are no letter or digit,
// each is written as a mark and two hexadecimal digits, and the mark is one that stands in the order of bytes where the byte itself does. Keys over
// cutBytes bytes have the name of their first cutBytes, a dot, and the SHA-256 of the whole key; their order among those that begin
// alike is not that of the keys, and the key itself has to be read from what is stored.
package name

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	// MaxBytes is the longest name.
	MaxBytes = 3*cutBytes + 1 + 2*sha256.Size

	cutBytes = 256
	cutMark  = "."
)

// Of returns the name of a key.
func Of(key string) string {
	if len(key) <= cutBytes {
		return escape(key)
	}
	sum := sha256.Sum256([]byte(key))
	return escape(key[:cutBytes]) + cutMark + hex.EncodeToString(sum[:])
}

// Prefix returns what the names of all keys with a prefix begin with. Where the prefix is over cutBytes long, other names do so too.
func Prefix(prefix string) string { return escape(prefix[:min(len(prefix), cutBytes)]) }

// Before returns a name that is not after that of any key which is greater than key.
func Before(key string) string { return escape(key[:min(len(key), cutBytes)]) }

// Key returns the key that a name was made of. Where the name was cut it returns the first cutBytes of it, and false.
func Key(name string) (key string, whole bool, err error) {
	head, sum, cut := strings.Cut(name, cutMark)
	key, err = unescape(head)
	switch {
	case err != nil:
		return "", false, err
	case key == "":
		return "", false, fmt.Errorf("%q is not the name of a key", name)
	case cut && (len(key) != cutBytes || len(sum) != 2*sha256.Size), !cut && len(key) > cutBytes:
		return "", false, fmt.Errorf("%q is not the name of a key: it is cut at another place", name)
	}
	return key, !cut, nil
}

// mark returns what a byte that is no letter or digit is escaped by, and 0 for those that are.
func mark(c byte) byte {
	switch {
	case c < '0':
		return '-'
	case c <= '9':
		return 0
	case c < 'A':
		return '='
	case c <= 'Z':
		return 0
	case c < 'a':
		return '_'
	case c <= 'z':
		return 0
	}
	return '~'
}

const digits = "0123456789ABCDEF"

func escape(key string) string {
	b := make([]byte, 0, len(key)+8)
	for i := range len(key) {
		c := key[i]
		if m := mark(c); m != 0 {
			b = append(b, m, digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func unescape(name string) (string, error) {
	b := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if mark(c) == 0 {
			b = append(b, c)
			continue
		}
		if i+2 >= len(name) {
			return "", fmt.Errorf("%q is not the name of a key: it ends in the middle of a byte", name)
		}
		high, low := strings.IndexByte(digits, name[i+1]), strings.IndexByte(digits, name[i+2])
		// A zero byte is no mark, though it is what mark returns for bytes that need none.
		if high < 0 || low < 0 || c == 0 || mark(byte(high<<4|low)) != c {
			return "", fmt.Errorf("%q is not the name of a key: %q is no byte", name, name[i:i+3])
		}
		b = append(b, byte(high<<4|low))
		i += 2
	}
	return string(b), nil
}
