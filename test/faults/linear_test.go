package faults

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// register is the state of a key in the model: what the entry is, and its revision. A write whose outcome nobody saw leaves a revision that is not known.
type register struct {
	exists bool
	value  string
	// revision is that of the last write, or of one before it where exact is false.
	revision uint64
	exact    bool
}

// registerModel is a key as a client with consistency leader sees it: every answer is that of one order of all operations, in which each has its place
// between its start and its end. Revisions grow.
var registerModel = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		legal, next := state.(register).step(input.(*op))
		return legal, next
	},
	DescribeOperation: func(input, _ any) string { return input.(*op).String() },
	DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state.(register)) },
}

func (o *op) String() string {
	return fmt.Sprintf("%s of %s through n%d by client %d from %v to %v, value %q, if %d: %s, revision %d", o.Kind, o.Key, o.Node, o.Client,
		o.Start.Round(time.Microsecond), o.End.Round(time.Microsecond), o.Value, o.If, o.Outcome, o.Revision)
}

// step says whether an operation may have had its outcome in a state, and what the state is then.
func (r register) step(o *op) (bool, register) {
	switch {
	case o.Kind == get && o.Outcome == ok:
		return r.exists && r.value == o.Value && r.has(o.Revision), r
	case o.Outcome == absent:
		return !r.exists, r
	case o.Outcome == refused && o.Kind == create:
		return r.exists, r
	case o.Outcome == refused:
		return !r.exists || !r.is(o.If), r
	}
	// A write that was done, or may have been done. The condition of one that may have been done decides what it did.
	sure := o.Outcome == ok
	if o.Kind == create && r.exists || o.Kind == cas && (!r.exists || !r.is(o.If)) || o.Kind == remove && !r.exists {
		return !sure, r
	}
	if o.Kind == remove {
		return true, register{revision: r.revision}
	}
	if o.Revision == 0 {
		return true, register{exists: true, value: o.Value, revision: r.revision}
	}
	return o.Revision > r.revision, register{exists: true, value: o.Value, revision: o.Revision, exact: true}
}

// has reports whether the entry may have a revision that was read.
func (r register) has(revision uint64) bool {
	return r.exact && revision == r.revision || !r.exact && revision > r.revision
}

// is reports whether the entry has a revision that somebody was told of before.
func (r register) is(revision uint64) bool { return r.exact && revision == r.revision }

// checkLimit is how long the search for an order of one key's operations may take.
const checkLimit = 30 * time.Second

var (
	errNotLinear = errors.New("no order of the operations explains their answers")
	errUndecided = errors.New("whether an order explains the answers was not found out in time")
)

// checkLinear checks each key's history, and returns how many it checked.
func checkLinear(ops []*op) (keys int, err error) {
	byKey := map[string][]*op{}
	for _, o := range ops {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	for key, list := range byKey {
		if e := checkKey(list); e != nil {
			err = errors.Join(err, fmt.Errorf("%s, of %d operations: %w", key, len(list), e))
		}
	}
	return len(byKey), err
}

// checkKey first leaves out the writes that nobody saw the end or the effect of: they need not have been done. Only where no order is found then are they
// considered, since each of them doubles what may be.
func checkKey(ops []*op) error {
	certain, doubtful := sift(ops)
	if porcupine.CheckOperationsTimeout(registerModel, certain, checkLimit) == porcupine.Ok {
		return nil
	}
	result, info := porcupine.CheckOperationsVerbose(registerModel, slices.Concat(certain, doubtful), checkLimit)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return errUndecided
	}
	return fmt.Errorf("%w; %s", errNotLinear, stuck(info, certain, ops))
}

// around is how long before and after an operation that has no place the others are told of.
const around = 2 * time.Second

// stuck tells of the operation that the longest order that was found stops before, and of all that was done to the key around that time.
func stuck(info porcupine.LinearizationInfo, ops []porcupine.Operation, all []*op) string {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	placed := map[int]bool{}
	for _, i := range longest {
		placed[i] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of them have an order", len(longest))
	if len(longest) > 0 && longest[len(longest)-1] < len(ops) {
		fmt.Fprintf(&b, " that ends with %v", ops[longest[len(longest)-1]].Input)
	}
	// The first to end of those without a place is the one that fits nowhere.
	var next *op
	for i, o := range ops {
		if in := o.Input.(*op); !placed[i] && (next == nil || in.End < next.End) {
			next = in
		}
	}
	if next == nil {
		return b.String()
	}
	fmt.Fprintf(&b, "; then comes %v; around it were", next)
	for _, o := range all {
		if o.Start < next.End+around && (o.End > next.Start-around || !o.answered()) {
			fmt.Fprintf(&b, "\n\t%v %s", o, o.Error)
		}
	}
	return b.String()
}

// sift divides a history into operations whose effect is known and writes that may have been done or not, at any time after their start. A write
// whose value was read is known by that, with its revision, and was done before the first such read ended.
func sift(ops []*op) (certain, doubtful []porcupine.Operation) {
	type sight struct {
		revision uint64
		end      time.Duration
	}
	seen := map[string]sight{}
	for _, o := range ops {
		if s, found := seen[o.Value]; o.Kind == get && o.Outcome == ok && (!found || o.End < s.end) {
			seen[o.Value] = sight{o.Revision, o.End}
		}
	}
	for _, o := range ops {
		call := porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Start), Return: int64(o.End)}
		if o.answered() {
			certain = append(certain, call)
			continue
		}
		if !o.writes() || o.Outcome == unsent || o.early() {
			continue
		}
		if s, found := seen[o.Value]; found && o.Kind != remove {
			done := *o
			done.Outcome, done.Revision = ok, s.revision
			call.Input, call.Return = &done, int64(s.end)
			certain = append(certain, call)
			continue
		}
		call.Return = math.MaxInt64
		doubtful = append(doubtful, call)
	}
	return certain, doubtful
}
