package serve

// Framing follows the requests of a connection, for the tests.
type Framing struct{ f framing }

// Scan takes what was read, and reports whether a request could be read in two ways.
func (f *Framing) Scan(p []byte) bool {
	f.f.scan(p)
	return f.f.ambiguous.Load()
}

// Between reports whether the scan waits for the next request.
func (f *Framing) Between() bool { return f.f.between() }
