package media

import (
	"bytes"
	"encoding/binary"
)

// upright is the orientation of a picture whose rows lie as they are to be seen. The others, from 2 to 8, say which side of the scene the first row
// and the first column are, as in the TIFF specification (revision 6.0, "Orientation") and in Exif, which took it over.
const upright = 1

// orientation returns what a picture's Exif data, or a TIFF's own first directory, says of how it is to be turned. Where there is none, or it is damaged, that is upright: a
// picture is not refused for what stands beside it.
func orientation(kind string, data []byte) int {
	switch kind {
	case typePNG:
		return orientationOf(pngExif(data))
	case typeJPEG:
		return jpegOrientation(data)
	case typeWebP:
		return orientationOf(bytes.TrimPrefix(webpChunk(data, "EXIF"), []byte("Exif\x00\x00")))
	case typeTIFF:
		return orientationOf(data)
	}
	return upright
}

// pngExif returns the content of the eXIf chunk (W3C, "Portable Network Graphics Specification", third edition, 11.3.3.7).
func pngExif(data []byte) []byte {
	if !hasPrefix(data, pngMagic) {
		return nil
	}
	data = data[len(pngMagic):]
	for len(data) >= 12 {
		n := binary.BigEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-12) {
			return nil
		}
		if string(data[4:8]) == "eXIf" {
			return data[8:][:n]
		}
		data = data[12+n:]
	}
	return nil
}

// jpegOrientation looks through the segments before the picture's data (ITU-T T.81, annex B) for Exif's, which is an APP1 that begins with its name.
func jpegOrientation(data []byte) int {
	const (
		app1 = 0xe1
		sos  = 0xda
		eoi  = 0xd9
	)
	if !hasPrefix(data, "\xff\xd8") {
		return upright
	}
	data = data[2:]
	for len(data) >= 4 && data[0] == 0xff {
		marker := data[1]
		switch {
		case marker == 0xff: // fill
			data = data[1:]
			continue
		case marker == sos, marker == eoi:
			return upright
		case marker == 0x01, marker >= 0xd0 && marker <= 0xd7: // without content
			data = data[2:]
			continue
		}
		n := int(binary.BigEndian.Uint16(data[2:]))
		if n < 2 || n > len(data)-2 {
			return upright
		}
		if body, ok := bytes.CutPrefix(data[4:2+n], []byte("Exif\x00\x00")); ok && marker == app1 {
			if o := orientationOf(body); o != upright {
				return o
			}
		}
		data = data[2+n:]
	}
	return upright
}

// orientationOf reads the tag from the first directory of a TIFF structure.
func orientationOf(tiff []byte) int {
	const (
		tag                 = 0x0112
		isByte, short, long = 1, 3, 4
	)
	if len(tiff) < 8 {
		return upright
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(tiff[:2]) {
	case "II":
	case "MM":
		order = binary.BigEndian
	default:
		return upright
	}
	at := order.Uint32(tiff[4:])
	if order.Uint16(tiff[2:]) != 42 || uint64(at)+2 > uint64(len(tiff)) {
		return upright
	}
	n := int(order.Uint16(tiff[at:]))
	entries := tiff[at+2:]
	for range n {
		if len(entries) < 12 {
			return upright
		}
		e := entries[:12]
		entries = entries[12:]
		if order.Uint16(e) != tag {
			continue
		}
		value := uint32(upright)
		switch order.Uint16(e[2:]) {
		case isByte:
			value = uint32(e[8])
		case short:
			value = uint32(order.Uint16(e[8:]))
		case long:
			value = order.Uint32(e[8:])
		}
		if value < upright || value > 8 || order.Uint32(e[4:]) == 0 {
			return upright
		}
		return int(value)
	}
	return upright
}

// turned reports whether a picture of that orientation has its width and height exchanged.
func turned(orientation int) bool { return orientation >= 5 }

// turn writes the picture in src, of w by h pixels with c samples each, upright to dst.
func turn[T uint8 | uint16](dst, src []T, w, h, c, orientation int) {
	// The source pixel of the target's first, and the distance to that of the next in a row and of the next row.
	var from, across, down int
	switch orientation {
	case 2: // mirrored
		from, across, down = w-1, -1, w
	case 3: // by 180 degrees
		from, across, down = w*h-1, -1, -w
	case 4: // upside down in a mirror
		from, across, down = w*(h-1), 1, -w
	case 5: // along the diagonal
		from, across, down = 0, w, 1
	case 6: // by 90 degrees clockwise
		from, across, down = w*(h-1), -w, 1
	case 7: // along the other diagonal
		from, across, down = w*h-1, -w, -1
	case 8: // by 90 degrees anticlockwise
		from, across, down = w-1, w, -1
	default:
		copy(dst, src)
		return
	}
	if turned(orientation) {
		w, h = h, w
	}
	for y := range h {
		at := from + y*down
		row := dst[y*w*c:][:w*c]
		for x := range w {
			copy(row[x*c:][:c], src[at*c:][:c])
			at += across
		}
	}
}
