package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// What only the owner of a partition knows, other nodes ask it by request and reply, on the subject
// millrace.<grid>.owner.<class>.<partition>. A node asks itself without the detour.

// question is what is asked.
type question struct {
	Op string `json:"op"`
	// After is the last sequence that the asker wrote: the answer includes it.
	After Sequence `json:"after,omitempty"`
	// Born is the stream that After is of, as answer.Born tells it; 0 where the asker does not know.
	Born int64 `json:"born,omitempty"`
	// AsIs says that the answer need not include what others wrote: a question that is put again and again would have the stream's leader asked each time.
	AsIs bool `json:"as_is,omitempty"`

	Cache   string   `json:"cache,omitempty"`
	Prefix  []byte   `json:"prefix,omitempty"`
	Key     []byte   `json:"key,omitempty"`
	From    Sequence `json:"from,omitempty"`
	Current bool     `json:"current,omitempty"`
	Limit   int      `json:"limit,omitempty"`
	Size    int      `json:"size,omitempty"`
	Keys    [][]byte `json:"keys,omitempty"`
	Use     bool     `json:"use,omitempty"`
	Values  bool     `json:"values,omitempty"`
	Wait    bool     `json:"wait,omitempty"`
	Newest  bool     `json:"newest,omitempty"`
	Reader  string   `json:"reader,omitempty"`
	To      *seekTo  `json:"to,omitempty"`
	// Offset is where in a value to begin.
	Offset int `json:"offset,omitempty"`
	// Within is how long a write may wait for its room.
	Within time.Duration `json:"within,omitempty"`
}

// answer is what is answered.
type answer struct {
	NotOwner bool `json:"not_owner,omitempty"`
	Full     bool `json:"full,omitempty"`
	// Late says that Error is what the owner still waits for: who has the time asks again.
	Late  bool   `json:"late,omitempty"`
	Error string `json:"error,omitempty"`

	Fence uint64 `json:"fence,omitempty"`
	// Born tells streams apart that were lost and made anew: when this one was made, in Unix nanoseconds.
	Born      int64        `json:"born,omitempty"`
	Sequence  Sequence     `json:"sequence,omitempty"`
	Entries   int64        `json:"entries,omitempty"`
	Bytes     int64        `json:"bytes,omitempty"`
	Cold      int64        `json:"cold,omitempty"`
	ColdBytes int64        `json:"cold_bytes,omitempty"`
	Live      bool         `json:"live,omitempty"`
	Sent      uint64       `json:"sent,omitempty"`
	Unfed     bool         `json:"unfed,omitempty"` // changes are not sent at the moment
	More      bool         `json:"more,omitempty"`
	Changes   []wireChange `json:"changes,omitempty"`
	Position  *Position    `json:"position,omitempty"`
	Unread    bool         `json:"unread,omitempty"` // the partition has nothing of the reader
	Left      []wireLeft   `json:"left,omitempty"`
	Value     []byte       `json:"value,omitempty"`
}

// wireChange is a keyChange on its way.
type wireChange struct {
	Kind     EventType `json:"k"`
	Key      []byte    `json:"n"`
	Sequence Sequence  `json:"s"`
	Revision Revision  `json:"r"`
	Size     int       `json:"z,omitempty"` // of the value, of keys
}

// The questions.
const (
	askEnd      = "end"      // where the index stands
	askChanges  = "changes"  // what changed in a cache after From
	askKeys     = "keys"     // the entries of a cache, by key, after Key; or those that were written last, from the Newest
	askCount    = "count"    // how many entries a cache has
	askTouch    = "touch"    // whether an entry's idle time is over; a use extends it
	askForget   = "forget"   // remove every entry of a cache that was deleted
	askRelay    = "relay"    // send the changes of a cache, for a while
	askPosition = "position" // of a reader
	askSeek     = "seek"     // move a reader's position
	askAdmit    = "admit"    // take room for a value of Size
	askBack     = "back"     // bring the cold entry whose stub is From back into memory
	askValue    = "value"    // the value of the cold entry whose stub is From, a part of it from Offset on
	askStored   = "stored"   // wait until what was written up to From is in the store
	askUsed     = "used"     // Keys were read
	askLeave    = "leave"    // have the values of Keys leave memory
)

const (
	// askPage is how many changes or keys one answer has at most.
	askPage = 20000
	// askTry is how long one request waits; an owner that does not answer may be dead.
	askTry = 2 * time.Second
	// askPause is the wait between requests while a partition has no owner.
	askPause = 25 * time.Millisecond
	// askWait is how long an owner lets a question wait for what it needs: it answers before who asks takes it for dead.
	askWait = askTry * 3 / 4
	// askMax is how many questions of others a node answers at a time, and how many that wait for a store beside them.
	askMax = 64
)

func (g *Grid) ownerSubject(p *partition) string {
	return fmt.Sprintf("millrace.%s.owner.%s.%d", g.cfg.Name, p.class, p.number)
}

// ofStore reports whether the answer waits for a store. Such questions go by a subject of their own: where a store is away, they keep no others waiting.
func (q question) ofStore() bool {
	return q.Op == askBack || q.Op == askValue || q.Op == askStored || q.Op == askLeave
}

const ofStoreSuffix = ".store"

// errWaits is what the owner of a partition still waits for.
var errWaits = fmt.Errorf("%w: no answer in time", ErrUnavailable)

// ask puts a question to a partition's owner, whichever node that is, and waits while there is none.
func (g *Grid) ask(ctx context.Context, p *partition, q question) (answer, error) {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	var why error // what the owner waited for last
	for {
		q.After, q.Born = Sequence(p.flow.written.Load()), p.flow.born.Load()
		a, err := g.askOnce(ctx, p, q)
		switch {
		case errors.Is(err, errWaits):
			why = err
		case errors.Is(err, ErrNotOwner):
		case why != nil && ctx.Err() != nil:
			return answer{}, why
		default:
			if a.Born != 0 {
				p.flow.of(a.Born)
			}
			return a, err
		}
		if lacks := g.lacks(ctx, p.stream); lacks != nil {
			return answer{}, lacks
		}
		err = g.settleDown(ctx)
		switch {
		case err != nil && why != nil && ctx.Err() != nil:
			return answer{}, why
		case err != nil:
			return answer{}, fmt.Errorf("partition %d has no owner: %w", p.number, err)
		}
	}
}

// settleDown waits for a moment in which ownership may settle.
func (g *Grid) settleDown(ctx context.Context) error {
	select {
	case <-g.done:
		return ErrClosed
	case <-ctx.Done():
		return contextError(ctx)
	case <-time.After(askPause):
		return nil
	}
}

func (g *Grid) askOnce(ctx context.Context, p *partition, q question) (answer, error) {
	if t := p.tenure(); t != nil {
		return t.answer(ctx, q)
	}
	if g.alone() {
		return answer{}, ErrNotOwner // for the moment; nobody else can be it
	}
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, fmt.Errorf("ask the owner of partition %d: %w", p.number, err)
	}
	try, cancel := context.WithTimeout(ctx, askTry)
	defer cancel()
	subject := g.ownerSubject(p)
	if q.ofStore() {
		subject += ofStoreSuffix
	}
	m, err := g.writes.RequestWithContext(try, subject, b)
	switch {
	case ctx.Err() != nil:
		return answer{}, contextError(ctx)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return answer{}, ErrNotOwner
	case err != nil:
		return answer{}, fmt.Errorf("ask the owner of partition %d: %w", p.number, connError(err))
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return answer{}, fmt.Errorf("%w: the owner of partition %d answers %q", ErrUnavailable, p.number, m.Data)
	}
	if a.NotOwner {
		return answer{}, ErrNotOwner
	}
	if a.Full {
		return answer{}, fmt.Errorf("%w: %s", ErrFull, strings.TrimPrefix(a.Error, ErrFull.Error()+": "))
	}
	if a.Late {
		return answer{}, fmt.Errorf("%w: the owner of partition %d: %s", errWaits, p.number, a.Error)
	}
	if a.Error != "" {
		return answer{}, fmt.Errorf("%w: the owner of partition %d: %s", ErrUnavailable, p.number, a.Error)
	}
	return a, nil
}
