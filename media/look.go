package media

import (
	"fmt"
	"image/color"
)

// A Picture is what the head of a picture's file says.
type Picture struct {
	// Width and Height are those of the picture as it is decoded: upright, or as its pixels lie.
	Width, Height int
	// Channels is 1 for a grey picture and 3 for one with colours.
	Channels int
}

// Look reads the head of a PNG, JPEG, GIF, WebP or TIFF; orientation is as in [Spec]. It returns ErrUnsupportedType for other content and ErrMalformed where the head is
// damaged; what comes after it may be damaged still.
func Look(data []byte, orient string) (Picture, error) {
	kind := Sniff("", data)
	if !IsPicture(kind) {
		return Picture{}, fmt.Errorf("%w: neither PNG, JPEG, GIF, WebP nor TIFF", ErrUnsupportedType)
	}
	head, err := imageConfig(kind, data)
	if err != nil {
		return Picture{}, err
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
