package grid

import (
	"context"
	"time"
)

// until is a context that ends when a channel is closed: for what goes on as long as its owner does.
type until <-chan struct{}

func (until) Deadline() (time.Time, bool) { return time.Time{}, false }
func (u until) Done() <-chan struct{}     { return u }
func (until) Value(any) any               { return nil }
func (u until) Err() error {
	select {
	case <-u:
		return context.Canceled
	default:
		return nil
	}
}
