//go:build !amd64

package native

// pause does nothing: waiting loops read the clock, which takes long enough.
func pause() {}
