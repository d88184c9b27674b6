//go:build !unix

package limittest

import "time"

var began = time.Now()

// CPU is the time since the process began, where its processor time is not known.
func CPU() time.Duration { return time.Since(began) }
