package cold

import (
	"context"

	"github.com/millrace/millrace/grid"
)

// steps are what nothing may be lost by. Tests put faulty ones in their place, to see that these are noticed.
type steps struct {
	// passed is up to where all readers have come in a partition: only what is before may leave memory.
	passed func(ctx context.Context, c *grid.Cache, partition int) (grid.Sequence, error)
	// write brings changes into the store, and only then calls done. It is false where it did neither.
	write func(t *tier, changes []grid.Change, done func()) bool
	// activate brings a value back in the place of its stub, if that is still there.
	activate func(ctx context.Context, c *grid.Cache, cold grid.Cold, value []byte) error
	// readers lists the readers of all caches, among them those of former stores.
	readers func(ctx context.Context, g *grid.Grid) ([]grid.ReaderName, error)
}

func rightSteps() steps {
	return steps{
		passed: func(ctx context.Context, c *grid.Cache, partition int) (grid.Sequence, error) {
			return c.Passed(ctx, partition)
		},
		write: func(t *tier, changes []grid.Change, done func()) bool {
			stored := t.write(changes)
			if stored {
				done()
			}
			return stored
		},
		activate: func(ctx context.Context, c *grid.Cache, cold grid.Cold, value []byte) error {
			return c.Activate(ctx, cold, value)
		},
		readers: func(ctx context.Context, g *grid.Grid) ([]grid.ReaderName, error) { return g.Readers(ctx) },
	}
}
