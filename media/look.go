package media

import (
	"bytes"
	"fmt"
	"image/color"
	"image/jpeg"
	"image/png"
)

// A Picture is what the head of a picture's file says.
type Picture struct {
	// Width and Height are those of the picture as it is decoded: upright, or as its pixels lie.
	Width, Height int
	// Channels is 1 for a grey picture and 3 for one with colours.
	Channels int
}

// Look reads the head of a PNG or JPEG; orientation is as in [Spec]. It returns ErrUnsupportedType for other content and ErrMalformed where the head is
// damaged; what comes after it may be damaged still.
func Look(data []byte, orient string) (Picture, error) {
	kind := Sniff("", data)
	config := png.DecodeConfig
	switch kind {
	case typePNG:
	case typeJPEG:
		config = jpeg.DecodeConfig
	default:
		return Picture{}, fmt.Errorf("%w: neither PNG nor JPEG", ErrUnsupportedType)
	}
	head, err := config(bytes.NewReader(data))
	if err != nil {
		return Picture{}, fmt.Errorf("%w: %s: %w", ErrMalformed, kind, err)
	}
	p := Picture{Width: head.Width, Height: head.Height, Channels: 3}
	switch head.ColorModel {
	case color.GrayModel, color.Gray16Model:
		p.Channels = 1
	}
	if orient != ignoreExif && turned(orientation(kind, data)) {
		p.Width, p.Height = p.Height, p.Width
	}
	return p, nil
}
