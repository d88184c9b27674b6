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

// Parts counts the parts of values that are kept for a namespace, and returns the length of the longest.
func (s *Store) Parts(namespace string) (count, longest int, err error) {
	for _, kind := range []byte{valueKey, restKey} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: rawKey(kind, namespace, ""), UpperBound: behind(kind, namespace)})
		if err != nil {
			return 0, 0, err
		}
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				return 0, 0, err
			}
			count, longest = count+1, max(longest, len(value))
		}
		if err := it.Close(); err != nil {
			return 0, 0, err
		}
	}
	return count, longest, nil
}
