package gradient

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// affineGridGradient is a product with the places of the grid, which the grid of the identity gives.
func affineGridGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	s := t.shape(n.Input(0))
	if len(s) != 3 || !s[1].Known() || s[1].Size < 2 || s[1].Size > 3 {
		return nil, fmt.Errorf("%w: %s: the shape of its matrices is not known", ErrNoGradient, nodeName(n))
	}
	k := int(s[1].Size)
	same := make([]float64, k*(k+1))
	for i := range k {
		same[i*(k+1)+i] = 1
	}
	eye := t.op("Expand", t.constant(floatsOf(t.dtype, same, 1, k, k+1)), t.shapeOf(n.Input(0)))
	rows := func(v string) string { return t.op("Reshape", v, t.ints(0, -1, int64(k))) }
	places := rows(t.with(n.Attrs.Clone(), "AffineGrid", eye, n.Input(1)))
	ones := t.filledAs(t.op("Slice", places, t.ints(0), t.ints(1), t.ints(2)), 1)
	places = t.with(graph.Attrs{"axis": int64(2)}, "Concat", places, ones)
	return one(t.op("MatMul", t.swapped(rows(dy[0]), 3), places))
}

// A sampled is a GridSample whose gradient is made: of n points in each image of some channels.
type sampled struct {
	t       *tape
	n       *graph.Node
	dims    int
	corners bool
	padding string
	nearest bool
}

// A neighbour is one of the two elements along a dimension that a point lies between; all are [N, points].
type neighbour struct {
	index  string // int64, inside
	weight string // "" for 1
	turn   string // how the weight changes with the coordinate of the grid
	valid  string // 1 where it is inside, else 0; "" where it always is
}

// gridSampleGradient gives the elements that each point lies between their parts of its gradient, and the point what they differ by.
func gridSampleGradient(t *tape, n *graph.Node, dy []string) ([]string, error) {
	x, grid := n.Input(0), n.Input(1)
	rank, err := t.rank(n, x)
	if err != nil {
		return nil, err
	}
	s := &sampled{t: t, n: n, dims: rank - 2, corners: n.Attrs.Int("align_corners", 0) != 0, padding: n.Attrs.String("padding_mode", "zeros")}
	switch mode := n.Attrs.String("mode", "linear"); mode {
	case "linear", "bilinear":
	case "nearest":
		s.nearest = true
	default:
		return nil, fmt.Errorf("%w: %s: mode %q", ErrNoGradient, nodeName(n), mode)
	}
	axes := make([][]neighbour, s.dims)
	for k := range axes {
		if axes[k], err = s.neighbours(k); err != nil {
			return nil, err
		}
	}
	flat := t.op("Reshape", x, t.ints(0, 0, -1))
	g := t.op("Reshape", dy[0], t.ints(0, 0, -1))
	channels := t.concat(t.ints(1), t.dims(x, 1, 2), t.ints(1))
	var indices, values []string
	turns := make([][]string, s.dims)
	for corner := range 1 << s.dims {
		if s.nearest && corner > 0 {
			break
		}
		chosen := make([]neighbour, s.dims)
		index := ""
		for k := range chosen {
			chosen[k] = axes[k][corner>>k&1]
			at := t.op("Mul", chosen[k].index, t.product(x, 3+k, rank))
			if index != "" {
				at = t.op("Add", index, at)
			}
			index = at
		}
		index = t.op("Expand", t.op("Unsqueeze", index, t.ints(1)), channels)
		indices = append(indices, index)
		values = append(values, t.times(g, s.weight(chosen, -1)))
		if !t.want(n, 1) || s.nearest {
			continue
		}
		across := t.op("Mul", g, t.with(graph.Attrs{"axis": int64(2)}, "GatherElements", flat, index))
		across = t.reduce("ReduceSum", across, false, 1)
		for k := range chosen {
			part := t.op("Mul", across, chosen[k].turn)
			if w := s.weight(chosen, k); w != "" {
				part = t.op("Mul", part, t.op("Squeeze", w, t.ints(1)))
			}
			turns[k] = append(turns[k], part)
		}
	}
	dx := make([]string, 2)
	join := graph.Attrs{"axis": int64(2)}
	add := graph.Attrs{"axis": int64(2), "reduction": "add"}
	sum := t.with(add, "ScatterElements", t.filledAs(flat, 0), t.with(join, "Concat", indices...), t.with(join, "Concat", values...))
	dx[0] = t.reshapeLike(sum, x)
	if t.want(n, 1) && s.nearest {
		dx[1] = t.zerosLike(grid)
	} else if t.want(n, 1) {
		parts := make([]string, s.dims)
		for k := range parts {
			parts[s.dims-1-k] = t.op("Unsqueeze", t.op("Sum", turns[k]...), t.ints(2)) // the grid has the last dimension first
		}
		dx[1] = t.reshapeLike(t.with(join, "Concat", parts...), grid)
	}
	return dx, nil
}

// times multiplies by what may be left out.
func (t *tape) times(v, by string) string {
	if by == "" {
		return v
	}
	return t.op("Mul", v, by)
}

// weight is the product of the weights along all dimensions but one, and 0 outside, as [N, 1, points]; "" for 1.
func (s *sampled) weight(chosen []neighbour, but int) string {
	w := ""
	for k, c := range chosen {
		for _, factor := range []string{c.weight, c.valid} {
			if factor == "" || k == but && factor != c.valid {
				continue
			}
			if w == "" {
				w = factor
			} else {
				w = s.t.op("Mul", w, factor)
			}
		}
	}
	if w == "" {
		return ""
	}
	return s.t.op("Unsqueeze", w, s.t.ints(1))
}

// neighbours are the elements along dimension k that the points lie between, as the operator finds them: one where it takes the nearest.
func (s *sampled) neighbours(k int) ([]neighbour, error) {
	t := s.t
	d := t.shape(s.n.Input(0))[2+k]
	if !d.Known() || d.Size < 1 {
		return nil, fmt.Errorf("%w: %s: the length of its dimension %d is not known, or 0", ErrNoGradient, nodeName(s.n), 2+k)
	}
	length := float64(d.Size)
	factor, low, high := length/2, -0.5, length-0.5
	if s.corners {
		factor, low, high = (length-1)/2, 0, length-1
	}
	coordinate := t.with(graph.Attrs{"axis": int64(-1)}, "Gather", s.n.Input(1), t.constant(tensor.Scalar(int64(s.dims-1-k))))
	u := t.op("Add", t.op("Mul", t.op("Reshape", coordinate, t.ints(0, -1)), t.num(factor)), t.num((length-1)/2))
	turn := t.num(factor)
	if s.nearest {
		u = t.op("Round", u)
	}
	outside := t.op("Or", t.op("Less", u, t.num(low)), t.op("Greater", u, t.num(high)))
	switch {
	case s.padding == "border", s.padding == "reflection" && high <= low:
		u, turn = t.op("Where", outside, t.op("Clip", u, t.num(0), t.num(length-1)), u), t.op("Where", outside, t.num(0), turn)
	case s.padding == "reflection":
		from := t.op("Abs", t.op("Sub", u, t.num(low)))
		turns := t.op("Floor", t.op("Div", from, t.num(high-low)))
		rest := t.op("Sub", from, t.op("Mul", turns, t.num(high-low)))
		odd := t.op("Sub", turns, t.op("Mul", t.op("Floor", t.op("Mul", turns, t.num(0.5))), t.num(2)))
		back := t.op("Greater", odd, t.num(0.5))
		mirrored := t.op("Where", back, t.op("Sub", t.num(high), rest), t.op("Add", t.num(low), rest))
		sign := t.op("Mul", t.op("Where", back, t.num(-1), t.num(1)), t.op("Where", t.op("Less", u, t.num(low)), t.num(-1), t.num(1)))
		u, turn = t.op("Where", outside, mirrored, u), t.op("Where", outside, t.op("Mul", sign, turn), turn)
	case s.padding != "zeros":
		return nil, fmt.Errorf("%w: %s: padding_mode %q", ErrNoGradient, nodeName(s.n), s.padding)
	}
	if s.nearest {
		u = t.op("Round", u)
		return []neighbour{s.neighbour(u, "", "", length)}, nil
	}
	base := t.op("Floor", u)
	part := t.op("Sub", u, base)
	return []neighbour{
		s.neighbour(base, t.op("Sub", t.num(1), part), t.op("Neg", turn), length),
		s.neighbour(t.op("Add", base, t.num(1)), part, turn, length),
	}, nil
}

// neighbour brings an index inside; with zeros for padding what was outside is not valid.
func (s *sampled) neighbour(at, weight, turn string, length float64) neighbour {
	t := s.t
	n := neighbour{index: t.cast(t.op("Clip", at, t.num(0), t.num(length-1)), tensor.Int64), weight: weight, turn: turn}
	if s.padding == "zeros" {
		n.valid = t.mask(t.op("And", t.op("GreaterOrEqual", at, t.num(0)), t.op("LessOrEqual", at, t.num(length-1))))
	}
	return n
}
