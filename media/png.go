package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// pngReader reads the common PNGs (8 bits a sample, not interlaced, no palette, no transparent colour) without the
// allocations of image/png: a model's inputs are many and small. Everything else is image/png's.
// The format is the W3C's "Portable Network Graphics Specification", third edition.
type pngReader struct {
	idat  []byte // the compressed data, where it stands in several chunks
	src   bytes.Reader
	zlib  io.ReadCloser
	lines []byte // two lines with their filter's byte
}

// samples of a pixel for each colour type that is read here.
var pngSamples = [7]int{0: 1, 2: 3, 4: 2, 6: 4}

// read fills out with c channels. ok is false where the file is for image/png to read or to refuse.
func (p *pngReader) read(data []byte, out *bitmap, c, limit int) (ok bool, err error) {
	const headEnd = len(pngMagic) + 8 + 13 + 4
	if len(data) < headEnd || string(data[len(pngMagic):][:8]) != "\x00\x00\x00\rIHDR" {
		return false, nil
	}
	head := data[len(pngMagic)+8:][:13]
	w, h := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return false, nil
	}
	if head[8] != 8 || head[9] > 6 || head[10] != 0 || head[11] != 0 || head[12] != 0 {
		return false, nil
	}
	n := pngSamples[head[9]]
	if n == 0 {
		return false, nil
	}
	if err := checkSize(int(w), int(h), limit); err != nil {
		return false, err
	}
	idat, ok := p.chunks(data[len(pngMagic):])
	if !ok {
		return false, nil
	}
	out.grow(int(w), int(h), c)
	return p.unpack(idat, out, n), nil
}

// chunks checks every chunk's sum and returns the data of the IDAT chunks together.
func (p *pngReader) chunks(data []byte) (idat []byte, ok bool) {
	p.idat = p.idat[:0]
	for len(data) >= 12 {
		n := binary.BigEndian.Uint32(data)
		if uint64(n) > uint64(len(data)-12) {
			return nil, false
		}
		body := data[8:][:n]
		if crc32.ChecksumIEEE(data[4:8+n]) != binary.BigEndian.Uint32(data[8+n:]) {
			return nil, false
		}
		switch string(data[4:8]) {
		case "IDAT":
			if idat == nil {
				idat = body
			} else {
				if len(p.idat) == 0 {
					p.idat = append(p.idat, idat...)
				}
				p.idat = append(p.idat, body...)
				idat = p.idat
			}
		case "tRNS", "PLTE":
			return nil, false
		case "IEND":
			return idat, idat != nil
		}
		data = data[12+n:]
	}
	return nil, false
}

// unpack inflates and unfilters the lines, with n samples a pixel. What it cannot read is left to image/png, which
// says why.
func (p *pngReader) unpack(idat []byte, out *bitmap, n int) bool {
	p.src.Reset(idat)
	if p.zlib == nil {
		z, err := zlib.NewReader(&p.src)
		if err != nil {
			return false
		}
		p.zlib = z
	} else if err := p.zlib.(zlib.Resetter).Reset(&p.src, nil); err != nil {
		return false
	}
	stride := 1 + out.w*n
	p.lines = sized(p.lines, 2*stride)
	last, line := p.lines[:stride], p.lines[stride:]
	clear(last)
	for y := range out.h {
		if _, err := io.ReadFull(p.zlib, line); err != nil {
			return false
		}
		if !unfilter(line[0], line[1:], last[1:], n) {
			return false
		}
		out.row(y, line[1:], n, true)
		last, line = line, last
	}
	// The sum at the end of the data is checked by the read that finds it; more data than lines is tolerated.
	_, err := p.zlib.Read(last[:1])
	return err == nil || err == io.EOF
}

// unfilter undoes one line's filter; n is the distance to the sample on the left.
func unfilter(filter byte, line, up []byte, n int) bool {
	up = up[:len(line)]
	switch filter {
	case 0:
	case 1:
		for i := n; i < len(line); i++ {
			line[i] += line[i-n]
		}
	case 2:
		for i, u := range up {
			line[i] += u
		}
	case 3:
		for i := range line {
			left := 0
			if i >= n {
				left = int(line[i-n])
			}
			line[i] += byte((left + int(up[i])) / 2)
		}
	case 4:
		for i := range line {
			var a, c int
			if i >= n {
				a, c = int(line[i-n]), int(up[i-n])
			}
			line[i] += paeth(a, int(up[i]), c)
		}
	default:
		return false
	}
	return true
}

// paeth chooses which of left, up and upper left is nearest to left+up-upper left.
func paeth(a, b, c int) byte {
	pa, pb := b-c, a-c
	pc := pa + pb
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	switch {
	case pa <= pb && pa <= pc:
		return byte(a)
	case pb <= pc:
		return byte(b)
	}
	return byte(c)
}
