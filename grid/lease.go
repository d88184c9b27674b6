package grid

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// reserved stands in a subject where an entry's has its cache: it is no cache's name.
const reserved = "="

// leaseToken ends the subject of a partition's lease.
const leaseToken = "lease"

const (
	// leaseTime is how long a lease holds after it was last renewed. Its holder counts from before it asked, the others from
	// when they saw it, so that theirs ends later; clocks are not compared.
	leaseTime = 1200 * time.Millisecond
	// leaseRenew is how often a holder renews.
	leaseRenew = 300 * time.Millisecond
	// leaseTTL is when the server forgets a lease that nobody renews.
	leaseTTL = time.Minute
)

// leaseRecord is a lease as it is stored.
type leaseRecord struct {
	// Node holds it; "" is nobody.
	Node string `json:"node"`
	// Since is the sequence of the taking, 0 in the taking itself.
	Since uint64 `json:"since,omitempty"`
	// Offered is a lease that its holder gives to Node, which has yet to take it.
	Offered bool `json:"offered,omitempty"`
}

// lease is what this node holds of one partition number, in both classes. The nil lease of a grid in the process is held
// for ever: nobody else can open the folder.
type lease struct {
	holds time.Duration // after it was renewed

	mu      sync.Mutex
	forever bool
	since   uint64    // the sequence of the taking: the fencing number
	last    Sequence  // of the record
	renewed time.Time // when the last renewal that succeeded was asked for
	lost    bool
}

func (l *lease) fence() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}

// held reports whether the lease holds now. The monotonic clock goes on while a process stands still.
func (l *lease) held(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forever || !l.lost && now.Sub(l.renewed) < l.holds
}

func (l *lease) lose() {
	l.mu.Lock()
	l.lost = true
	l.mu.Unlock()
}

// seenLease is a lease as a node that does not hold it sees it.
type seenLease struct {
	record leaseRecord
	seq    Sequence
	at     time.Time // when this sequence was first seen
}

// readLease asks the partition's stream for its lease. A replica that lags may answer with an older record: what decides is
// the condition of the write.
func (g *Grid) readLease(ctx context.Context, p *partition) (leaseRecord, Sequence, error) {
	m, seq, err := g.readStored(ctx, p, p.subject(reserved, leaseToken))
	if err != nil || seq == 0 {
		return leaseRecord{}, 0, err
	}
	var r leaseRecord
	if len(m.data) > 0 {
		if err := json.Unmarshal(m.data, &r); err != nil {
			return leaseRecord{}, 0, fmt.Errorf("%w: the lease of partition %d: %q", ErrFormat, p.number, m.data)
		}
	}
	return r, seq, nil
}

// writeLease writes a record in place of the one at expected.
func (g *Grid) writeLease(ctx context.Context, p *partition, r leaseRecord, expected Sequence) (Sequence, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("write the lease of partition %d: %w", p.number, err)
	}
	w := write{place: place{partition: p, subject: p.subject(reserved, leaseToken)}, value: b, header: nats.Header{
		headerTTL: {strconv.FormatInt(int64(leaseTTL/time.Second), 10) + "s"},
	}}
	w.expect(expected)
	return g.writeOwn(ctx, w)
}

// writeOwn writes one of the grid's own messages.
func (g *Grid) writeOwn(ctx context.Context, w write) (Sequence, error) {
	seq, err := g.asks.write(ctx, w)
	if err == nil {
		w.partition.flow.wrote(seq)
	}
	return seq, err
}

// take takes a lease in place of the record at expected, and returns nil where somebody else was faster.
func (g *Grid) take(ctx context.Context, p *partition, expected Sequence) (*lease, error) {
	asked := time.Now()
	seq, err := g.writeLease(ctx, p, leaseRecord{Node: g.node}, expected)
	if isWrongSequence(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &lease{holds: g.cfg.lease, since: uint64(seq), last: seq, renewed: asked}, nil
}

// renew keeps a lease. An error that is not the loss of it leaves it as it is: it ends by itself.
func (g *Grid) renew(ctx context.Context, p *partition, l *lease) error {
	asked := time.Now()
	l.mu.Lock()
	last, since := l.last, l.since
	l.mu.Unlock()
	seq, err := g.writeLease(ctx, p, leaseRecord{Node: g.node, Since: since}, last)
	if isWrongSequence(err) {
		l.lose()
		return ErrNotOwner
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.last, l.renewed = seq, asked
	l.mu.Unlock()
	return nil
}

// release gives a lease to a node, or to nobody.
func (g *Grid) release(ctx context.Context, p *partition, l *lease, to string) error {
	for again := false; ; again = true {
		l.mu.Lock()
		last := l.last
		l.lost = true
		l.mu.Unlock()
		_, err := g.writeLease(ctx, p, leaseRecord{Node: to, Offered: to != ""}, last)
		if !isWrongSequence(err) {
			return err
		}
		if again {
			return nil // somebody else has it
		}
		// A renewal was under way: its sequence is known by now, or a moment later the lease ends by itself.
	}
}
