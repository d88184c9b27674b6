package native

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Operators of ONNX's domain for tables, ai.onnx.ml: what prepares columns. Where its text is silent they do as onnxruntime does.

// mlDomain is that domain.
const mlDomain = "ai.onnx.ml"

// table is an input of rows of numbers, as float32.
type table struct {
	rows, width int
	slot        int
	shape       tensor.Shape
}

// table reads input i: a matrix, or a list that is one row. What is no float32 becomes one before the steps that are added later.
func (c *prep) table(i int) (table, error) {
	if err := c.need(i + 1); err != nil {
		return table{}, err
	}
	in := &c.in[i]
	t := table{rows: 1, slot: in.slot, shape: in.shape}
	switch len(in.shape) {
	case 1:
		t.width = in.shape[0]
	case 2:
		t.rows, t.width = in.shape[0], in.shape[1]
	default:
		return table{}, c.errf("a table has shape [C] or [N,C], not %v", in.shape)
	}
	var err error
	switch in.dtype {
	case tensor.Float32:
	case tensor.Float64:
		t.slot, err = toFloat32[float64](c, in)
	case tensor.Int64:
		t.slot, err = toFloat32[int64](c, in)
	case tensor.Int32:
		t.slot, err = toFloat32[int32](c, in)
	default:
		err = c.refuseType(in.dtype)
	}
	return t, err
}

func toFloat32[T float64 | int64 | int32](c *prep, in *info) (int, error) {
	from := in.slot
	to, err := c.scratchOf(tensor.Float32, in.shape)
	if err != nil {
		return 0, err
	}
	c.do(func(f *frame) {
		x, y := data[T](f, from), data[float32](f, to)
		for i, v := range x {
			y[i] = float32(v)
		}
	})
	return to, nil
}

// perNode returns what make makes of a node's attributes, once a session.
func perNode[V any](c *prep, make func() (V, error)) (V, error) {
	key := derivedKey{kind: fmt.Sprintf("node %p", c.n)}
	if v, ok := c.pl.prog.derived.made.Load(key); ok {
		return v.(V), nil
	}
	v, err := make()
	if err != nil {
		return v, err
	}
	kept, _ := c.pl.prog.derived.made.LoadOrStore(key, v)
	return kept.(V), nil
}

// arrayFeatureExtractor picks elements of the last dimension.
func arrayFeatureExtractor(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, y := &c.in[0], &c.in[1]
	if len(x.shape) == 0 || y.dtype != tensor.Int64 || y.size() == 0 {
		return c.errf("shape %v and indexes %v%v", x.shape, y.dtype, y.shape)
	}
	width, n := x.shape[len(x.shape)-1], y.size()
	shape := slices.Concat(x.shape[:len(x.shape)-1], tensor.Shape{n})
	if len(x.shape) == 1 {
		shape = tensor.Shape{1, n}
	}
	o, err := c.out(0, x.dtype, shape)
	if err != nil {
		return err
	}
	pick := picks[x.dtype]
	if pick == nil {
		return c.refuseType(x.dtype)
	}
	from, at := x.slot, y.slot
	c.step(func(f *frame) error {
		indexes := data[int64](f, at)
		for _, k := range indexes {
			if k < 0 || k >= int64(width) {
				return c.errf("index %d in a dimension of %d", k, width)
			}
		}
		pick(f, from, o, width, indexes)
		return nil
	})
	return nil
}

// picks are the types that columns are picked of.
var picks = map[tensor.DType]func(f *frame, from, to, width int, indexes []int64){
	tensor.Float32: pickOf[float32], tensor.Float64: pickOf[float64], tensor.Int64: pickOf[int64], tensor.Int32: pickOf[int32], tensor.String: pickOf[string],
}

func pickOf[T tensor.Element](f *frame, from, to, width int, indexes []int64) {
	x, y := data[T](f, from), data[T](f, to)
	for k := 0; len(y) > 0; k += width {
		for i, at := range indexes {
			y[i] = x[k+int(at)]
		}
		y = y[len(indexes):]
	}
}

// binarizer gives 1 for what is greater than a threshold, and 0 for the rest.
func binarizer(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	threshold := c.attrs.Float("threshold", 0)
	switch c.in[0].dtype {
	case tensor.Float32:
		return eachElement(c, tensor.Float32, func(v float32) float32 { return oneIf[float32](v > threshold) })
	case tensor.Float64:
		return eachElement(c, tensor.Float64, func(v float64) float64 { return oneIf[float64](v > float64(threshold)) })
	case tensor.Int64:
		return eachElement(c, tensor.Int64, func(v int64) int64 { return oneIf[int64](float64(v) > float64(threshold)) })
	case tensor.Int32:
		return eachElement(c, tensor.Int32, func(v int32) int32 { return oneIf[int32](float64(v) > float64(threshold)) })
	}
	return c.refuseType(c.in[0].dtype)
}

func oneIf[T float32 | float64 | int64 | int32](is bool) T {
	if is {
		return 1
	}
	return 0
}

// eachElement makes the output of each element of the first input.
func eachElement[X, Y tensor.Element](c *prep, dtype tensor.DType, of func(X) Y) error {
	x := &c.in[0]
	o, err := c.out(0, dtype, x.shape)
	if err != nil {
		return err
	}
	s := x.slot
	c.do(func(f *frame) {
		f.parallel(x.size(), grain, func(f *frame, lo, hi int) {
			x, y := data[X](f, s), data[Y](f, o)
			for i := lo; i < hi; i++ {
				y[i] = of(x[i])
			}
		})
	})
	return nil
}

// normalizer divides each row by its largest magnitude, or by the sum of the magnitudes or the root of the sum of the squares. A row of zeros stays.
func normalizer(c *prep) error {
	t, err := c.table(0)
	if err != nil {
		return err
	}
	norm := c.attrs.String("norm", "MAX")
	if !slices.Contains([]string{"MAX", "L1", "L2"}, norm) {
		return c.refuse("norm %q", norm)
	}
	o, err := c.out(0, tensor.Float32, t.shape)
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		x, y := data[float32](f, t.slot), data[float32](f, o)
		for r := range t.rows {
			from, to := x[r*t.width:(r+1)*t.width], y[r*t.width:(r+1)*t.width]
			by := 0.0
			for i, v := range from {
				switch norm {
				case "MAX":
					if by = math.Max(by, float64(v)); i == 0 {
						by = float64(v)
					}
				case "L1":
					by += math.Abs(float64(v))
				case "L2":
					by += float64(v) * float64(v)
				}
			}
			if norm == "L2" {
				by = math.Sqrt(by)
			}
			if by == 0 {
				by = 1
			}
			for i, v := range from {
				to[i] = float32(float64(v) / by)
			}
		}
	})
	return nil
}

// scaler subtracts an offset and multiplies by a scale: one each, or one a column.
func scaler(c *prep) error {
	t, err := c.table(0)
	if err != nil {
		return err
	}
	offset, scale := c.attrs.Floats("offset", nil), c.attrs.Floats("scale", nil)
	for _, v := range [][]float32{offset, scale} {
		if len(v) != 1 && len(v) != t.width {
			return c.errf("offset has %d and scale %d numbers for %d columns", len(offset), len(scale), t.width)
		}
	}
	o, err := c.out(0, tensor.Float32, t.shape)
	if err != nil {
		return err
	}
	at := func(v []float32, i int) float32 {
		if len(v) == 1 {
			return v[0]
		}
		return v[i]
	}
	c.do(func(f *frame) {
		x, y := data[float32](f, t.slot), data[float32](f, o)
		for i, v := range x {
			y[i] = (v - at(offset, i%t.width)) * at(scale, i%t.width)
		}
	})
	return nil
}

// imputer puts values in the place of one that stands for what is missing.
func imputer(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := &c.in[0]
	if len(x.shape) == 0 {
		return c.errf("a table has at least one dimension")
	}
	switch x.dtype {
	case tensor.Float32:
		missing := c.attrs.Float("replaced_value_float", 0)
		return imputerOf(c, c.attrs.Floats("imputed_value_floats", nil), func(v float32) bool { return v == missing || v != v && missing != missing })
	case tensor.Float64:
		missing := float64(c.attrs.Float("replaced_value_float", 0))
		values := make([]float64, 0)
		for _, v := range c.attrs.Floats("imputed_value_floats", nil) {
			values = append(values, float64(v))
		}
		return imputerOf(c, values, func(v float64) bool { return v == missing || v != v && missing != missing })
	case tensor.Int64:
		missing := c.attrs.Int("replaced_value_int64", 0)
		return imputerOf(c, c.attrs.Ints("imputed_value_int64s", nil), func(v int64) bool { return v == missing })
	case tensor.Int32:
		missing, values := c.attrs.Int("replaced_value_int64", 0), []int32{}
		for _, v := range c.attrs.Ints("imputed_value_int64s", nil) {
			if int64(int32(v)) != v {
				return c.errf("the value %d does not fit int32", v)
			}
			values = append(values, int32(v))
		}
		return imputerOf(c, values, func(v int32) bool { return int64(v) == missing })
	}
	return c.refuseType(x.dtype)
}

func imputerOf[T float32 | float64 | int64 | int32](c *prep, values []T, missing func(T) bool) error {
	x := &c.in[0]
	width := x.shape[len(x.shape)-1]
	if len(values) != 1 && len(values) != width || len(values) == 0 {
		return c.errf("%d values for %d columns", len(values), width)
	}
	o, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	s := x.slot
	c.do(func(f *frame) {
		x, y := data[T](f, s), data[T](f, o)
		for i, v := range x {
			if missing(v) {
				v = values[i%width%len(values)]
			}
			y[i] = v
		}
	})
	return nil
}

// featureVectorizer puts columns of its inputs side by side; what an input has less than its share is 0.
func featureVectorizer(c *prep) error {
	dims := c.attrs.Ints("inputdimensions", nil)
	if len(dims) != len(c.in) || len(dims) == 0 {
		return c.errf("%d inputs have %d inputdimensions", len(c.in), len(dims))
	}
	tables := make([]table, len(dims))
	total := 0
	for i, d := range dims {
		var err error
		if tables[i], err = c.table(i); err != nil {
			return err
		}
		if d < 0 || d > math.MaxInt32 || tables[i].rows != tables[0].rows {
			return c.errf("input %d has %d rows and is to give %d columns beside one of %d rows", i, tables[i].rows, d, tables[0].rows)
		}
		total += int(d)
	}
	o, err := c.out(0, tensor.Float32, tensor.Shape{tables[0].rows, total})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		y := data[float32](f, o)
		clear(y)
		at := 0
		for i, t := range tables {
			x, n := data[float32](f, t.slot), min(t.width, int(dims[i]))
			for r := range t.rows {
				copy(y[r*total+at:][:n], x[r*t.width:])
			}
			at += int(dims[i])
		}
	})
	return nil
}
