package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time that this thread has used. What other programs do does not count, so it is the time that
// a run of one thread takes where nothing else runs.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // the clock is in every Linux
	}
	return time.Duration(t.Nano())
}
