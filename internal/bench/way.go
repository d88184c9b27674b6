package bench

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/client"
)

// rawType is the content type of the items.
const rawType = "application/octet-stream"

// direct is the way through Go calls.
type direct struct {
	cache    *grid.Cache
	listener *grid.Listener
}

// OpenDirect opens the way through Go calls into the node of OnNode.
func OpenDirect(ctx context.Context, n *app.Node) (Way, error) {
	from, err := n.Grid().Cache(ctx, Source)
	if err != nil {
		return nil, err
	}
	to, err := n.Grid().Cache(ctx, Target)
	if err != nil {
		return nil, err
	}
	l, err := to.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		return nil, err
	}
	return &direct{from, l}, nil
}

func (d *direct) Batch() int   { return 256 }
func (d *direct) Writers() int { return 4 }
func (d *direct) Close()       { d.listener.Close() }

func (d *direct) Put(ctx context.Context, keys []string, values [][]byte) error {
	if len(keys) == 1 {
		_, err := d.cache.Put(ctx, keys[0], values[0], grid.PutOptions{ContentType: rawType})
		return err
	}
	puts := make([]grid.Put, len(keys))
	for i := range keys {
		puts[i] = grid.Put{Key: keys[i], Value: values[i], Options: grid.PutOptions{ContentType: rawType}}
	}
	results, err := d.cache.PutBatch(ctx, puts)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

func (d *direct) Next(ctx context.Context) (string, error) {
	for {
		e, err := d.listener.Next(ctx)
		if err != nil || e.Type == grid.Created || e.Type == grid.Updated {
			return e.Entry.Key, err
		}
	}
}

// remote is the way through REST: puts by HTTP, results by server-sent events.
type remote struct {
	client *client.Client
	keys   chan string // of results; closed when the stream has ended
	err    error       // why it has, once keys is closed
	cancel func()
}

func openRemote(ctx context.Context, n *app.Node) (Way, error) {
	cl, err := client.New(client.Config{Server: n.URL()})
	if err != nil {
		return nil, err
	}
	if err := cl.WaitReady(ctx); err != nil {
		return nil, err
	}
	r := &remote{client: cl, keys: make(chan string, 1024)}
	ctx, r.cancel = context.WithCancel(ctx)
	go r.listen(ctx)
	// The stream is there when it says something, and it says what is there already: this result.
	if err := r.Put(ctx, []string{"first"}, [][]byte{make([]byte, itemBytes)}); err != nil {
		r.Close()
		return nil, err
	}
	if _, err := nextWithin(ctx, r); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *remote) listen(ctx context.Context) {
	defer close(r.keys)
	for e, err := range r.client.Listen(ctx, Target, client.ListenOptions{Values: true, Current: true}) {
		if err != nil {
			r.err = err
			return
		}
		if e.Type != "created" && e.Type != "updated" {
			continue
		}
		select {
		case r.keys <- string(e.Entry.Key):
		case <-ctx.Done():
			r.err = ctx.Err()
			return
		}
	}
}

func (r *remote) Batch() int   { return 1 }
func (r *remote) Writers() int { return 64 }

// close waits for the listening goroutine.
func (r *remote) Close() {
	r.cancel()
	for range r.keys {
	}
	r.client.Close()
}

func (r *remote) Put(ctx context.Context, keys []string, values [][]byte) error {
	for i := range keys {
		if _, err := r.client.Put(ctx, Source, keys[i], values[i], client.PutOptions{ContentType: rawType}); err != nil {
			return err
		}
	}
	return nil
}

func (r *remote) Next(ctx context.Context) (string, error) {
	select {
	case key, ok := <-r.keys:
		if !ok {
			return "", fmt.Errorf("the event stream has ended: %w", r.err)
		}
		return key, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
