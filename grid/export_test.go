package grid

import (
	"context"
	"testing"
)

// Known returns how many keys the index knows, markers included.
func Known(g *Grid) (n int) {
	for _, t := range g.tenures() {
		t.index.mu.Lock()
		for _, s := range t.index.spaces {
			n += len(s.records)
		}
		t.index.mu.Unlock()
	}
	return n
}

// Stored returns how many messages the streams hold.
func Stored(ctx context.Context, t testing.TB, g *Grid) (n uint64) {
	t.Helper()
	for _, parts := range g.classes {
		for _, p := range parts {
			stream, err := g.js.Stream(ctx, p.stream)
			if err != nil {
				t.Fatal(err)
			}
			n += stream.CachedInfo().State.Msgs
		}
	}
	return n
}

// SpanOf and TTLOf read times that other clients of the server wrote.
var (
	SpanOf = spanOf
	TTLOf  = ttlOf
)
