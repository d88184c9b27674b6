package cluster

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// meter measures what this process takes.
type meter struct {
	at  time.Time
	cpu time.Duration
	// cores is what the last two measurements say.
	cores float64
}

func (m *meter) measure(now time.Time) (cores float64, memory uint64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		if !m.at.IsZero() && now.After(m.at) {
			m.cores = float64(cpu-m.cpu) / float64(now.Sub(m.at))
		}
		m.at, m.cpu = now, cpu
	}
	return m.cores, resident()
}

// resident is the memory of this process that is in RAM, 0 where the system does not say.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
