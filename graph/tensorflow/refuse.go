package tensorflow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrRefused says that a graph cannot become an ONNX graph that computes the same. The error is a *RefusedError.
var ErrRefused = errors.New("the graph cannot be converted")

// A Refusal is one operator that stands in the way.
type Refusal struct {
	// Op is the operator.
	Op string
	// Nodes are those of it that stand in the way.
	Nodes []string
	// Reason says why it cannot be converted.
	Reason string
	// Path leads from the output to the first of the nodes.
	Path []string
}

// A RefusedError has every operator that stands in the way of the outputs.
type RefusedError struct {
	Refusals []Refusal
	// Advice says what to do.
	Advice string
}

// Unwrap makes it an ErrRefused.
func (e *RefusedError) Unwrap() error { return ErrRefused }

const maxListed = 5

func (e *RefusedError) Error() string {
	var b strings.Builder
	s := ""
	if len(e.Refusals) != 1 {
		s = "s"
	}
	fmt.Fprintf(&b, "%v: %d operator%s in the way of the outputs", ErrRefused, len(e.Refusals), s)
	for _, r := range e.Refusals {
		fmt.Fprintf(&b, "\n  %s: %s\n    nodes: %s\n    path: %s", r.Op, r.Reason, some(r.Nodes), strings.Join(shorten(r.Path), " <- "))
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, "\n%s", e.Advice)
	}
	return b.String()
}

// some lists a few names.
func some(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

// shorten leaves the middle of a long path out.
func shorten(path []string) []string {
	const most = 12
	if len(path) <= most {
		return path
	}
	short := slices.Clone(path[:most/2])
	return append(append(short, fmt.Sprintf("(%d more)", len(path)-most)), path[len(path)-most/2:]...)
}

// A fault is why a node could not be converted.
type fault struct {
	// op is what is named, where it is not the node's operator.
	op     string
	reason string
	// damaged says that the file contradicts itself, where no advice helps.
	damaged bool
}

// refused collects what stands in the way of the outputs: the nodes that could not be converted themselves, on the edges along which
// what could not be converted comes. What a converted node has no use for is not among them.
func (c *converter) refused(outputs []edge, names []string) error {
	w := &blame{seen: map[edgeKey]bool{}, index: map[string]int{}}
	for i, e := range outputs {
		w.push(e, -1, names[i])
	}
	for i := 0; i < len(w.queue); i++ {
		w.visit(i)
	}
	if len(w.damaged) > 0 {
		const most = 10
		return errors.Join(w.damaged[:min(len(w.damaged), most)]...)
	}
	if len(w.refusals) == 0 {
		return nil
	}
	return &RefusedError{Refusals: w.refusals, Advice: c.advice}
}

// blame goes back from outputs that are bad to the nodes that made them so, the nearest first.
type blame struct {
	queue    []blamed
	seen     map[edgeKey]bool
	index    map[string]int // into refusals, by operator and reason
	refusals []Refusal
	damaged  []error
}

// blamed is a node on the way, and the one that it was reached from, by its place in the queue.
type blamed struct {
	st     *state
	out    int
	from   int
	output string // of the graph, at the begin of a way
}

type edgeKey struct {
	st  *state
	out int
}

func (w *blame) push(e edge, from int, output string) {
	if e.err != nil {
		w.damaged = append(w.damaged, fmt.Errorf("%w: %s", ErrInvalid, e.err.reason))
		return
	}
	st, out := e.from, e.out
	if e.arg != nil {
		st, out = e.arg.by, e.arg.byOut
	}
	if st == nil || !e.value().bad {
		return
	}
	key := edgeKey{st, out}
	if st.body == nil && st.out == nil { // all outputs are bad for one reason
		key.out = 0
	}
	if w.seen[key] {
		return
	}
	w.seen[key] = true
	w.queue = append(w.queue, blamed{st, out, from, output})
}

func (w *blame) visit(i int) {
	at := w.queue[i]
	st := at.st
	if f := st.fault; f != nil {
		if f.damaged {
			w.damaged = append(w.damaged, fmt.Errorf("%w: node %q (%s): %s", ErrInvalid, st.label(), st.node.Op, f.reason))
			return
		}
		w.refuse(i, f)
	}
	if st.body != nil {
		if at.out < len(st.returns) {
			w.push(st.returns[at.out], i, "")
		} else if st.fault == nil {
			w.missing(i)
		}
		return
	}
	further := st.fault != nil || st.stage != done // one behind a loop was never looked at
	for _, e := range slices.Concat(st.within, st.in) {
		further = further || e.value().bad
		w.push(e, i, "")
	}
	if !further {
		w.missing(i)
	}
}

// missing says that a node that was converted has no such output.
func (w *blame) missing(i int) {
	at := w.queue[i]
	if at.out < len(at.st.out) {
		w.refuse(i, &fault{reason: fmt.Sprintf("its output %d is not converted", at.out)})
		return
	}
	w.damaged = append(w.damaged, fmt.Errorf("%w: node %q (%s) has no output %d", ErrInvalid, at.st.label(), at.st.node.Op, at.out))
}

func (w *blame) refuse(i int, f *fault) {
	st := w.queue[i].st
	op := cmp.Or(f.op, st.node.Op)
	key := op + "\x00" + f.reason
	k, ok := w.index[key]
	if !ok {
		k = len(w.refusals)
		w.index[key] = k
		w.refusals = append(w.refusals, Refusal{Op: op, Reason: f.reason, Path: w.path(i)})
	}
	w.refusals[k].Nodes = append(w.refusals[k].Nodes, st.label())
}

// path leads from the output to a node of the queue, without what only passes a tensor on.
func (w *blame) path(i int) []string {
	var path []string
	for j := i; j >= 0; j = w.queue[j].from {
		at := w.queue[j]
		if op := at.st.node.Op; j == i || op != "Identity" && at.st.body == nil {
			path = append(path, at.st.label())
		}
		if at.from < 0 {
			path = append(path, at.output)
		}
	}
	slices.Reverse(path)
	return path
}

// label is the node's name with those of the calls around it.
func (st *state) label() string { return st.sc.prefix + st.node.Name }
