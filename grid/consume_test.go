package grid_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// fetch gets at least one message, within 10 s.
func fetch(t *testing.T, c *grid.Consumer, most int) []grid.Message {
	t.Helper()
	ctx, cancel := withTimeout(t, 10*time.Second)
	defer cancel()
	messages, err := c.Fetch(ctx, most)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// awaitLag waits until the lag is what it must be; the server counts a moment later than it stores.
func awaitLag(t *testing.T, c *grid.Consumer, want int64) {
	t.Helper()
	ctx, cancel := withTimeout(t, 10*time.Second)
	defer cancel()
	for {
		lag, err := c.Lag(ctx)
		if err != nil {
			t.Fatalf("lag %d, want %d: %v", lag, want, err)
		}
		if lag == want {
			return
		}
	}
}

// ack acknowledges a message.
func ack(t *testing.T, m grid.Message) {
	t.Helper()
	if err := m.Ack(); err != nil {
		t.Error(err)
	}
}

func TestConsumerSeesRemovals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	if _, err := c.Put(ctx, "before", nil, grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	consumer, err := g.Consume(ctx, grid.ConsumerConfig{Name: "p", Cache: "c", Start: grid.StartNew})
	if err != nil {
		t.Fatal(err)
	}
	rev, err := c.Put(ctx, "k", []byte("v"), grid.PutOptions{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	m := fetch(t, consumer, 10)[0]
	if m.Type != grid.Updated || m.Entry.Revision != rev || string(m.Entry.Value) != "v" || m.Entry.ContentType != "text/plain" || m.Deliveries != 1 {
		t.Errorf("put: %+v", m)
	}
	if err := m.Progress(); err != nil {
		t.Error(err)
	}
	if err := m.Nak(0); err != nil {
		t.Fatal(err)
	}
	again := fetch(t, consumer, 10)[0]
	if again.Entry.Key != "k" || again.Deliveries != 2 {
		t.Errorf("given back: %+v", again)
	}
	ack(t, again)
	if _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	m = fetch(t, consumer, 10)[0]
	if m.Type != grid.Removed || m.Entry.Key != "k" {
		t.Errorf("removal: %+v", m)
	}
	ack(t, m)
	if _, err := c.Put(ctx, "short", nil, grid.PutOptions{Lifespan: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for m = fetch(t, consumer, 1)[0]; m.Type == grid.Updated; m = fetch(t, consumer, 1)[0] {
		ack(t, m)
	}
	if m.Type != grid.Expired || m.Entry.Key != "short" {
		t.Errorf("expiry: %+v", m)
	}
	awaitLag(t, consumer, 1)
	ack(t, m)
	awaitLag(t, consumer, 0)
}

// TestConsumerIsBounded lets a consumer stand still while more comes than it may hold.
func TestConsumerIsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	consumer, err := g.Consume(ctx, grid.ConsumerConfig{Name: "p", Cache: "c", MaxAckPending: 20, Prefetch: 8})
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	for i := range n {
		if _, err := c.Put(ctx, fmt.Sprint(i), nil, grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	awaitLag(t, consumer, n)
	seen := make(map[string]bool)
	var order [2]uint64
	for len(seen) < n {
		messages := fetch(t, consumer, 1000)
		if len(messages) > 8 {
			t.Errorf("%d messages waited, 8 may", len(messages))
		}
		for _, m := range messages {
			if seen[m.Entry.Key] || m.Entry.Revision <= order[m.Partition] {
				t.Errorf("%s at %d after %d of partition %d, %d deliveries", m.Entry.Key, m.Entry.Revision, order[m.Partition], m.Partition, m.Deliveries)
			}
			seen[m.Entry.Key], order[m.Partition] = true, m.Entry.Revision
			ack(t, m)
		}
	}
}

func TestConsumersAreClosedAndDeleted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	cache(t, g, grid.CacheConfig{Name: "a"})
	cache(t, g, grid.CacheConfig{Name: "b"})
	consumer, err := g.Consume(ctx, grid.ConsumerConfig{Name: "p", Cache: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"no name": grid.ErrConfig, "none": grid.ErrNoCache, "p": grid.ErrConfig} {
		cfg := grid.ConsumerConfig{Name: name, Cache: "b"}
		if name == "none" {
			cfg.Cache = "none"
		}
		if _, err := g.Consume(ctx, cfg); !errors.Is(err, want) {
			t.Errorf("consume as %q: %v, want %v", name, err, want)
		}
	}
	if err := g.DeleteConsumer(ctx, "b", "p"); !errors.Is(err, grid.ErrConfig) {
		t.Errorf("delete another cache's consumer: %v", err)
	}
	brief, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := consumer.Fetch(brief, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("fetch with nothing there: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := consumer.Fetch(ctx, 1)
		ended <- err
	}()
	consumer.Close()
	if err := <-ended; !errors.Is(err, grid.ErrClosed) {
		t.Errorf("fetch while it is closed: %v", err)
	}
	consumer.Close()
	for range 2 {
		if err := g.DeleteConsumer(ctx, "a", "p"); err != nil {
			t.Error(err)
		}
	}
	if consumer, err = g.Consume(ctx, grid.ConsumerConfig{Name: "p", Cache: "b"}); err != nil {
		t.Fatal(err)
	}
	consumer.Close()
}
