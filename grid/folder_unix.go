//go:build unix

package grid

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeBytes returns what an ordinary process may still write to the file system of dir, and its
// size.
func freeBytes(dir string) (free, size int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space at %s: %w", dir, err)
	}
	block := int64(s.Bsize) //nolint:unconvert // 32 bits on some systems
	return int64(s.Bavail) * block, int64(s.Blocks) * block, nil
}
