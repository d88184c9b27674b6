package limittest_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/limittest"
)

// told is a test that remembers whether it failed.
type told struct {
	testing.TB
	failed bool
	text   string
}

func (t *told) Errorf(format string, args ...any) {
	t.failed, t.text = true, fmt.Sprintf(format, args...)
}

// collections counts those of the collector so far; the test's own go on where nobody else asks for them.
func collections() uint32 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

func TestHold(t *testing.T) {
	tests := map[string]struct {
		read func()
		fail bool
	}{
		"nothing": {func() {}, false},
		"much at once": {func() {
			keep := make([]byte, 100<<20)
			for until := collections() + 3; collections() < until; {
			}
			runtime.KeepAlive(keep)
		}, true},
		"much in turn": {func() {
			for range 90 { // more than may be there at once; on a busy machine the collector comes late
				runtime.KeepAlive(make([]byte, 1<<20))
			}
		}, false},
		"long": {func() {
			for from := limittest.CPU(); limittest.CPU()-from < 60*time.Millisecond; {
			}
		}, true},
		"waiting": {func() { time.Sleep(60 * time.Millisecond) }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := &told{TB: t}
			limit := limittest.Time
			if name == "long" || name == "waiting" {
				limit = 50 * time.Millisecond
			}
			limittest.HoldFor(got, 1<<20, limit, tt.read)
			if got.failed != tt.fail {
				t.Errorf("failed is %v: %s", got.failed, got.text)
			}
		})
	}
}
