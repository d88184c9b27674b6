package grid

import (
	"fmt"
	"strconv"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

// Escape returns a key as the one subject token that it is stored under: bytes outside
// [-_/a-zA-Z0-9] become =XX, upper-case hexadecimal.
func Escape(key string) string {
	extra := 0
	for i := range len(key) {
		if !plain(key[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return key
	}
	b := make([]byte, 0, len(key)+extra)
	for i := range len(key) {
		if c := key[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '=', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// Unescape returns the key of a token. A token that Escape does not make is ErrKey, so that no
// two tokens stand for one key.
func Unescape(token string) (string, error) {
	if token == "" {
		return "", fmt.Errorf("%w: empty token", ErrKey)
	}
	if allPlain(token) {
		return token, nil
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		switch {
		case plain(c):
			b = append(b, c)
			continue
		case c != '=' || i+2 >= len(token):
			return "", fmt.Errorf("%w: token %q, byte %d", ErrKey, token, i)
		}
		hi, lo := strings.IndexByte(hexDigits, token[i+1]), strings.IndexByte(hexDigits, token[i+2])
		if hi < 0 || lo < 0 || plain(byte(hi<<4|lo)) {
			return "", fmt.Errorf("%w: token %q, byte %d", ErrKey, token, i)
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b), nil
}

func allPlain(s string) bool {
	for i := range len(s) {
		if !plain(s[i]) {
			return false
		}
	}
	return true
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}

// Partition returns the partition of a key in a grid of n: FNV-1a 32 over the escaped key, mod n.
// Where the key has a {tag}, the text between its first { and the next } (if not empty) is hashed
// in place of the key, also escaped, so that keys with one tag share a partition.
func Partition(key string, n int) int { return partitionOf(key, Escape(key), n) }

// partitionOf is Partition of a key whose token is known.
func partitionOf(key, token string, n int) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if size := strings.IndexByte(key[open+1:], '}'); size > 0 {
			token = Escape(key[open+1 : open+1+size])
		}
	}
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for i := range len(token) {
		h = (h ^ uint32(token[i])) * prime
	}
	return int(h % uint32(n))
}

// Bucket returns the name of the NATS KV bucket that holds a partition of a class. Its stream is
// KV_<bucket>; the key of an entry in it is <cache>.<escaped key>.
func Bucket(grid string, class Class, partition int) string {
	letter := "-d-"
	if class == Volatile {
		letter = "-v-"
	}
	return grid + letter + strconv.Itoa(partition)
}

func checkKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrKey)
	}
	if len(key) > MaxKeyBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrKey, len(key), MaxKeyBytes)
	}
	return nil
}
