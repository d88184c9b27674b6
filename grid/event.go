package grid

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// EventType is what happened to an entry.
type EventType uint8

// The types of events.
const (
	Created EventType = iota + 1
	Updated
	Removed
	Expired
	// evicted is Expired for the reason ReasonEvicted, on its way to the listener.
	evicted
)

// ReasonEvicted is why an entry expired that left a full cache without a store.
const ReasonEvicted = "evicted"

func (t EventType) String() string {
	switch t {
	case Created:
		return "created"
	case Updated:
		return "updated"
	case Removed:
		return "removed"
	case Expired, evicted:
		return "expired"
	}
	return fmt.Sprintf("EventType(%d)", uint8(t))
}

// EventID is a place in a grid's events: the last sequence of every partition, as unsigned varints
// in base64url without padding. It is opaque to clients.
type EventID string

// NewEventID makes the id of a place: the last sequence of every partition.
func NewEventID(positions []Sequence) EventID {
	b := make([]byte, 0, 64)
	for _, p := range positions {
		b = binary.AppendUvarint(b, uint64(p))
	}
	return EventID(base64.RawURLEncoding.EncodeToString(b))
}

// ParseEventID reads an id of a grid with n partitions; what is none is ErrEventID.
func ParseEventID(id EventID, n int) ([]Sequence, error) {
	b, err := base64.RawURLEncoding.DecodeString(string(id))
	if err != nil {
		return nil, fmt.Errorf("%w: %q is not base64url", ErrEventID, string(id))
	}
	out := make([]Sequence, 0, n)
	for len(b) > 0 && len(out) < n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, fmt.Errorf("%w: %q has a broken number", ErrEventID, string(id))
		}
		out, b = append(out, Sequence(v)), b[size:]
	}
	if len(out) != n || len(b) != 0 {
		return nil, fmt.Errorf("%w: %q is not of a grid with %d partitions", ErrEventID, string(id), n)
	}
	return out, nil
}

// Event is what a listener gets.
type Event struct {
	Type EventType
	// Reason says why an entry expired where it was not its time: ReasonEvicted; else it is empty.
	Reason string
	// Entry has the key and the revision; of created and updated events the rest too, where the
	// listener asked for values.
	Entry Entry
	// ID resumes after this event. Where revisions were conflated, a listener that resumes may
	// get events once more that were delivered just before.
	ID EventID
}

func newEvent(kind EventType, e Entry, id EventID) Event {
	if kind == evicted {
		return Event{Type: Expired, Reason: ReasonEvicted, Entry: e, ID: id}
	}
	return Event{Type: kind, Entry: e, ID: id}
}
