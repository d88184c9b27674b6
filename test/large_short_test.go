//go:build !long

package test

// largeBytes is how much TestLargerThanMemory puts.
const largeBytes = 96 << 20
