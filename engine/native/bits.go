package native

// bitwise names the operators of two integers' bits.
type bitwise uint8

const (
	bitAnd bitwise = iota
	bitOr
	bitXor
	shiftLeft
	shiftRight
)

func bitRow[T integer](op bitwise) rowFunc[T, T] {
	switch op {
	case bitAnd:
		return each(func(a, b T) T { return a & b })
	case bitOr:
		return each(func(a, b T) T { return a | b })
	case bitXor:
		return each(func(a, b T) T { return a ^ b })
	case shiftLeft: // by more than there are bits: zero
		return each(func(a, b T) T { return a << uint64(b) })
	}
	return each(func(a, b T) T { return a >> uint64(b) })
}

func bitsOf[T integer](c *prep, op bitwise) error { return binary(c, bitRow[T](op)) }

// bits is the kernel of an operator of two integers.
func bits(op bitwise) func(c *prep) error {
	return func(c *prep) error {
		if len(c.in) != 2 {
			return c.errf("%d inputs, not 2", len(c.in))
		}
		if err := c.need(2); err != nil {
			return err
		}
		if err := c.sameType(); err != nil {
			return err
		}
		return byInteger(c, c.in[0].dtype, bitsOf[int8], bitsOf[int16], bitsOf[int32], bitsOf[int64], bitsOf[uint8], bitsOf[uint16], bitsOf[uint32], bitsOf[uint64], op)
	}
}

// bitShift moves bits to the left or right, zeros coming after them. Only unsigned integers have it.
func bitShift(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if d := c.in[0].dtype; !d.IsUnsigned() {
		return c.refuseType(d)
	}
	switch way := c.attrs.String("direction", ""); way {
	case "LEFT":
		return bits(shiftLeft)(c)
	case "RIGHT":
		return bits(shiftRight)(c)
	default:
		return c.refuse("direction %q", way)
	}
}

func bitNotOf[T integer](c *prep, _ struct{}) error {
	return unary(c, 1, mapRow(func(v T) T { return ^v }))
}

// bitNot turns every bit round.
func bitNot(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	return byInteger(c, c.in[0].dtype, bitNotOf[int8], bitNotOf[int16], bitNotOf[int32], bitNotOf[int64], bitNotOf[uint8], bitNotOf[uint16], bitNotOf[uint32],
		bitNotOf[uint64], struct{}{})
}
