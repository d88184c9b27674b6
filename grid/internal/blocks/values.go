package blocks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Filled reports whether a stream's folder has a block, or an index.db, which tells what blocks there were.
func Filled(dir string) (bool, error) {
	numbers, err := (&check{dir: dir, stream: filepath.Base(dir)}).files()
	if err != nil || len(numbers) > 0 {
		return err == nil, err
	}
	_, err = os.Stat(filepath.Join(dir, "msgs", "index.db"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at stream %s: %w", filepath.Base(dir), err)
	}
	return err == nil, nil
}

// First is the lowest sequence in a stream's first block, 0 where none is there.
func First(dir, stream string) (uint64, error) {
	c := &check{dir: dir, stream: stream}
	numbers, err := c.files()
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	s, b, err := c.load(numbers[0])
	if err != nil {
		return 0, err
	}
	var first uint64
	s.scan(b, func(r record) {
		if !r.note && (first == 0 || r.seq < first) {
			first = r.seq
		}
	})
	return first, nil
}

// Values returns the value of the newest whole message of each subject of a stream, which is a small one.
func Values(dir, stream string) (map[string][]byte, error) {
	c := &check{dir: dir, stream: stream}
	numbers, err := c.files()
	if err != nil {
		return nil, err
	}
	out, newest := map[string][]byte{}, map[string]uint64{}
	for _, n := range numbers {
		s, b, err := c.load(n)
		if err != nil {
			return nil, err
		}
		s.scan(b, func(r record) {
			if subject := string(r.subject); !r.note && r.seq >= newest[subject] {
				newest[subject] = r.seq
				out[subject] = append([]byte(nil), r.value(b)...)
			}
		})
	}
	return out, nil
}

// value is the part of a whole record's bytes behind its headers; nil where these do not fit in it.
func (r record) value(b []byte) []byte {
	from, to := r.from+headSize+len(r.subject), r.to-sumSize
	if binary.LittleEndian.Uint32(b[r.from:])&withHeaders != 0 {
		size := uint64(binary.LittleEndian.Uint32(b[from:]))
		if from += 4; size > uint64(to-from) {
			return nil
		}
		from += int(size)
	}
	return b[from:to]
}
