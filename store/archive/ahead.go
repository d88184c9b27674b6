package archive

import (
	"context"
	"errors"
	"iter"

	"golang.org/x/sync/semaphore"

	"github.com/millrace/millrace/store"
)

const (
	// getsAhead is how many values are asked for together, and bytesAhead how many bytes they have.
	getsAhead  = 32
	bytesAhead = 128 << 20
)

// found is an entry, or why it cannot be read.
type found struct {
	entry store.Entry
	err   error
	gone  bool
}

// entries gives a namespace with the values, in the order of the keys. Where a copy is damaged it gives what is known of it with an
// ErrCorrupt, and goes on; any other error is the last. What was removed meanwhile is left out. Memory is bounded: values are asked for ahead
// as long as there is room. Tombstones are given where o asks for them.
func entries(ctx context.Context, s store.Store, namespace string, o store.ListOptions) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		type pending struct {
			weight int64
			result chan found
		}
		queue := make(chan pending, getsAhead)
		room := semaphore.NewWeighted(bytesAhead)
		go func() {
			defer close(queue)
			for info, err := range s.List(ctx, namespace, o) {
				p := pending{weight: min(info.Size+4096, bytesAhead), result: make(chan found, 1)}
				if room.Acquire(ctx, p.weight) != nil {
					p.weight = 0
					p.result <- found{err: ctx.Err()}
					queue <- p
					return
				}
				if err != nil || info.Deleted {
					p.result <- found{entry: store.Entry{Info: info}, err: err}
				} else {
					go func() { p.result <- get(ctx, s, namespace, info) }()
				}
				queue <- p
			}
		}()
		defer func() {
			cancel()
			for p := range queue {
				<-p.result
			}
		}()
		for p := range queue {
			f := <-p.result
			if !f.gone && !yield(f.entry, f.err) || f.err != nil && !errors.Is(f.err, store.ErrCorrupt) {
				return
			}
			room.Release(p.weight)
		}
	}
}

func get(ctx context.Context, s store.Store, namespace string, info store.Info) found {
	e, err := s.Get(ctx, namespace, info.Key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return found{gone: true}
	case err != nil:
		return found{entry: store.Entry{Info: info}, err: err}
	}
	return found{entry: e}
}
