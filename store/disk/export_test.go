package disk

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// Damage changes a byte of what is stored for a key, behind the back of Pebble's own checksums.
func (s *Store) Damage(namespace, key string, head bool) error {
	kind := byte(valueKey)
	if head {
		kind = headKey
	}
	b, done, err := s.db.Get(rawKey(kind, namespace, key))
	if err != nil {
		return err
	}
	b = bytes.Clone(b)
	if err := done.Close(); err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return s.db.Set(rawKey(kind, namespace, key), b, pebble.Sync)
}

// Flush writes what is in memory to files.
func (s *Store) Flush() error { return s.db.Flush() }
