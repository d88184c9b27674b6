package native

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// panicText describes a recovered panic and where in this module it happened. It is called by the deferred function.
func panicText(p any) string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "/millrace/") {
			return fmt.Sprintf("%v (%s:%d)", p, filepath.Base(f.File), f.Line)
		}
		if !more {
			return fmt.Sprint(p)
		}
	}
}
