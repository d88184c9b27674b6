package grid

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// follower is a taker that notes what it is told.
type follower struct {
	mu     sync.Mutex
	told   []string
	behind func()
}

func (f *follower) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, what)
}

func (f *follower) offer(_ int, c change) { f.note(fmt.Sprint("change ", c.seq)) }
func (f *follower) fallBehind(int)        { f.behind(); f.note("behind") }
func (f *follower) rewind(int)            { f.note("rewind") }
func (f *follower) wantsValues() bool     { return false }

func (f *follower) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// newFollowed is a relay of which message number 5 was the last one.
func newFollowed(f *follower) *relay {
	p := newPartition("g", Durable, 0)
	p.hub.add("c", f)
	return &relay{key: relayKey{p, "c"}, log: slog.New(slog.DiscardHandler), fence: 1, number: outletSpan + 5, sent: outletSpan + 5}
}

// relayed is the n-th message of a relay, of a change at sequence n.
func relayed(n int) *nats.Msg {
	return &nats.Msg{Header: nats.Header{
		relayNumber: {fmt.Sprint(outletSpan + n)}, relayFence: {"1"}, relaySeq: {fmt.Sprint(n)}, relayKind: {"1"}, relayToken: {"k"}, relayTime: {"1"},
		HeaderRevision: {fmt.Sprint(n)},
	}}
}

// TestRelayBehindBeforeNext: where messages are missing, takers hear that before they are given what came after: else they would be past what is missing when they
// read again (invariant 6).
func TestRelayBehindBeforeNext(t *testing.T) {
	var taking sync.WaitGroup
	f := &follower{}
	s := newFollowed(f)
	// The next message comes just when it is known that 6 and 7 are missing. Where it has to wait it has not come after a while.
	f.behind = func() {
		came := make(chan struct{})
		taking.Go(func() {
			s.take(relayed(8))
			close(came)
		})
		select {
		case <-came:
		case <-time.After(100 * time.Millisecond):
		}
	}
	asked := time.Now()
	s.answered(answer{Fence: 1, Sent: outletSpan + 7}, asked)
	s.answered(answer{Fence: 1, Sent: outletSpan + 7}, asked.Add(relayEvery))
	taking.Wait()
	if got, want := f.all(), []string{"behind", "change 8"}; !slices.Equal(got, want) {
		t.Errorf("takers are told %q, want %q", got, want)
	}
}

// TestRelayOfAnotherOwner: what a former owner had sent is not waited for when another one's messages come, whose numbers may be lower.
func TestRelayOfAnotherOwner(t *testing.T) {
	f := &follower{behind: func() {}}
	s := newFollowed(f)
	asked := time.Now()
	s.answered(answer{Fence: 1, Sent: outletSpan + 60}, asked)
	anothers := func(n int) *nats.Msg {
		m := relayed(n)
		m.Header[relayFence] = []string{"2"}
		return m
	}
	s.take(anothers(1))
	s.answered(answer{Fence: 2, Sent: outletSpan + 1}, asked.Add(relayEvery))
	s.take(anothers(2))
	if got, want := f.all(), []string{"behind", "change 2"}; !slices.Equal(got, want) {
		t.Errorf("takers are told %q, want %q", got, want)
	}
}

// TestRelayOfAnOwner: who owns a partition is given its changes by its own feed alone, and notices afterwards that it was.
func TestRelayOfAnOwner(t *testing.T) {
	f := &follower{behind: func() {}}
	s := newFollowed(f)
	s.key.p.term.current.Store(&tenure{p: s.key.p})
	s.take(relayed(6))
	s.key.p.term.current.Store(nil)
	s.take(relayed(7))
	if got, want := f.all(), []string{"behind"}; !slices.Equal(got, want) {
		t.Errorf("takers are told %q, want %q", got, want)
	}
}

// TestOfferedTwice: a change that comes twice, by a relay and by the feed of a node that has just become the owner, is given once, and never after a newer one.
func TestOfferedTwice(t *testing.T) {
	l := &Listener{opts: ListenOptions{MaxPending: 10}, wake: make(chan struct{}, 1), byKey: map[string]*pending{}, ahead: map[string]reached{},
		positions: make([]Sequence, 1), read: make([]Sequence, 1), live: []bool{true}}
	offer := func(key string, seq Sequence) {
		l.offer(0, change{seq: seq, kind: Updated, entry: Entry{Key: key, Revision: Revision(seq)}})
	}
	var got []string
	take := func() {
		for l.head < len(l.queue) {
			e, _ := l.pop()
			got = append(got, fmt.Sprint(e.Entry.Key, e.Entry.Revision))
		}
	}
	offer("a", 5)
	offer("b", 6)
	offer("a", 9)
	take()
	offer("a", 9)
	offer("b", 6)
	offer("b", 10)
	offer("b", 12)
	offer("b", 11)
	take()
	if want := []string{"a9", "b6", "b12"}; !slices.Equal(got, want) {
		t.Errorf("given %q, want %q", got, want)
	}
}

// TestOutletsOfOneLease: the messages of a tenure that follows another under the same lease have other numbers, so that nobody takes them for older ones.
func TestOutletsOfOneLease(t *testing.T) {
	p := newPartition("g", Durable, 0)
	sent := map[uint64]bool{}
	for range 2 {
		ten := &tenure{p: p, fence: 7, index: newIndex(time.Hour, nil, nil), outlets: map[string]*outlet{}}
		a, err := ten.relayOut(question{Op: askRelay, Cache: "c"})
		if err != nil {
			t.Fatal(err)
		}
		sent[a.Sent/outletSpan] = true
		ten.closeOutlets(true)
	}
	if len(sent) != 2 {
		t.Errorf("two tenures number their messages alike: %v", sent)
	}
}

// TestRelayAskedOften: what was sent a moment ago, and is on its way, is not missing, however many ask at a time.
func TestRelayAskedOften(t *testing.T) {
	f := &follower{behind: func() {}}
	s := newFollowed(f)
	asked := time.Now()
	for i := range 4 {
		s.answered(answer{Fence: 1, Sent: outletSpan + 6 + uint64(i)}, asked.Add(time.Duration(i)*time.Millisecond))
	}
	s.take(relayed(6))
	s.take(relayed(7))
	if got, want := f.all(), []string{"change 6", "change 7"}; !slices.Equal(got, want) {
		t.Errorf("takers are told %q, want %q", got, want)
	}
	s.answered(answer{Fence: 1, Sent: outletSpan + 9}, asked.Add(2*relayEvery))
	if got := f.all(); len(got) != 2 {
		t.Errorf("takers are told %q of what was sent since the last look", got)
	}
	s.answered(answer{Fence: 1, Sent: outletSpan + 9}, asked.Add(4*relayEvery))
	if got := f.all(); len(got) != 3 || got[2] != "behind" {
		t.Errorf("takers are told %q, though 8 and 9 have not come", got)
	}
}
