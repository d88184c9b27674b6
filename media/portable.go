package media

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io"
	"strconv"
)

// The portable formats of netpbm: PBM, PGM and PPM, each as text or as bytes.

// portableHead reads the numbers of a portable picture's head: width, height, and the largest sample.
func portableHead(data []byte) (kind byte, n [3]int, rest []byte, err error) {
	kind, rest = data[1], data[2:]
	wanted := 3
	if kind == '1' || kind == '4' {
		wanted, n[2] = 2, 1
	}
	for i := range wanted {
		var word []byte
		if word, rest = portableWord(rest); word == nil {
			return 0, n, nil, errors.New("the head ends early")
		}
		if n[i], err = strconv.Atoi(string(word)); err != nil || n[i] < 0 {
			return 0, n, nil, fmt.Errorf("%q in the head", word)
		}
	}
	if n[2] < 1 || n[2] > 65535 {
		return 0, n, nil, fmt.Errorf("samples up to %d", n[2])
	}
	return kind, n, rest, nil
}

// portableWord skips space and comments and returns the next word, and what is behind it and one space.
func portableWord(data []byte) (word, rest []byte) {
	for len(data) > 0 {
		switch data[0] {
		case ' ', '\t', '\r', '\n', '\v', '\f':
			data = data[1:]
			continue
		case '#':
			end := bytes.IndexByte(data, '\n')
			if end < 0 {
				return nil, nil
			}
			data = data[end+1:]
			continue
		}
		end := bytes.IndexAny(data, " \t\r\n\v\f#")
		switch {
		case end < 0:
			return data, nil
		case data[end] == '#':
			return data[:end], data[end:]
		}
		return data[:end], data[end+1:]
	}
	return nil, nil
}

func portableConfig(r io.Reader) (image.Config, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return image.Config{}, err
	}
	_, n, _, err := portableHead(data)
	return image.Config{Width: n[0], Height: n[1]}, err
}

// portable reads PBM, PGM and PPM, as text or as bytes.
func portable(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	kind, n, rest, err := portableHead(data)
	if err != nil {
		return nil, err
	}
	w, h, most := n[0], n[1], n[2]
	channels := 1
	if kind == '3' || kind == '6' {
		channels = 3
	}
	samples := w * h * channels
	least := map[byte]int{'1': samples, '2': 2*samples - 1, '3': 2*samples - 1, '4': (w + 7) / 8 * h, '5': samples, '6': samples}[kind]
	if len(rest) < least { // before memory is taken for what is not there
		return nil, fmt.Errorf("%d bytes for %d samples", len(rest), samples)
	}
	next := portableSamples(kind, w*channels, most, rest)
	rect := image.Rect(0, 0, w, h)
	grey, colours := image.NewGray(rect), (*image.NRGBA)(nil)
	if channels == 3 {
		grey, colours = nil, image.NewNRGBA(rect)
	}
	for i := range samples {
		v, ok := next(i)
		if !ok || v > most {
			return nil, fmt.Errorf("sample %d of %d is missing or over %d", i, samples, most)
		}
		scaled := uint8((v*255 + most/2) / most)
		if grey != nil {
			grey.Pix[i] = scaled
			continue
		}
		colours.Pix[i/3*4+i%3] = scaled
		colours.Pix[i/3*4+3] = 255
	}
	if grey != nil {
		return grey, nil
	}
	return colours, nil
}

// portableSamples returns sample i of rows of that many. Of a PBM 1 is black.
func portableSamples(kind byte, row, most int, rest []byte) func(i int) (int, bool) {
	switch kind {
	case '1', '2', '3':
		return func(int) (int, bool) {
			if kind == '1' { // digits may stand without spaces
				rest = bytes.TrimLeft(rest, " \t\r\n\v\f")
				if len(rest) == 0 {
					return 0, false
				}
				v := rest[0]
				rest = rest[1:]
				return int('1' - v), v == '0' || v == '1'
			}
			var word []byte
			word, rest = portableWord(rest)
			v, err := strconv.Atoi(string(word))
			return v, err == nil && v >= 0
		}
	case '4':
		stride := (row + 7) / 8
		return func(i int) (int, bool) {
			at := i/row*stride + i%row/8
			if at >= len(rest) {
				return 0, false
			}
			return 1 - int(rest[at]>>(7-i%row%8)&1), true
		}
	}
	return func(i int) (int, bool) {
		if most < 256 {
			if i >= len(rest) {
				return 0, false
			}
			return int(rest[i]), true
		}
		if 2*i+1 >= len(rest) {
			return 0, false
		}
		return int(rest[2*i])<<8 | int(rest[2*i+1]), true
	}
}
