package client

import "bytes"

// ReadEvents is readEvents, with each event's parts.
func ReadEvents(data []byte, take func(id, event string, data []byte)) error {
	return readEvents(bytes.NewReader(data), func(e sse) error {
		take(e.id, e.event, e.data)
		return nil
	})
}
