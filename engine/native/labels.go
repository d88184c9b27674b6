package native

import (
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Operators of tables that give classes other names.

// oneHotEncoder gives each element a row with a 1 at the place of its category.
func oneHotEncoder(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	numbers, words := c.attrs.Ints("cats_int64s", nil), c.attrs.Strings("cats_strings", nil)
	strict := !c.attrs.Bool("zeros", true)
	switch c.in[0].dtype {
	case tensor.String:
		return categoriesOf(c, words, func(s string) string { return s }, strict)
	case tensor.Int64:
		return categoriesOf(c, numbers, func(v int64) int64 { return v }, strict)
	case tensor.Int32:
		return categoriesOf(c, numbers, func(v int32) int64 { return int64(v) }, strict)
	case tensor.Float32:
		return categoriesOf(c, numbers, func(v float32) int64 { return int64(v) }, strict)
	case tensor.Float64:
		return categoriesOf(c, numbers, func(v float64) int64 { return int64(v) }, strict)
	}
	return c.refuseType(c.in[0].dtype)
}

func categoriesOf[X tensor.Element, K comparable](c *prep, categories []K, key func(X) K, strict bool) error {
	if len(categories) == 0 {
		return c.errf("there are no categories for %v", c.in[0].dtype)
	}
	place := make(map[K]int, len(categories))
	for i, k := range categories {
		place[k] = i
	}
	x := &c.in[0]
	o, err := c.out(0, tensor.Float32, append(x.shape.Clone(), len(categories)))
	if err != nil {
		return err
	}
	s := x.slot
	c.step(func(f *frame) error {
		y := data[float32](f, o)
		clear(y)
		for i, v := range data[X](f, s) {
			at, ok := place[key(v)]
			switch {
			case ok:
				y[i*len(categories)+at] = 1
			case strict:
				return c.errf("element %d, %v, is none of the categories", i, v)
			}
		}
		return nil
	})
	return nil
}

// categoryMapper exchanges words and numbers.
func categoryMapper(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	words, numbers := c.attrs.Strings("cats_strings", nil), c.attrs.Ints("cats_int64s", nil)
	if len(words) != len(numbers) {
		return c.errf("%d words for %d numbers", len(words), len(numbers))
	}
	return wordsAndNumbers(c, words, numbers)
}

// wordsAndNumbers gives the number of a word, and the word of a number.
func wordsAndNumbers(c *prep, words []string, numbers []int64) error {
	word, number := c.attrs.String("default_string", "_Unused"), c.attrs.Int("default_int64", -1)
	switch c.in[0].dtype {
	case tensor.String:
		return eachElement(c, tensor.Int64, lookup(words, numbers, number))
	case tensor.Int64:
		return eachElement(c, tensor.String, lookup(numbers, words, word))
	}
	return c.refuseType(c.in[0].dtype)
}

// lookup finds the value of a key. All NaN are one key; of a key that is there twice the first counts.
func lookup[K comparable, V any](keys []K, values []V, otherwise V) func(K) V {
	at := make(map[K]int, len(keys))
	nan := -1
	for i, k := range keys {
		if k != k { // NaN is no key of a map
			if nan < 0 {
				nan = i
			}
			continue
		}
		if _, ok := at[k]; !ok {
			at[k] = i
		}
	}
	return func(k K) V {
		i, ok := at[k]
		switch {
		case ok:
			return values[i]
		case k != k && nan >= 0:
			return values[nan]
		}
		return otherwise
	}
}

// labelEncoder gives each element the value of its key. Its first version knows words and their places alone.
func labelEncoder(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if c.opset < 2 {
		words := c.attrs.Strings("classes_strings", nil)
		numbers := make([]int64, len(words))
		for i := range numbers {
			numbers[i] = int64(i)
		}
		return wordsAndNumbers(c, words, numbers)
	}
	keys, values, otherwise, err := encoderTable(c)
	if err != nil {
		return err
	}
	if keys.DType() != c.in[0].dtype {
		return c.errf("the keys are %v, the input %v", keys.DType(), c.in[0].dtype)
	}
	encode := encoders[[2]tensor.DType{keys.DType(), values.DType()}]
	if encode == nil {
		return c.refuse("%v to %v", keys.DType(), values.DType())
	}
	return encode(c, keys, values, otherwise)
}

// encoderTable returns the attributes of a LabelEncoder.
func encoderTable(c *prep) (keys, values, otherwise *tensor.Tensor, err error) {
	side := func(name string) *tensor.Tensor {
		var found []*tensor.Tensor
		if v := c.attrs.Strings(name+"_strings", nil); v != nil {
			found = append(found, tensor.Vector(v...))
		}
		if v := c.attrs.Ints(name+"_int64s", nil); v != nil {
			found = append(found, tensor.Vector(v...))
		}
		if v := c.attrs.Floats(name+"_floats", nil); v != nil {
			found = append(found, tensor.Vector(v...))
		}
		if v := c.attrs.Tensor(name + "_tensor"); v != nil {
			found = append(found, v)
		}
		if len(found) != 1 {
			err = c.errf("it must have one list of %s, not %d", name, len(found))
			return nil
		}
		return found[0]
	}
	if keys, values = side("keys"), side("values"); err != nil {
		return nil, nil, nil, err
	}
	if keys.Size() != values.Size() {
		return nil, nil, nil, c.errf("%d keys for %d values", keys.Size(), values.Size())
	}
	otherwise = c.attrs.Tensor("default_tensor")
	if otherwise != nil && (otherwise.Size() != 1 || otherwise.DType() != values.DType()) {
		return nil, nil, nil, c.errf("default_tensor is %v%v for values of %v", otherwise.DType(), otherwise.Shape(), values.DType())
	}
	if otherwise == nil {
		switch values.DType() {
		case tensor.String:
			otherwise = tensor.Scalar(c.attrs.String("default_string", "_Unused"))
		case tensor.Int64:
			otherwise = tensor.Scalar(c.attrs.Int("default_int64", -1))
		case tensor.Int16:
			otherwise = tensor.Scalar(int16(-1))
		case tensor.Int32:
			otherwise = tensor.Scalar(int32(-1))
		case tensor.Float32:
			otherwise = tensor.Scalar(c.attrs.Float("default_float", 0))
		case tensor.Float64:
			otherwise = tensor.Scalar(0.0)
		default:
			return nil, nil, nil, c.refuse("values of %v", values.DType())
		}
	}
	return keys, values, otherwise, nil
}

type encoder func(c *prep, keys, values, otherwise *tensor.Tensor) error

// encoders are the pairs of types that ONNX names, and the others that are as easy.
var encoders = func() map[[2]tensor.DType]encoder {
	all := map[[2]tensor.DType]encoder{}
	from := func(d tensor.DType, to map[tensor.DType]encoder) {
		for v, e := range to {
			all[[2]tensor.DType{d, v}] = e
		}
	}
	from(tensor.String, encodersFrom[string]())
	from(tensor.Int64, encodersFrom[int64]())
	from(tensor.Int16, encodersFrom[int16]())
	from(tensor.Int32, encodersFrom[int32]())
	from(tensor.Float32, encodersFrom[float32]())
	from(tensor.Float64, encodersFrom[float64]())
	return all
}()

func encodersFrom[K interface {
	comparable
	tensor.Element
}]() map[tensor.DType]encoder {
	return map[tensor.DType]encoder{
		tensor.String: encodeOf[K, string], tensor.Int64: encodeOf[K, int64], tensor.Int16: encodeOf[K, int16], tensor.Int32: encodeOf[K, int32],
		tensor.Float32: encodeOf[K, float32], tensor.Float64: encodeOf[K, float64],
	}
}

func encodeOf[K interface {
	comparable
	tensor.Element
}, V tensor.Element](c *prep, keys, values, otherwise *tensor.Tensor) error {
	of := lookup(slices.Clone(tensor.Data[K](keys)), slices.Clone(tensor.Data[V](values)), tensor.Data[V](otherwise)[0])
	return eachElement(c, values.DType(), of)
}

// classes are the names of a classifier's classes: words or numbers.
type classes struct {
	words   []string
	numbers []int64
}

func (c *prep) classes(words, numbers string) (classes, error) {
	l := classes{c.attrs.Strings(words, nil), c.attrs.Ints(numbers, nil)}
	if (len(l.words) == 0) == (len(l.numbers) == 0) {
		return classes{}, c.errf("its classes must be either %s or %s", words, numbers)
	}
	return l, nil
}

func (l classes) len() int { return max(len(l.words), len(l.numbers)) }

func (l classes) dtype() tensor.DType {
	if len(l.words) > 0 {
		return tensor.String
	}
	return tensor.Int64
}

// name writes the name of class k as element i of a slot.
func (l classes) name(f *frame, slot, i, k int) {
	if len(l.words) > 0 {
		data[string](f, slot)[i] = l.words[k]
		return
	}
	data[int64](f, slot)[i] = l.numbers[k]
}

// zipMap makes a map of each row of scores, by the names of the classes.
func zipMap(c *prep) error {
	if err := c.now(); err != nil {
		return err
	}
	l, err := c.classes("classlabels_strings", "classlabels_int64s")
	if err != nil {
		return err
	}
	v, err := c.got(0)
	if err != nil {
		return err
	}
	t, err := tensorOf(v)
	if err != nil {
		return c.errf("input 0: %w", err)
	}
	shape := t.Shape()
	if t.DType() != tensor.Float32 || len(shape) < 1 || len(shape) > 2 || shape[len(shape)-1] != l.len() {
		return c.errf("scores are %v%v for %d classes", t.DType(), shape, l.len())
	}
	keys := tensor.Vector(l.numbers...)
	if len(l.words) > 0 {
		keys = tensor.Vector(l.words...)
	}
	items := []tensor.Value{}
	for scores := tensor.Data[float32](t); len(scores) > 0; scores = scores[l.len():] {
		items = append(items, tensor.Value{Kind: tensor.KindMap, Keys: keys, Tensor: tensor.Vector(slices.Clone(scores[:l.len()])...)})
	}
	return c.give(0, sequenceOf(items))
}
