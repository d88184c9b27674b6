package grid_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/grid"
)

// exampleGrid opens a grid with one cache. A program checks these errors; a durable grid has
// Config{Dir: "data"}.
func exampleGrid(ctx context.Context) (*grid.Grid, *grid.Cache) {
	g, err := grid.Open(ctx, grid.Config{InMemory: true})
	if err != nil {
		panic(err)
	}
	if err := g.CreateCache(ctx, grid.CacheConfig{Name: "digits", MaxEntries: 10_000}); err != nil {
		panic(err)
	}
	c, err := g.Cache(ctx, "digits")
	if err != nil {
		panic(err)
	}
	return g, c
}

func Example() {
	ctx := context.Background()
	g, digits := exampleGrid(ctx)
	defer g.Close(ctx)

	rev, err := digits.Put(ctx, "seven.png", []byte("…"), grid.PutOptions{ContentType: "image/png", Lifespan: time.Hour})
	if err != nil {
		panic(err)
	}
	e, err := digits.Get(ctx, "seven.png")
	if err != nil {
		panic(err)
	}
	fmt.Println(e.Key, e.ContentType, e.Lifespan, e.Revision == rev)

	// The revision guards a write against others.
	if _, err := digits.Put(ctx, "seven.png", []byte("new"), grid.PutOptions{IfRevision: rev}); err != nil {
		panic(err)
	}
	_, err = digits.Put(ctx, "seven.png", []byte("late"), grid.PutOptions{IfRevision: rev})
	fmt.Println(errors.Is(err, grid.ErrRevision))
	// Output:
	// seven.png image/png 1h0m0s true
	// true
}

func ExampleCache_Listen() {
	ctx := context.Background()
	g, digits := exampleGrid(ctx)
	defer g.Close(ctx)

	listener, err := digits.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	for _, value := range []string{"1", "2"} {
		if _, err := digits.Put(ctx, "a", []byte(value), grid.PutOptions{}); err != nil {
			panic(err)
		}
		event, err := listener.Next(ctx)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %s %s\n", event.Type, event.Entry.Key, event.Entry.Value)
	}
	// Output:
	// created a 1
	// updated a 2
}

func ExampleGrid_Read() {
	ctx := context.Background()
	g, digits := exampleGrid(ctx)
	defer g.Close(ctx)

	if _, err := digits.Put(ctx, "a", []byte("1"), grid.PutOptions{}); err != nil {
		panic(err)
	}
	reader, err := g.Read(ctx, grid.ReaderConfig{Name: "doubler", Cache: "digits"})
	if err != nil {
		panic(err)
	}
	defer reader.Close(ctx)
	changes, err := reader.Next(ctx, 64) // all that are here, up to 64
	if err != nil {
		panic(err)
	}
	for _, c := range changes {
		fmt.Printf("%s=%s\n", c.Entry.Key, c.Entry.Value)
	}
	reader.Done(changes) // once the work's results are stored
	// Output: a=1
}
