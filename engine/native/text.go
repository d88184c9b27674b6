package native

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// stringConcat joins strings of two tensors, which are broadcast.
func stringConcat(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	a, b := &c.in[0], &c.in[1]
	if a.dtype != tensor.String || b.dtype != tensor.String {
		return c.refuse("%v and %v", a.dtype, b.dtype)
	}
	shape, err := infer.Broadcast(a.shape, b.shape)
	if err != nil {
		return c.errf("%w", err)
	}
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	o, err := c.out(0, tensor.String, shape)
	if err != nil {
		return err
	}
	x, y := a.slot, b.slot
	sx, sy, out := broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape), contiguous(shape)
	c.do(func(f *frame) {
		left, right, dst := data[string](f, x), data[string](f, y), data[string](f, o)
		for i := range dst {
			at, from := i, [2]int{}
			for d, s := range out {
				k := at / s
				at %= s
				from[0] += k * sx[d]
				from[1] += k * sy[d]
			}
			dst[i] = left[from[0]] + right[from[1]]
		}
	})
	return nil
}

// regexFullMatch tells which strings a pattern of RE2's syntax, which Go's is, matches as a whole.
func regexFullMatch(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	in := &c.in[0]
	if in.dtype != tensor.String {
		return c.refuseType(in.dtype)
	}
	if !c.attrs.Has("pattern") {
		return c.errf("it has no pattern")
	}
	pattern, err := regexp.Compile(`\A(?:` + c.attrs.String("pattern", "") + `)\z`)
	if err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, tensor.Bool, in.shape)
	if err != nil {
		return err
	}
	s := in.slot
	c.do(func(f *frame) {
		dst := data[bool](f, o)
		for i, text := range data[string](f, s) {
			dst[i] = pattern.MatchString(text)
		}
	})
	return nil
}

// stringSplit cuts strings at a delimiter, or at white space where there is none, into a last axis as long as the most parts need;
// the rest is empty strings. The second output has the numbers of parts. How many there are is known in the run alone.
func stringSplit(c *prep) error {
	t, err := c.known(0)
	if err != nil {
		return err
	}
	if t.DType() != tensor.String {
		return c.refuseType(t.DType())
	}
	delimiter, most := c.attrs.String("delimiter", ""), c.attrs.Int("maxsplit", -1)
	if c.attrs.Has("maxsplit") && most < 0 {
		return c.refuse("maxsplit %d", most)
	}
	texts := tensor.Data[string](t)
	parts := make([][]string, len(texts))
	longest := 0
	for i, text := range texts {
		parts[i] = splitText(text, delimiter, most)
		longest = max(longest, len(parts[i]))
	}
	o, err := c.out(0, tensor.String, append(t.Shape().Clone(), longest))
	if err != nil {
		return err
	}
	n, err := c.out(1, tensor.Int64, t.Shape())
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		dst, counts := data[string](f, o), data[int64](f, n)
		clear(dst)
		for i, p := range parts {
			copy(dst[i*longest:(i+1)*longest], p)
			counts[i] = int64(len(p))
		}
	})
	return nil
}

// splitText cuts a string as Python's split does: at most that many times, where most is not negative.
func splitText(text, delimiter string, most int64) []string {
	if delimiter != "" {
		if most < 0 || most >= int64(len(text)) {
			return strings.Split(text, delimiter)
		}
		return strings.SplitN(text, delimiter, int(most)+1)
	}
	var parts []string
	for text = strings.TrimLeftFunc(text, isSpace); text != ""; text = strings.TrimLeftFunc(text, isSpace) {
		at := strings.IndexFunc(text, isSpace)
		if at < 0 || most >= 0 && int64(len(parts)) == most {
			return append(parts, text)
		}
		parts = append(parts, text[:at])
		text = text[at:]
	}
	return parts
}

// isSpace reports what Python takes for white space: the separators of ASCII too.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
