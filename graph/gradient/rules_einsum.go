package gradient

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
)

// An equation is an Einsum's: the labels of each operand's dimensions, and of the result's. The dimensions that an ellipsis stands for have labels
// of their own, counted from the last one.
type equation struct {
	in  [][]string
	out []string
}

// readEquation reads an equation for operands of these ranks.
func readEquation(text string, ranks []int) (e equation, err error) {
	text = strings.ReplaceAll(text, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return e, fmt.Errorf("equation %q is for %d operands", text, len(terms))
	}
	uses, widest := map[string]int{}, 0
	for i, term := range terms {
		labels, wide, err := readTerm(term, ranks[i])
		if err != nil {
			return e, fmt.Errorf("equation %q: %w", text, err)
		}
		widest = max(widest, wide)
		for _, l := range labels {
			uses[l]++
		}
		e.in = append(e.in, labels)
	}
	if explicit {
		e.out, _, err = readTerm(right, len(strings.ReplaceAll(right, "...", ""))+widest)
		return e, err
	}
	e.out = ellipsis(widest)
	var once []string
	for l, k := range uses {
		if k == 1 && !strings.HasPrefix(l, ".") {
			once = append(once, l)
		}
	}
	slices.Sort(once)
	e.out = append(e.out, once...)
	return e, nil
}

// readTerm returns the labels of a term, and for how many dimensions its ellipsis stands.
func readTerm(term string, rank int) (labels []string, wide int, err error) {
	before, after, found := strings.Cut(term, "...")
	wide = rank - len(before) - len(after)
	if wide < 0 || wide > 0 && !found {
		return nil, 0, fmt.Errorf("%q does not fit rank %d", term, rank)
	}
	labels = append(strings.Split(before, ""), ellipsis(wide)...)
	return append(labels, strings.Split(after, "")...), wide, nil
}

// ellipsis are the labels of so many dimensions.
func ellipsis(n int) []string {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = fmt.Sprintf(".%d", n-i)
	}
	return labels
}

// text writes an equation with one letter for each label.
func (e equation) text() string {
	letters := map[string]byte{}
	write := func(labels []string) string {
		var b strings.Builder
		for _, l := range labels {
			if _, ok := letters[l]; !ok {
				letters[l] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[len(letters)]
			}
			b.WriteByte(letters[l])
		}
		return b.String()
	}
	terms := make([]string, len(e.in))
	for i, labels := range e.in {
		terms[i] = write(labels)
	}
	return strings.Join(terms, ",") + "->" + write(e.out)
}

// einsumGradient is an Einsum itself for each operand: of the gradient and the other operands. A dimension that none of these has was summed,
// and gets the same everywhere.
func einsumGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	ranks := make([]int, len(n.Inputs))
	for i, in := range n.Inputs {
		rank, err := t.rank(n, in)
		if err != nil {
			return nil, err
		}
		ranks[i] = rank
	}
	e, err := readEquation(n.Attrs.String("equation", ""), ranks)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoGradient, nodeName(n), err)
	}
	all := map[string]bool{}
	for _, labels := range e.in {
		for _, l := range labels {
			all[l] = true
		}
	}
	if len(all) > 52 {
		return nil, fmt.Errorf("%w: %s: it has more than 52 dimensions", ErrNoGradient, nodeName(n))
	}
	dx := make([]string, len(n.Inputs))
	for i, x := range n.Inputs {
		if !t.want(n, i) {
			continue
		}
		if dx[i], err = t.einsumPart(n, e, i, x, dy[0]); err != nil {
			return nil, err
		}
	}
	return dx, nil
}

func (t *tape) einsumPart(n *graph.Node, e equation, i int, x, dy string) (string, error) {
	operands, back := []string{dy}, equation{in: [][]string{e.out}}
	has := map[string]bool{}
	for _, l := range e.out {
		has[l] = true
	}
	for k, in := range n.Inputs {
		if k == i {
			continue
		}
		operands, back.in = append(operands, in), append(back.in, e.in[k])
		for _, l := range e.in[k] {
			has[l] = true
		}
	}
	var missing []int64
	for k, l := range e.in[i] {
		if slices.Contains(back.out, l) {
			return "", fmt.Errorf("%w: %s: it takes a diagonal", ErrNoGradient, nodeName(n))
		}
		if has[l] {
			back.out = append(back.out, l)
		} else {
			missing = append(missing, int64(k))
		}
	}
	g := t.with(graph.Attrs{"equation": back.text()}, "Einsum", operands...)
	if len(missing) > 0 {
		g = t.expandLike(t.op("Unsqueeze", g, t.ints(missing...)), x)
	}
	// What an ellipsis broadcast is summed.
	s := t.shape(x)
	for k, l := range e.in[i] {
		if strings.HasPrefix(l, ".") && !(s[k].Known() && s[k].Size > 1) {
			return t.call(FuncSumToShape, nil, 1, g, t.shapeOf(x))[0], nil
		}
	}
	return g, nil
}
