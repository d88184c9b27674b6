package grid

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestPatientOutside: servers outside may be a cluster that elects. What fails by that is done again, and what fails for good is not, nor for ever.
func TestPatientOutside(t *testing.T) {
	g := &Grid{cfg: Config{URL: "nats://127.0.0.1", Timeout: time.Minute}, done: make(chan struct{})}
	tries := 0
	fails := func(err error, times int) func(context.Context) error {
		tries = 0
		return func(context.Context) error {
			if tries++; tries <= times {
				return err
			}
			return nil
		}
	}
	if err := g.patiently(t.Context(), fails(ErrUnavailable, 2)); err != nil || tries != 3 {
		t.Errorf("%d tries: %v", tries, err)
	}
	if err := g.patiently(t.Context(), fails(ErrConfig, 2)); !errors.Is(err, ErrConfig) || tries != 1 {
		t.Errorf("%d tries of what is configured wrong: %v", tries, err)
	}
	g.cfg.Timeout = time.Nanosecond
	if err := g.patiently(t.Context(), fails(ErrUnavailable, 2)); !errors.Is(err, ErrUnavailable) || tries != 1 {
		t.Errorf("%d tries of what takes too long: %v", tries, err)
	}
}
