package native

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// mapOf returns input 0, which must be a map with one number or string a key.
func (c *prep) mapOf() (tensor.Value, error) {
	if err := c.now(); err != nil {
		return tensor.Value{}, err
	}
	v, err := c.got(0)
	if err != nil {
		return v, err
	}
	if v.Kind != tensor.KindMap {
		return v, c.errf("a %v in place of a map", v.Kind)
	}
	if v.Keys.Size() != v.Tensor.Size() {
		return v, c.errf("a map of %d keys with values of shape %v", v.Keys.Size(), v.Tensor.Shape())
	}
	return v, nil
}

// castMap makes a row of a map's values, in the order of their keys: of all that there are, or each at the place of its key.
func castMap(c *prep) error {
	to, ok := map[string]tensor.DType{"TO_FLOAT": tensor.Float32, "TO_STRING": tensor.String, "TO_INT64": tensor.Int64}[c.attrs.String("cast_to", "TO_FLOAT")]
	if !ok {
		return c.refuse("cast_to %q", c.attrs.String("cast_to", ""))
	}
	form, width := c.attrs.String("map_form", "DENSE"), c.attrs.Int("max_map", 1)
	if form != "DENSE" && form != "SPARSE" {
		return c.refuse("map_form %q", form)
	}
	v, err := c.mapOf()
	if err != nil {
		return err
	}
	if v.Keys.DType() != tensor.Int64 {
		return c.errf("keys of %v, not int64", v.Keys.DType())
	}
	keys := tensor.Data[int64](v.Keys)
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	n, places := len(keys), order
	if form == "SPARSE" {
		if width < 1 || width > c.pl.e.cfg.MaxTensorBytes/16 {
			return c.errf("max_map is %d", width)
		}
		n, places = int(width), slices.Repeat([]int{-1}, int(width))
		for i, k := range keys {
			if k < 0 || k >= width {
				return c.errf("key %d is outside 0 to max_map-1, %d", k, width-1)
			}
			places[k] = i
		}
	}
	values, err := castValues(v.Tensor, to)
	if err != nil {
		return c.errf("%w", err)
	}
	return c.give(0, tensor.ValueOf(picked(values, places, n)))
}

// castValues converts a map's values.
func castValues(t *tensor.Tensor, to tensor.DType) (*tensor.Tensor, error) {
	if t.DType() == to {
		return t, nil
	}
	out, err := tensor.New(to, t.Size())
	if err != nil {
		return nil, err
	}
	if s, ok := t.Raw().([]string); ok {
		return out, parseInto(out, s, tensor.Rounding{})
	}
	castInto(out, t)
	return out, nil
}

// picked is a row of the values at these places; zero, or the empty string, where there is none.
func picked(values *tensor.Tensor, places []int, n int) *tensor.Tensor {
	out := tensor.Must(tensor.New(values.DType(), 1, n))
	if d, ok := out.Raw().([]string); ok {
		for i, p := range places {
			if p >= 0 {
				d[i] = tensor.Data[string](values)[p]
			}
		}
		return out
	}
	size, from, to := values.DType().Size(), values.Bytes(), out.Bytes()
	for i, p := range places {
		if p >= 0 {
			copy(to[i*size:][:size], from[p*size:])
		}
	}
	return out
}

// dictVectorizer makes a row of a map's values, each at the place of its key in the vocabulary.
func dictVectorizer(c *prep) error {
	words, numbers := c.attrs.Strings("string_vocabulary", nil), c.attrs.Ints("int64_vocabulary", nil)
	if (len(words) > 0) == (len(numbers) > 0) {
		return c.errf("one of string_vocabulary and int64_vocabulary must be there")
	}
	v, err := c.mapOf()
	if err != nil {
		return err
	}
	var places []int
	switch keys := v.Keys.Raw().(type) {
	case []string:
		places, err = placesOf(c, keys, words)
	case []int64:
		places, err = placesOf(c, keys, numbers)
	default:
		err = c.errf("keys of %v, not int64 or string", v.Keys.DType())
	}
	if err != nil {
		return err
	}
	return c.give(0, tensor.ValueOf(picked(v.Tensor, places, len(places))))
}

// placesOf returns which key each word of the vocabulary is, -1 where it is none.
func placesOf[K comparable](c *prep, keys, vocabulary []K) ([]int, error) {
	if len(vocabulary) == 0 {
		return nil, c.errf("the keys are %T, and there is no vocabulary of them", keys)
	}
	at := make(map[K]int, len(keys))
	for i, k := range keys {
		at[k] = i
	}
	places := make([]int, len(vocabulary))
	for i, word := range vocabulary {
		places[i] = -1
		if p, ok := at[word]; ok {
			places[i] = p
		}
	}
	return places, nil
}
