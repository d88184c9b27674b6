package wire

// BufferSize is how large the read buffer is. It is to be asked in a handler, or after the end.
func BufferSize(c *Conn) int { return len(c.in.buf) }

// The limits of the reading side, for the tests of what it allocates.
const (
	ReadBuffer  = readBuffer
	ReadSlack   = slack + readFree + maxReadLine
	ShrinkAfter = shrinkAfter
	PendingMax  = pendingMax
)
