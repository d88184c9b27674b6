package native

// pause lets a loop that waits leave the processor's shared parts to others for some tens of nanoseconds.
//
//go:noescape
func pause()
