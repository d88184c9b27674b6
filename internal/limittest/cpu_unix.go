//go:build unix

package limittest

import (
	"syscall"
	"time"
)

// CPU is the processor time of this process, which a busy machine does not stretch as it does the clock's.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
