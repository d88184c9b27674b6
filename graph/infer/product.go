package infer

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// productRules are matrix products.
var productRules = rulesOf(map[string]rule{
	"MatMul": func(c *call) error {
		dtype, err := c.sameType(0, 1)
		if err != nil {
			return err
		}
		return c.matmul(dtype, 0, 1)
	},
	"MatMulInteger": func(c *call) error { return c.matmul(tensor.Int32, 0, 1) },
	"QLinearMatMul": func(c *call) error { return c.matmul(c.arg(7).dtype, 0, 3) },
	"Gemm":          inferGemm,
	"Einsum":        inferEinsum,
})

// matmul infers the product of inputs i and j as NumPy's matmul defines it.
func (c *call) matmul(dtype tensor.DType, i, j int) error {
	a, b := c.arg(i).shape, c.arg(j).shape
	if a == nil || b == nil {
		c.set(0, dtype, nil)
		return nil
	}
	if len(a) == 0 || len(b) == 0 {
		return c.fail("the matrix product of shapes %v and %v", a, b)
	}
	row, col := len(a) > 1, len(b) > 1
	if !row {
		a = graph.Shape{known(1), a[0]}
	}
	if !col {
		b = graph.Shape{b[0], known(1)}
	}
	if p, q := a[len(a)-1], b[len(b)-2]; p.Known() && q.Known() && p.Size != q.Size {
		return c.fail("the matrix product of shapes %v and %v", c.arg(i).shape, c.arg(j).shape)
	}
	shape, err := broadcast(a[:len(a)-2], b[:len(b)-2])
	if err != nil {
		return c.fail("%w", err)
	}
	if row {
		shape = append(shape, a[len(a)-2])
	}
	if col {
		shape = append(shape, b[len(b)-1])
	}
	c.set(0, dtype, shape)
	return nil
}

func inferGemm(c *call) error {
	dtype, err := c.sameType(0, 1, 2)
	if err != nil {
		return err
	}
	for i := range 2 {
		if err := c.wantRank(i, 2, 2); err != nil {
			return err
		}
	}
	side := func(i int, attr string) (graph.Dim, graph.Dim) {
		s := c.arg(i).shape
		if s == nil {
			return unknown, unknown
		}
		if c.attrs.Bool(attr, false) {
			return s[1], s[0]
		}
		return s[0], s[1]
	}
	m, k := side(0, "transA")
	k2, n := side(1, "transB")
	if k.Known() && k2.Known() && k.Size != k2.Size {
		return c.fail("the product of shapes %v and %v (transA %d, transB %d)", c.arg(0).shape, c.arg(1).shape, c.attrs.Int("transA", 0), c.attrs.Int("transB", 0))
	}
	shape := graph.Shape{m, n}
	if bias := c.arg(2).shape; c.has(2) && bias != nil && c.opset >= 7 {
		joined, err := broadcast(shape, bias)
		if err != nil || len(joined) != 2 || m.Known() && joined[0].Size != m.Size || n.Known() && joined[1].Size != n.Size {
			return c.fail("C of shape %v does not fit %v", bias, shape)
		}
	}
	c.set(0, dtype, shape)
	return nil
}

// inferEinsum reads the equation; an ellipsis stands for the dimensions that are broadcast.
func inferEinsum(c *call) error {
	inputs := make([]int, len(c.in))
	for i := range inputs {
		inputs[i] = i
	}
	dtype, err := c.sameType(inputs...)
	if err != nil {
		return err
	}
	equation := strings.ReplaceAll(c.attrs.String("equation", ""), " ", "")
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.in) {
		return c.fail("the equation %q has %d terms, there are %d inputs", equation, len(terms), len(c.in))
	}
	dims := map[byte]graph.Dim{}
	var dots []graph.Shape
	for i, term := range terms {
		shape := c.arg(i).shape
		if shape == nil {
			c.set(0, dtype, nil)
			return nil
		}
		before, after, ellipsis := strings.Cut(term, "...")
		letters := before + after
		if len(letters) > len(shape) || !ellipsis && len(letters) != len(shape) {
			return c.fail("term %q of the equation does not fit shape %v", term, shape)
		}
		middle := len(shape) - len(letters)
		dots = append(dots, shape[len(before):len(before)+middle])
		named := slices.Concat(shape[:len(before)], shape[len(before)+middle:])
		for k := range letters {
			old, ok := dims[letters[k]]
			if !ok {
				old = known(1)
			}
			joined, fits := broadcastDim(old, named[k])
			if !fits {
				return c.fail("%q is both %v and %v in the equation %q", letters[k], old, named[k], equation)
			}
			dims[letters[k]] = joined
		}
	}
	around, err := broadcast(dots...)
	if err != nil {
		return c.fail("%w", err)
	}
	if !explicit {
		right = implicitOutput(left)
	}
	shape := graph.Shape{}
	for k := 0; k < len(right); k++ {
		if right[k] == '.' {
			shape = append(shape, around...)
			k += 2
			continue
		}
		d, ok := dims[right[k]]
		if !ok {
			return c.fail("%q is on the right of %q only", right[k], equation)
		}
		shape = append(shape, d)
	}
	c.set(0, dtype, shape)
	return nil
}

// implicitOutput is what stands right of an equation without an arrow: the letters that occur once, sorted.
func implicitOutput(left string) string {
	var once []byte
	for i := range len(left) {
		if ch := left[i]; ch != ',' && ch != '.' && strings.Count(left, string(ch)) == 1 {
			once = append(once, ch)
		}
	}
	slices.Sort(once)
	if strings.Contains(left, "...") {
		return "..." + string(once)
	}
	return string(once)
}
