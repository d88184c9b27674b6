//go:build cgo

package onnxruntime_test

import "runtime/debug"

// freeMemory gives the Go heap's free pages back to the system.
func freeMemory() { debug.FreeOSMemory() }
