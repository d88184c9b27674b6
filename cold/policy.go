package cold

import "github.com/millrace/millrace/grid"

// policy tells which value nobody needed lately. It has those that may leave memory; the tier that it is of guards it.
//
// It is asked for a victim when one is needed, and the victim may stay: its store or a reader may not have it yet. Caches of
// libraries decide when a key is added, and forget the one that they chose; so these are our own, after the papers that they name.
type policy interface {
	// add takes a value in that was written or came back. That counts as a use.
	add(*value)
	// touch is a use.
	touch(*value)
	// remove forgets a value.
	remove(*value)
	// victim takes out who is to leave first; nil where there is nobody.
	victim() *value
	// putBack takes in a victim that stays, as the first to leave.
	putBack(*value)
}

// newPolicy returns an empty one.
func newPolicy(p grid.Policy) policy {
	switch p {
	case grid.PolicyLRU:
		return &lru{}
	case grid.PolicyS3FIFO:
		return newS3FIFO()
	default:
		return newTinyLFU()
	}
}

// value is a value in memory, as policies know it.
type value struct {
	key        string
	size       uint32
	uses       uint8
	used       bool // while it was parked
	in         listOf
	prev, next *value
}

// listOf is the list of a policy that a value is in.
type listOf uint8

const (
	inNone listOf = iota
	inSmall
	inMain
	inProtected
	inParked // waits until readers have passed it
)

// list is values in order.
type list struct {
	of          listOf
	front, back *value
	len         int
}

func (l *list) pushFront(v *value) {
	v.in, v.prev, v.next = l.of, nil, l.front
	if l.front != nil {
		l.front.prev = v
	} else {
		l.back = v
	}
	l.front = v
	l.len++
}

func (l *list) pushBack(v *value) {
	v.in, v.prev, v.next = l.of, l.back, nil
	if l.back != nil {
		l.back.next = v
	} else {
		l.front = v
	}
	l.back = v
	l.len++
}

func (l *list) remove(v *value) {
	if v.prev != nil {
		v.prev.next = v.next
	} else {
		l.front = v.next
	}
	if v.next != nil {
		v.next.prev = v.prev
	} else {
		l.back = v.prev
	}
	v.in, v.prev, v.next = inNone, nil, nil
	l.len--
}

// popBack takes the last one out; nil where there is none.
func (l *list) popBack() *value {
	v := l.back
	if v != nil {
		l.remove(v)
	}
	return v
}

// lru goes by the last use.
type lru struct{ all list }

func (p *lru) add(v *value) {
	p.all.of = inMain
	p.all.pushFront(v)
}

func (p *lru) touch(v *value) {
	p.all.remove(v)
	p.all.pushFront(v)
}

func (p *lru) remove(v *value)  { p.all.remove(v) }
func (p *lru) victim() *value   { return p.all.popBack() }
func (p *lru) putBack(v *value) { p.all.pushBack(v) }
