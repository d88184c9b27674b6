package native

import "github.com/millrace/millrace/tensor"

// byReal calls the function for dtype; 16-bit floating-point types have none, see viaFloat32.
func byReal[A any](c *prep, dtype tensor.DType, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64 func(c *prep, a A) error, a A) error {
	switch dtype {
	case tensor.Float32:
		return f32(c, a)
	case tensor.Float64:
		return f64(c, a)
	}
	return byInteger(c, dtype, i8, i16, i32, i64, u8, u16, u32, u64, a)
}

// byInteger is byReal for integers alone.
func byInteger[A any](c *prep, dtype tensor.DType, i8, i16, i32, i64, u8, u16, u32, u64 func(c *prep, a A) error, a A) error {
	switch dtype {
	case tensor.Int8:
		return i8(c, a)
	case tensor.Int16:
		return i16(c, a)
	case tensor.Int32:
		return i32(c, a)
	case tensor.Int64:
		return i64(c, a)
	case tensor.Uint8:
		return u8(c, a)
	case tensor.Uint16:
		return u16(c, a)
	case tensor.Uint32:
		return u32(c, a)
	case tensor.Uint64:
		return u64(c, a)
	}
	return c.refuseType(dtype)
}
