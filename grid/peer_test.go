package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// TestPeers: nodes ask each other; one that ends, or that does not answer, is told from one that takes its time.
func TestPeers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 2})
	eventually(t, "the nodes see each other", func() bool { return len(all[0].Others()) == 1 && len(all[1].Others()) == 1 })
	peers := all[0].Others()
	if all[0].Alone() {
		t.Error("a node of two is alone")
	}
	if _, err := all[0].AskPeer(ctx, peers[0], "sum", nil); !errors.Is(err, grid.ErrNoPeer) {
		t.Errorf("a topic that nobody answers: %v", err)
	}
	held := make(chan struct{})
	stop, err := all[1].AnswerPeers("sum", func(ctx context.Context, q []byte) []byte {
		if string(q) == "hold" {
			close(held)
			<-ctx.Done()
		}
		return append([]byte("of "), q...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := all[0].AskPeer(ctx, peers[0], "sum", []byte("1")); err != nil || string(a) != "of 1" {
		t.Errorf("%q, %v", a, err)
	}
	large := make([]byte, grid.MaxPeerBytes)
	if a, err := all[0].AskPeer(ctx, peers[0], "sum", large[3:]); err != nil || len(a) != len(large) {
		t.Errorf("the largest: %d bytes, %v", len(a), err)
	}
	if _, err := all[0].AskPeer(ctx, peers[0], "sum", append(large, 0)); !errors.Is(err, grid.ErrTooLarge) {
		t.Errorf("more than the largest: %v", err)
	}
	type answered struct {
		a   []byte
		err error
	}
	answer := make(chan answered, 1)
	go func() {
		a, err := all[0].AskPeer(ctx, peers[0], "sum", []byte("hold"))
		answer <- answered{a, err}
	}()
	<-held
	stop()
	if a := <-answer; a.err != nil || string(a.a) != "of hold" {
		t.Errorf("one that was being answered at the stop: %q, %v", a.a, a.err)
	}
	if _, err := all[0].AskPeer(ctx, peers[0], "sum", nil); !errors.Is(err, grid.ErrNoPeer) {
		t.Errorf("after the stop: %v", err)
	}
	if stop, err = all[1].AnswerPeers("sum", func(ctx context.Context, _ []byte) []byte {
		<-ctx.Done()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := all[0].AskPeer(short, peers[0], "sum", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("over its time: %v", err)
	}
	// The node ends without an answer.
	go func() {
		_, err := all[0].AskPeer(ctx, peers[0], "sum", nil)
		answer <- answered{nil, err}
	}()
	if err := all[1].Close(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-answer:
		if !errors.Is(a.err, grid.ErrNoPeer) {
			t.Errorf("a node that ends: %v", a.err)
		}
	case <-time.After(time.Minute):
		t.Error("a node that ended is still waited for")
	}
	stop()
}

// TestReaderTake: changes are taken at once where as many as are asked for wait, also beside Next; none twice, and a key that is under way not at all.
func TestReaderTake(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	r := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c"})
	taken := func(least, most, bytes int) []grid.Change {
		t.Helper()
		changes, err := r.Take(ctx, least, most, bytes)
		if err != nil {
			t.Fatal(err)
		}
		return changes
	}
	if got := taken(1, 10, 1000); len(got) != 0 {
		t.Errorf("of nothing: %d", len(got))
	}
	for i := range 10 {
		put(t, c, fmt.Sprint("k", i), "0123456789")
	}
	eventually(t, "ten wait", func() bool { n, bytes := r.Waiting(); return n == 10 && bytes == 100 })
	if got := taken(11, 20, 1000); len(got) != 0 {
		t.Errorf("%d where 11 are too few", len(got))
	}
	some := taken(11, 20, 40)
	if len(some) != 4 {
		t.Errorf("%d of 40 bytes", len(some))
	}
	rest := take(t, r, 6)
	put(t, c, some[0].Entry.Key, "again")
	if _, err := c.Size(ctx); err != nil { // the reader was offered it
		t.Fatal(err)
	}
	if got := taken(1, 10, 1000); len(got) != 0 {
		t.Errorf("a key under way is given out: %+v", got)
	}
	r.Done(rest)
	r.Undo(some)
	eventually(t, "four wait", func() bool { n, _ := r.Waiting(); return n == 4 })
	got := taken(4, 10, 1000)
	if len(got) != 4 {
		t.Errorf("%d after Undo", len(got))
	}
	r.Done(got)
	if n, _ := r.Waiting(); n != 0 {
		t.Errorf("%d wait at the end", n)
	}
}
