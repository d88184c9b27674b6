package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid/internal/wire"
)

// A long list does not ask the streams for each key, which costs 20 us of processor time: it has the server hand out what a
// stream has of the cache, up to the last message that is wanted, which costs 3 us a message. What it cannot find so, because
// it was written or moved meanwhile, is asked for by its key.

const (
	// scanFrom is from how many keys of a partition on it is scanned: making the consumer takes a millisecond or two.
	scanFrom = 512
	// scanDensity is how many messages a scan may pass over for each that is wanted.
	scanDensity = 8
	// scanBytes bounds what the scans of one list hold in memory, with scanOverhead for each message; scansAtOnce bounds how
	// many lists scan at a time. Those beyond ask by key.
	scanBytes    = 64 << 20
	scanOverhead = 160
	// scanChunk is what messages are copied to at a time. One entry that somebody keeps holds all of it.
	scanChunk   = 32 << 10
	scansAtOnce = 4
	// scanBatch and scanBatchBytes bound what the server sends before it is asked for more.
	scanBatch      = 4096
	scanBatchBytes = 16 << 20
	// scanPartitions is how many partitions a list scans at a time.
	scanPartitions = 4
)

// scanned is a message as it lies in its stream; without a block where the scan did not meet it.
type scanned struct {
	block  []byte // headers, then the value
	header int
	at     time.Time
}

// scan reads what the streams have for keys in their order, as far as it is worth it. Without values it reads headers alone. Once it is
// given up, or for another reason, some or all are not found.
func (c *Cache) scan(ctx context.Context, some []keyChange, values bool) []scanned {
	out := make([]scanned, len(some))
	byPartition := make([][]int, len(c.partitions))
	for i, f := range some {
		n := partitionOf(f.key, Escape(f.key), len(c.partitions))
		byPartition[n] = append(byPartition[n], i)
	}
	var scans errgroup.Group
	scans.SetLimit(scanPartitions)
	for n, wanted := range byPartition {
		if len(wanted) < scanFrom {
			continue
		}
		slices.SortFunc(wanted, func(a, b int) int { return cmp.Compare(some[a].seq, some[b].seq) })
		scans.Go(func() error {
			s := &scan{c: c, p: c.partitions[n], some: some, wanted: wanted, out: out, wake: make(chan struct{}, 1)}
			if err := s.run(ctx, values); err != nil {
				c.grid.cfg.Logger.Debug("a scan was given up", "cache", c.name, "partition", n, "error", err)
			}
			return nil
		})
	}
	_ = scans.Wait() // none of them fails
	return out
}

// A scan reads one partition's stream. The server sends in the order of the stream, which is that of wanted.
type scan struct {
	c      *Cache
	p      *partition
	some   []keyChange
	wanted []int // of some, by sequence
	out    []scanned
	wake   chan struct{}

	mu    sync.Mutex
	next  int    // of wanted: those before it were met or passed
	came  uint64 // messages, over all batches
	asked uint64 // messages that were asked for
	done  bool   // nothing more will be wanted, or will come
	ready bool   // the server has ended the batch before its end
	err   error
	chunk []byte // what messages are copied to
}

var (
	errScan   = errors.New("the scan was interrupted")
	errSparse = errors.New("too little of the stream is wanted")
)

func (s *scan) run(ctx context.Context, values bool) error {
	g := s.c.grid
	ctx, cancel := g.limited(ctx)
	defer cancel()
	line, err := g.scans.open(ctx)
	if err != nil {
		return err
	}
	inbox := nats.NewInbox()
	stop, err := line.subscribe(inbox, s.take)
	if err != nil {
		return err
	}
	// A call of take may be under way still; it must not touch what the list has been given.
	defer s.end()
	defer stop()
	filter := s.p.subject(s.c.name, "*")
	if s.most() {
		filter = "" // the server would spend more on looking at the subjects than the rest costs
	}
	consumer, err := g.events.CreateConsumer(ctx, s.p.stream, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: jetstream.DeliverAllPolicy, // from a sequence the server would count for 30 ms what follows
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, HeadersOnly: !values,
		InactiveThreshold: 2 * g.cfg.Timeout, Description: "Millrace list",
	})
	if err != nil {
		return apiError(err)
	}
	defer s.drop(consumer.CachedInfo().Name)
	left := consumer.CachedInfo().NumPending
	if left > uint64(len(s.wanted)*scanDensity) {
		return fmt.Errorf("%w: %d of %d messages", errSparse, len(s.wanted), left)
	}
	request, err := json.Marshal(map[string]any{"batch": scanBatch, "max_bytes": scanBatchBytes, "no_wait": true})
	if err != nil {
		return err
	}
	subject := "$JS.API.CONSUMER.MSG.NEXT." + s.p.stream + "." + consumer.CachedInfo().Name
	for s.ask() {
		if err := line.request(subject, inbox, request); err != nil {
			return err
		}
		if err := s.wait(ctx, line.lost()); err != nil {
			return err
		}
	}
	return s.err
}

// most reports whether most of the stream is wanted, as far as this node knows.
func (s *scan) most() bool {
	t := s.p.tenure()
	if t == nil {
		return false
	}
	t.index.mu.Lock()
	defer t.index.mu.Unlock()
	n := 0
	for _, space := range t.index.spaces {
		n += len(space.records)
	}
	return n < 2*len(s.wanted)
}

// drop ends the server's side of a scan at once; without it the server does so a while later.
func (s *scan) drop(consumer string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.c.grid.events.DeleteConsumer(ctx, s.p.stream, consumer); err != nil {
		s.c.grid.cfg.Logger.Debug("end a scan", "stream", s.p.stream, "error", err)
	}
}

// ask begins a batch, and reports whether there is anything left to ask for.
func (s *scan) ask() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.ready = s.came+scanBatch, false
	return !s.done
}

// wait returns when the batch is there.
func (s *scan) wait(ctx context.Context, lost <-chan struct{}) error {
	for {
		s.mu.Lock()
		over := s.done || s.ready || s.came >= s.asked
		s.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-s.wake:
		case <-lost:
			return errLost
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
}

// end has take leave alone what comes late.
func (s *scan) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
}

// take is called with one message after the other, which is valid only while it runs.
func (s *scan) take(m *wire.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	if code, text := m.Header.Status(); len(m.Data) == 0 && code != 0 {
		s.hear(code, text)
	} else if d, ok := parseDelivery(m.Reply); !ok || d.number != s.came+1 {
		s.done, s.err = true, fmt.Errorf("%w: message %q after %d", errScan, m.Reply, s.came)
	} else {
		s.came++
		s.keep(d, m)
	}
	if s.done || s.ready || s.came >= s.asked {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// keep copies a message that is wanted. Lock is held.
func (s *scan) keep(d delivery, m *wire.Msg) {
	for s.next < len(s.wanted) && s.some[s.wanted[s.next]].seq < d.seq {
		s.next++
	}
	if s.next < len(s.wanted) && s.some[s.wanted[s.next]].seq == d.seq {
		size := len(m.Header) + len(m.Data)
		if cap(s.chunk)-len(s.chunk) < size {
			s.chunk = make([]byte, 0, max(scanChunk, size))
		}
		from := len(s.chunk)
		s.chunk = append(append(s.chunk, m.Header...), m.Data...)
		s.out[s.wanted[s.next]] = scanned{block: s.chunk[from : from+size : from+size], header: len(m.Header), at: d.at}
		s.next++
	}
	s.done = s.next == len(s.wanted) || d.pending == 0
}

// hear reads what the server says beside messages: that a batch has ended before its end, because it has so many bytes or there is
// nothing more. Lock is held.
func (s *scan) hear(code int, text []byte) {
	switch code {
	case 404, 408:
		s.done = true
	case 409: // the next message is over max_bytes
		s.ready = true
	case 100:
	default:
		s.done, s.err = true, fmt.Errorf("%w: the server says %d %s", errScan, code, text)
	}
}
