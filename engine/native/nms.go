package native

import (
	"cmp"
	"context"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// nonMaxSuppression picks, for each batch and class, the boxes with the best scores that do not overlap a better one too
// much. How many there are is known in the run alone.
func nonMaxSuppression(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	boxes, err := c.known(0)
	if err != nil {
		return err
	}
	scores, err := c.known(1)
	if err != nil {
		return err
	}
	if boxes.DType() != tensor.Float32 || scores.DType() != tensor.Float32 {
		return c.refuse("boxes of %v, scores of %v", boxes.DType(), scores.DType())
	}
	b, s := boxes.Shape(), scores.Shape()
	if len(b) != 3 || len(s) != 3 || b[2] != 4 || b[0] != s[0] || b[1] != s[2] {
		return c.errf("boxes of shape %v, scores of shape %v", b, s)
	}
	most := 0
	if c.opt(2).has() {
		if most, err = c.scalarInt(2); err != nil {
			return err
		}
	}
	overlap, err := c.scalarFloat(3, 0)
	if err != nil {
		return err
	}
	if overlap < 0 || overlap > 1 || overlap != overlap {
		return c.errf("iou_threshold is %v, not from 0 to 1", overlap)
	}
	p := picker{boxes: tensor.Data[float32](boxes), overlap: overlap, center: c.attrs.Bool("center_point_box", false), most: most}
	if p.filter = c.opt(4).has(); p.filter {
		if p.least, err = c.scalarFloat(4, 0); err != nil {
			return err
		}
	}
	var picked []int64
	all := tensor.Data[float32](scores)
	for batch := range s[0] {
		corners := p.corners(batch, b[1])
		for class := range s[1] {
			at := (batch*s[1] + class) * s[2]
			places, err := p.pick(c.pl.ctx, corners, all[at:at+s[2]])
			if err != nil {
				return err
			}
			for _, i := range places {
				picked = append(picked, int64(batch), int64(class), int64(i))
			}
		}
	}
	o, err := c.out(0, tensor.Int64, tensor.Shape{len(picked) / 3, 3})
	if err != nil {
		return err
	}
	c.do(func(f *frame) { copy(data[int64](f, o), picked) })
	return nil
}

// scalarFloat returns the value of an optional float32 input.
func (c *prep) scalarFloat(i int, def float32) (float32, error) {
	if !c.opt(i).has() {
		return def, nil
	}
	t, err := c.known(i)
	if err != nil {
		return 0, err
	}
	if t.DType() != tensor.Float32 || t.Size() != 1 {
		return 0, c.errf("input %d is %v%v, not a float32", i, t.DType(), t.Shape())
	}
	return tensor.Data[float32](t)[0], nil
}

// A picker picks boxes of one batch and class.
type picker struct {
	boxes          []float32
	center         bool // a box is its centre and size, not two corners
	most           int
	overlap, least float32
	filter         bool
}

// box has its corners in order.
type box struct{ x0, y0, x1, y1 float32 }

func (p *picker) corners(batch, n int) []box {
	out := make([]box, n)
	for i := range out {
		b := p.boxes[(batch*n+i)*4:]
		if p.center {
			out[i] = box{b[0] - b[2]/2, b[1] - b[3]/2, b[0] + b[2]/2, b[1] + b[3]/2}
		} else {
			out[i] = box{min(b[1], b[3]), min(b[0], b[2]), max(b[1], b[3]), max(b[0], b[2])}
		}
	}
	return out
}

// pick returns the boxes in the order of their scores; of equal ones the first comes first.
func (p *picker) pick(ctx context.Context, corners []box, scores []float32) ([]int, error) {
	var order []int
	for i, s := range scores {
		if s == s && (!p.filter || s > p.least) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	var picked []int
	for _, i := range order {
		if len(picked) >= p.most {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(picked, func(j int) bool { return corners[i].overlaps(corners[j], p.overlap) }) {
			picked = append(picked, i)
		}
	}
	return picked, nil
}

// overlaps reports whether the part that two boxes share is more than a share of what both cover.
func (b box) overlaps(o box, share float32) bool {
	w, h := min(b.x1, o.x1)-max(b.x0, o.x0), min(b.y1, o.y1)-max(b.y0, o.y0)
	if !(w > 0 && h > 0) {
		return false
	}
	common := w * h
	area := func(b box) float32 { return (b.x1 - b.x0) * (b.y1 - b.y0) }
	all := area(b) + area(o) - common
	return all > 0 && common/all > share
}
