package native

import (
	"errors"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// imageDecoder decodes a picture's file. What is damaged, or no picture, becomes one without pixels, as ONNX says; a format that is known
// and not read, and a picture that is too large, are errors.
func imageDecoder(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	if in := &c.in[0]; in.dtype != tensor.Uint8 || len(in.shape) != 1 {
		return c.errf("a file must be bytes, uint8[n], not %v%v", in.dtype, in.shape)
	}
	format := c.attrs.String("pixel_format", "RGB")
	channels := 3
	switch format {
	case "RGB", "BGR":
	case "Grayscale":
		channels = 1
	default:
		return c.refuse("pixel_format %q", format)
	}
	file, err := c.known(0)
	if err != nil {
		return err
	}
	pixels, err := media.Pixels(tensor.Data[uint8](file), format)
	switch {
	case media.IsJPEG2000(tensor.Data[uint8](file)):
		return c.refuse("JPEG 2000 is not read; save the picture as JPEG, PNG or TIFF")
	case errors.Is(err, media.ErrTooLarge):
		return c.errf("%w", err)
	case err != nil:
		pixels = tensor.Must(tensor.New(tensor.Uint8, 0, 0, channels))
	}
	o, err := c.out(0, tensor.Uint8, pixels.Shape())
	if err != nil {
		return err
	}
	c.do(func(f *frame) { copy(data[uint8](f, o), tensor.Data[uint8](pixels)) })
	return nil
}
