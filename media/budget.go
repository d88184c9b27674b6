package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"image/color"

	"golang.org/x/sync/semaphore"
)

// decodedAtOnce is how many bytes of pictures are unpacked at a time in the process, whoever asks. Small files unpack to hundreds of
// megabytes, and without it as many at a time as there are callers. A picture that has more alone waits for all others.
const decodedAtOnce = 512 << 20

var decoding = semaphore.NewWeighted(decodedAtOnce)

// reserve waits until there is room for a picture to be unpacked and made to fit, and returns what gives the room back. Pictures of up to keepBytes
// do not wait. It never fails: what is wrong with a picture, decoding says.
func reserve(kind string, data []byte, c, limit int) (release func()) {
	n := min(unpacked(kind, data, c, limit), decodedAtOnce)
	if n <= keepBytes {
		return func() {}
	}
	if err := decoding.Acquire(context.Background(), n); err != nil {
		panic(err) // which it returns for a context that ends
	}
	return func() { decoding.Release(n) }
}

// unpacked is about how many bytes decoding takes: the file's samples, and the copies with c channels that are made of them. It is 0
// for what has more than limit pixels, which is refused.
func unpacked(kind string, data []byte, c, limit int) int64 {
	w, h, model, ok := size(kind, data)
	pixels := int64(w) * int64(h)
	if kind == typeWebP {
		pixels = max(pixels, int64(webpPixels(data)))
	}
	if !ok || pixels > int64(limit) {
		return 0
	}
	of, copies := int64(4+4), int64(2*c) // samples and a canvas
	switch model {
	case color.GrayModel:
		of = 1
	case color.YCbCrModel:
		of = 3
	case color.Gray16Model:
		of, copies = 2+4, 2*copies
	case color.RGBA64Model, color.NRGBA64Model:
		of, copies = 8+4, 2*copies
	}
	if kind == typeWebP {
		of += 2 + 4 // chroma in full size, and colours
	}
	if kind == typeJPEG && bytes.Contains(data, progressive) {
		of += 12 // coefficients of the whole picture
	}
	return pixels * (of + copies)
}

// size reads a picture's head. Of PNGs, of which there are many small ones, it does so without allocations, and takes them for coloured.
func size(kind string, data []byte) (w, h int, model color.Model, ok bool) {
	const at = len(pngMagic) + 8
	if kind == typePNG && len(data) > at+8 {
		if isDeep(kind, data) {
			model = color.NRGBA64Model
		}
		return int(binary.BigEndian.Uint32(data[at:]) & (1<<31 - 1)), int(binary.BigEndian.Uint32(data[at+4:]) & (1<<31 - 1)), model, true
	}
	head, err := imageConfig(kind, data)
	return head.Width, head.Height, head.ColorModel, err == nil
}

// progressive is the marker that begins a frame of a progressive JPEG. Compressed data does not have it.
var progressive = []byte{0xff, 0xc2}
