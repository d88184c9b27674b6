package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// codecs read the formats of pictures; of several frames or pages they read the first.
var codecs = map[string]struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}{
	typePNG:  {png.DecodeConfig, png.Decode},
	typeJPEG: {jpeg.DecodeConfig, jpeg.Decode},
	typeGIF:  {gif.DecodeConfig, gif.Decode},
	typeWebP: {webp.DecodeConfig, webp.Decode},
	typeTIFF: {tiff.DecodeConfig, tiff.Decode},
}

// IsPicture reports whether a media type, as [Sniff] returns it, is of a picture that is read here.
func IsPicture(kind string) bool {
	_, ok := codecs[kind]
	return ok
}

// imageConfig reads a picture's head.
func imageConfig(kind string, data []byte) (image.Config, error) {
	head, err := codecs[kind].config(bytes.NewReader(data))
	if err != nil {
		return head, pictureFault(kind, data, err)
	}
	return head, nil
}

// decodeImage reads a picture whose head says that it has at most limit pixels.
func decodeImage(kind string, data []byte, limit int) (image.Image, error) {
	var at image.Point
	if kind == typeWebP {
		if err := webpCheck(data, limit); err != nil {
			return nil, err
		}
	}
	head, err := imageConfig(kind, data)
	if err != nil {
		return nil, err
	}
	if kind == typeWebP {
		data, at = webpStill(data)
	}
	if err := checkSize(head.Width, head.Height, limit); err != nil {
		return nil, err
	}
	img, err := codecs[kind].decode(bytes.NewReader(data))
	if err != nil {
		return nil, pictureFault(kind, data, err)
	}
	if kind == typeWebP {
		img = videoImage(img)
	}
	screen := image.Rect(0, 0, head.Width, head.Height)
	if r := img.Bounds(); (kind == typeGIF || kind == typeWebP) && r.Add(at) != screen {
		// A frame that is a part of the picture stands in its place, on white.
		whole := image.NewRGBA(screen)
		draw.Draw(whole, screen, image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(whole, r.Add(at), img, r.Min, draw.Over)
		return whole, nil
	}
	if r := img.Bounds(); r.Dx() != head.Width || r.Dy() != head.Height {
		return nil, fmt.Errorf("%w: %s: the head says %d by %d pixels, and there are %d by %d", ErrMalformed, kind, head.Width, head.Height, r.Dx(), r.Dy())
	}
	return img, nil
}

// A WebP is a RIFF file of chunks (RFC 9649). What x/image does not look at is looked at here: how large the frames say they are, beside
// the canvas, and the first frame of an animation.

// webpChunks calls take with the chunks of a body until it returns false.
func webpChunks(body []byte, take func(name string, data []byte) bool) {
	for len(body) >= 8 {
		name, n := string(body[:4]), uint64(binary.LittleEndian.Uint32(body[4:]))
		body = body[8:]
		if n > uint64(len(body)) {
			return
		}
		if !take(name, body[:n]) {
			return
		}
		body = body[min(n+n%2, uint64(len(body))):]
	}
}

const (
	webpHead  = 12 // RIFF, the size, WEBP
	webpFrame = 16 // what an ANMF chunk has before its own chunks
	webpAlpha = 0x10
)

// webpChunk returns the first chunk of a name.
func webpChunk(data []byte, name string) (found []byte) {
	if len(data) < webpHead {
		return nil
	}
	webpChunks(data[webpHead:], func(n string, chunk []byte) bool {
		if n == name {
			found = chunk
		}
		return n != name
	})
	return found
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpCheck refuses a file in which anything says that it has more pixels than limit.
func webpCheck(data []byte, limit int) (err error) {
	webpSizes(data, func(w, h int) bool {
		err = checkSize(w, h, limit)
		return err == nil
	})
	return err
}

// webpPixels is the most pixels that anything in a file says that it has.
func webpPixels(data []byte) (most int) {
	webpSizes(data, func(w, h int) bool {
		most = max(most, w*h)
		return true
	})
	return most
}

// webpSizes calls take with the sizes that a file has in its chunks, until it returns false.
func webpSizes(data []byte, take func(w, h int) bool) {
	if len(data) < webpHead {
		return // which decoding says
	}
	goes := true
	var look func(string, []byte) bool
	look = func(name string, c []byte) bool {
		w, h := 1, 1
		switch {
		case name == "VP8X" && len(c) >= 10:
			w, h = uint24(c[4:])+1, uint24(c[7:])+1
		case name == "VP8 " && len(c) >= 10:
			w, h = int(binary.LittleEndian.Uint16(c[6:])&0x3fff), int(binary.LittleEndian.Uint16(c[8:])&0x3fff)
		case name == "VP8L" && len(c) >= 5:
			bits := binary.LittleEndian.Uint32(c[1:])
			w, h = int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1
		case name == "ANMF" && len(c) >= webpFrame:
			w, h = uint24(c[6:])+1, uint24(c[9:])+1
			webpChunks(c[webpFrame:], look)
		}
		goes = goes && take(w, h)
		return goes
	}
	webpChunks(data[webpHead:], look)
}

// webpStill returns an animation's first frame as a file of its own, and where it stands on the animation's canvas; any other file is
// returned as it is.
func webpStill(data []byte) ([]byte, image.Point) {
	head, frame := webpChunk(data, "VP8X"), webpChunk(data, "ANMF")
	if len(head) < 10 || len(frame) < webpFrame {
		return data, image.Point{}
	}
	at := image.Point{2 * uint24(frame), 2 * uint24(frame[3:])}
	var chunks []byte
	alpha := byte(0)
	webpChunks(frame[webpFrame:], func(name string, c []byte) bool {
		if name != "ALPH" && name != "VP8 " && name != "VP8L" {
			return true
		}
		if name == "ALPH" {
			alpha = webpAlpha
		}
		chunks = appendChunk(chunks, name, c)
		return true
	})
	// The canvas of that file is the frame alone.
	size := append([]byte{alpha, 0, 0, 0}, frame[6:12]...)
	body := append([]byte("WEBP"), appendChunk(nil, "VP8X", size)...)
	return appendChunk(nil, "RIFF", append(body, chunks...)), at
}

func appendChunk(dst []byte, name string, c []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(append(dst, name...), uint32(len(c)))
	dst = append(dst, c...)
	if len(c)%2 == 1 {
		dst = append(dst, 0)
	}
	return dst
}
