package grid

import (
	"cmp"
	"slices"
	"strings"
)

// keyChange is the newest change of a key, as the index has it. The sequence is that of its last message in what keysAfter
// returns, and in what changes returns the place of the change, which a value keeps that went to a store or came back.
type keyChange struct {
	kind     EventType
	key      string
	seq      Sequence
	revision Revision
	size     int // of the value
}

// changes returns the newest change of every key that changed after from, in the order of the stream. In a grid that took a backup of more partitions in,
// several keys may have changed at one place. Current asks for the
// present state instead: each entry that is there, as created.
// Lock is held.
func (x *index) changes(cache, prefix string, from Sequence, current bool) []keyChange {
	s := x.spaces[cache]
	if s == nil {
		return nil
	}
	var out []keyChange
	for key, r := range s.records {
		if Sequence(r.revision) <= from || !strings.HasPrefix(key, prefix) {
			continue
		}
		c := keyChange{key: key, seq: Sequence(r.revision), revision: r.revision, size: int(r.size)}
		switch {
		case r.state == stateLive && (current || r.since > from):
			c.kind = Created
		case r.state == stateLive:
			c.kind = Updated
		case current || r.state == stateOverdue || r.state == stateDamaged:
			continue // never seen; or its expiry is still to come; or nothing is known of it
		case r.state == stateRemoved:
			c.kind = Removed
		case r.state == stateEvicted:
			c.kind = evicted
		default:
			c.kind = Expired
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b keyChange) int { return cmp.Compare(a.seq, b.seq) })
	return out
}
