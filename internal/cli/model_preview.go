package cli

import (
	"fmt"
	"image"
	"image/png"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/image/draw"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
)

// maxZoom bounds how much larger a preview is drawn.
const maxZoom = 64

// previewOut is what preview says of a picture.
type previewOut struct {
	Out       string  `json:"out"`
	Width     int     `json:"width"`
	Height    int     `json:"height"`
	Channels  int     `json:"channels"`
	Least     float64 `json:"least"`
	Most      float64 `json:"most"`
	Mean      float64 `json:"mean"`
	Stretched bool    `json:"stretched"`
}

func (c *command) modelPreview() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview FILE --in PICTURE --out FILE.png",
		Short: "Write what a model sees of a picture",
		Long: `Makes a model's input of a picture, as a pipeline does, and writes it as a PNG: in the size and colours of the input, turned, centred and
inverted as the model's metadata says. The layout and the scaling of the numbers are undone; what they are is printed.`,
		Example: "  millrace model preview photos.onnx --in photo.jpg --out seen.png\n  millrace model preview digits.onnx --in docs/seven.png --out seen.png --zoom 8",
		Args:    args("FILE"),
	}
	f := cmd.Flags()
	in := f.String("in", "", "`file` with the picture; - is the standard input")
	out := f.String("out", "", "PNG `file` to write")
	zoom := f.Int("zoom", 1, "draws each pixel so many times as large")
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		switch {
		case *in == "":
			return usagef("--in is missing")
		case *out == "":
			return usagef("--out is missing")
		case *zoom < 1 || *zoom > maxZoom:
			return usagef("--zoom %d is not from 1 to %d", *zoom, maxZoom)
		}
		if err := checkOut(*out); err != nil {
			return err
		}
		splitInputs(opts)
		m, notes, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		c.note(notes)
		spec, err := m.Spec()
		if err != nil {
			return fmt.Errorf("%s: %w", given[0], err)
		}
		data, err := c.readInput(*in)
		if err != nil {
			return err
		}
		seen, err := look(spec, data)
		if err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
		shown := enlarged(seen.Image, *zoom)
		if err := outfile.Write(*out, func(w io.Writer) error { return png.Encode(w, shown) }); err != nil {
			return err
		}
		channels, height, width, _ := spec.PictureSize()
		o := previewOut{Out: *out, Width: width, Height: height, Channels: channels, Least: seen.Least, Most: seen.Most, Mean: seen.Mean, Stretched: seen.Stretched}
		if *asJSON {
			return printJSON(c.Stdout, o)
		}
		text := fmt.Sprintf("%s: %s, of numbers from %.4g to %.4g, %.4g in the mean", *out, pictureText(spec), o.Least, o.Most, o.Mean)
		if o.Stretched {
			text += "; they are no samples by the model's metadata, so the least is shown black and the most white"
		}
		_, err = fmt.Fprintln(c.Stdout, text)
		return err
	}
	return cmd
}

// look makes the item of a picture, and a picture of the item.
func look(spec media.Spec, data []byte) (media.Seen, error) {
	decoder, err := media.NewDecoder(spec)
	if err != nil {
		return media.Seen{}, err
	}
	item, err := decoder.Decode("", data)
	if err != nil {
		return media.Seen{}, err
	}
	return spec.Preview(item)
}

func enlarged(m image.Image, zoom int) image.Image {
	if zoom == 1 {
		return m
	}
	r := image.Rect(0, 0, m.Bounds().Dx()*zoom, m.Bounds().Dy()*zoom)
	var to draw.Image = image.NewNRGBA(r)
	if _, grey := m.(*image.Gray); grey {
		to = image.NewGray(r)
	}
	draw.NearestNeighbor.Scale(to, r, m, m.Bounds(), draw.Src, nil)
	return to
}

// pictureText says in a few words what becomes of pictures; empty where the model takes none.
func pictureText(s media.Spec) string {
	channels, height, width, ok := s.PictureSize()
	if !ok {
		return ""
	}
	text := fmt.Sprintf("%d x %d, in colour", width, height)
	if channels == 1 {
		text = fmt.Sprintf("%d x %d, grey", width, height)
	}
	return text
}

// pictureRow says all that becomes of a picture that a model is given.
func pictureRow(m *model.Model) string {
	s, err := m.Spec()
	if err != nil {
		return "" // a model with several inputs, or one of any size
	}
	text := pictureText(s)
	if text == "" {
		return ""
	}
	if s.Centre == "mnist" {
		text += "; any size is taken, its ink cut out, scaled and centred as MNIST's"
	} else {
		text += "; any size is taken and scaled to it"
	}
	if s.Orientation == "ignore" {
		text += ", as its pixels lie"
	} else {
		text += ", upright by its Exif data"
	}
	switch s.Invert {
	case "true":
		text += ", inverted"
	case "auto":
		text += ", inverted where its border is light"
	}
	scale := s.Scale
	if scale == 0 && s.DType.IsFloat() {
		scale = 1.0 / 255
	}
	switch {
	case scale == 1.0/255:
		text += "; samples / 255"
	case scale != 0 && scale != 1:
		text += fmt.Sprintf("; samples * %.6g", scale)
	}
	if len(s.Mean) > 0 {
		text += fmt.Sprintf(" - %v", s.Mean)
	}
	if len(s.Std) > 0 {
		text += fmt.Sprintf(", / %v", s.Std)
	}
	return text
}
