package grid_test

import (
	"context"
	"testing"
	"time"
)

func withTimeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
