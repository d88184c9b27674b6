package media

import "image"

// The JPEGs of most cameras and tools are baseline ones (ITU-T T.81): one scan of Huffman codes. They are decoded here with the integer
// transform of libjpeg ("islow": Loeffler, Ligtenberg and Moschytz, 13 bits), so that their samples are those that other programs
// have, and not one or two off. What else there is, the standard library decodes.

// exactJPEG decodes a baseline JPEG of one or three components; ok is false for every other and for damaged ones. The caller has looked at its
// size, which must be w by h.
func exactJPEG(data []byte, w, h int) (img image.Image, ok bool) {
	d := &baseline{data: data}
	if !d.heads() || d.w != w || d.h != h || !d.scan() {
		return nil, false
	}
	if len(d.parts) == 1 {
		p := &d.parts[0]
		return &image.Gray{Pix: p.pix, Stride: p.stride, Rect: image.Rect(0, 0, w, h)}, true
	}
	ratio, known := map[[2]int]image.YCbCrSubsampleRatio{
		{1, 1}: image.YCbCrSubsampleRatio444, {2, 1}: image.YCbCrSubsampleRatio422, {2, 2}: image.YCbCrSubsampleRatio420, {1, 2}: image.YCbCrSubsampleRatio440,
	}[[2]int{d.parts[0].h, d.parts[0].v}]
	if !known || d.parts[1].h*d.parts[1].v*d.parts[2].h*d.parts[2].v != 1 {
		return nil, false
	}
	y, cb, cr := &d.parts[0], &d.parts[1], &d.parts[2]
	return &image.YCbCr{Y: y.pix, Cb: cb.pix, Cr: cr.pix, YStride: y.stride, CStride: cb.stride, SubsampleRatio: ratio, Rect: image.Rect(0, 0, w, h)}, true
}

type component struct {
	id, h, v, quant int
	dc, ac          int
	last            int32
	pix             []uint8
	stride          int
}

// huffman has, for each length of a code, the largest code and where its values begin.
type huffman struct {
	most, first [17]int32 // most is -1 where no code has that length
	values      []byte
}

type baseline struct {
	data  []byte
	w, h  int
	parts []component
	quant [4][64]int32
	codes [2][4]huffman
	every int // blocks of all components between restarts; 0: none
	adobe bool
	bits  uint32
	have  int
}

// zigzag is where the k-th coefficient of a file stands in its block.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// heads reads the segments up to the scan's data.
func (d *baseline) heads() bool {
	at := 2
	for {
		if at+4 > len(d.data) || d.data[at] != 0xff {
			return false
		}
		kind, n := d.data[at+1], int(d.data[at+2])<<8|int(d.data[at+3])
		if n < 2 || at+2+n > len(d.data) {
			return false
		}
		body := d.data[at+4 : at+2+n]
		at += 2 + n
		ok := true
		switch kind {
		case 0xdb:
			ok = d.quants(body)
		case 0xc4:
			ok = d.huffmans(body)
		case 0xc0:
			ok = d.frame(body)
		case 0xdd:
			if ok = len(body) == 2; ok {
				d.every = int(body[0])<<8 | int(body[1])
			}
		case 0xda:
			d.data = d.data[at:]
			return d.begin(body)
		case 0xee: // Adobe's mark says of other colours
			d.adobe = true
		default:
			ok = kind >= 0xe0 && kind <= 0xef || kind == 0xfe
		}
		if !ok {
			return false
		}
	}
}

func (d *baseline) quants(b []byte) bool {
	for len(b) >= 65 {
		if b[0] > 3 {
			return false
		}
		for k := range 64 {
			d.quant[b[0]][zigzag[k]] = int32(b[1+k])
		}
		b = b[65:]
	}
	return len(b) == 0
}

func (d *baseline) huffmans(b []byte) bool {
	for len(b) > 17 {
		class, id := b[0]>>4, b[0]&15
		if class > 1 || id > 3 {
			return false
		}
		t := huffman{}
		code, at := int32(0), int32(0)
		for length := 1; length <= 16; length++ {
			n := int32(b[length])
			t.most[length], t.first[length] = -1, at-code
			if n > 0 {
				code, at = code+n, at+n
				t.most[length] = code - 1
			}
			if code > 1<<length {
				return false
			}
			code <<= 1
		}
		if len(b) < 17+int(at) {
			return false
		}
		t.values = b[17 : 17+at]
		d.codes[class][id] = t
		b = b[17+at:]
	}
	return len(b) == 0
}

func (d *baseline) frame(b []byte) bool {
	if len(b) < 6 || b[0] != 8 || len(d.parts) > 0 {
		return false
	}
	d.h, d.w = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	n := int(b[5])
	if n != 1 && n != 3 || len(b) != 6+3*n || d.h == 0 || d.w == 0 {
		return false
	}
	for i := range n {
		p := b[6+3*i:]
		c := component{id: int(p[0]), h: int(p[1] >> 4), v: int(p[1] & 15), quant: int(p[2])}
		if n == 1 {
			c.h, c.v = 1, 1
		}
		if c.h < 1 || c.h > 2 || c.v < 1 || c.v > 2 || c.quant > 3 {
			return false
		}
		d.parts = append(d.parts, c)
	}
	return !d.adobe
}

// begin reads the head of the scan, which must have all components.
func (d *baseline) begin(b []byte) bool {
	if len(d.parts) == 0 || len(b) != 4+2*len(d.parts) || int(b[0]) != len(d.parts) || d.adobe {
		return false
	}
	for i := range d.parts {
		if p := &d.parts[i]; int(b[1+2*i]) == p.id {
			p.dc, p.ac = int(b[2+2*i]>>4), int(b[2+2*i]&15)
			if p.dc > 3 || p.ac > 3 {
				return false
			}
			continue
		}
		return false
	}
	return true
}

// scan decodes all blocks.
func (d *baseline) scan() bool {
	wide, high := 8*d.parts[0].h, 8*d.parts[0].v
	across, down := (d.w+wide-1)/wide, (d.h+high-1)/high
	if blocks := across * down * len(d.parts); blocks/4 > len(d.data) { // a block has two codes of a bit or more
		return false
	}
	for i := range d.parts {
		p := &d.parts[i]
		p.stride = across * 8 * p.h
		p.pix = make([]uint8, p.stride*down*8*p.v)
	}
	for n := range across * down {
		if d.every > 0 && n > 0 && n%d.every == 0 && !d.restart() {
			return false
		}
		for i := range d.parts {
			p := &d.parts[i]
			for k := range p.h * p.v {
				var block [64]int32
				if !d.block(p, &block) {
					return false
				}
				x, y := (n%across*p.h+k%p.h)*8, (n/across*p.v+k/p.h)*8
				backwards(&block, p.pix[y*p.stride+x:], p.stride)
			}
		}
	}
	return true
}

// restart passes a mark after which codes begin anew.
func (d *baseline) restart() bool {
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1] < 0xd0 || d.data[1] > 0xd7 {
		return false
	}
	d.data, d.bits, d.have = d.data[2:], 0, 0
	for i := range d.parts {
		d.parts[i].last = 0
	}
	return true
}

// block reads the coefficients of a block, times their quantization.
func (d *baseline) block(p *component, block *[64]int32) bool {
	size, ok := d.symbol(&d.codes[0][p.dc])
	if !ok || size > 11 {
		return false
	}
	diff, ok := d.number(int(size))
	if !ok {
		return false
	}
	p.last += diff
	q := &d.quant[p.quant]
	block[0] = p.last * q[0]
	for k := 1; k < 64; k++ {
		s, ok := d.symbol(&d.codes[1][p.ac])
		if !ok {
			return false
		}
		run, size := int(s>>4), int(s&15)
		if size == 0 {
			if run != 15 {
				return true // the rest is zero
			}
			k += 15
			continue
		}
		if k += run; k > 63 || size > 10 {
			return false
		}
		v, ok := d.number(size)
		if !ok {
			return false
		}
		block[zigzag[k]] = v * q[zigzag[k]]
	}
	return true
}

// bit returns the next bit; ok is false after the last.
func (d *baseline) bit() (b uint32, ok bool) {
	if d.have == 0 {
		switch {
		case len(d.data) == 0:
			return 0, false
		case d.data[0] != 0xff:
			d.bits, d.data = uint32(d.data[0]), d.data[1:]
		case len(d.data) > 1 && d.data[1] == 0:
			d.bits, d.data = 0xff, d.data[2:]
		default:
			return 0, false
		}
		d.have = 8
	}
	d.have--
	return d.bits >> d.have & 1, true
}

func (d *baseline) symbol(t *huffman) (byte, bool) {
	code := int32(0)
	for length := 1; length <= 16; length++ {
		b, ok := d.bit()
		if !ok {
			return 0, false
		}
		if code = code<<1 | int32(b); code <= t.most[length] {
			if at := code + t.first[length]; at >= 0 && int(at) < len(t.values) {
				return t.values[at], true
			}
			return 0, false // of a table that is not there
		}
	}
	return 0, false
}

// number reads a number of so many bits, of which those with a 0 first are negative.
func (d *baseline) number(size int) (int32, bool) {
	v := int32(0)
	for range size {
		b, ok := d.bit()
		if !ok {
			return 0, false
		}
		v = v<<1 | int32(b)
	}
	if size > 0 && v < 1<<(size-1) {
		v += -1<<size + 1
	}
	return v, true
}

// Factors of the transform, times 2^13.
const (
	fix0298, fix0390, fix0541, fix0765 = 2446, 3196, 4433, 6270
	fix0899, fix1175, fix1501, fix1847 = 7373, 9633, 12299, 15137
	fix1961, fix2053, fix2562, fix3072 = 16069, 16819, 20995, 25172
)

// lane is one dimension of the transform: eight numbers, from their steps of stride, to sums that are to be shifted by 13 and more.
func lane(in []int32, stride int, out *[8]int32) {
	z2, z3 := in[2*stride], in[6*stride]
	z1 := (z2 + z3) * fix0541
	t2, t3 := z1-z3*fix1847, z1+z2*fix0765
	t0, t1 := (in[0]+in[4*stride])<<13, (in[0]-in[4*stride])<<13
	a0, a3, a1, a2 := t0+t3, t0-t3, t1+t2, t1-t2
	t0, t1, t2, t3 = in[7*stride], in[5*stride], in[3*stride], in[stride]
	z1, z2 = t0+t3, t1+t2
	z3, z4 := t0+t2, t1+t3
	z5 := (z3 + z4) * fix1175
	t0, t1, t2, t3 = t0*fix0298, t1*fix2053, t2*fix3072, t3*fix1501
	z1, z2, z3, z4 = -z1*fix0899, -z2*fix2562, z5-z3*fix1961, z5-z4*fix0390
	t0, t1, t2, t3 = t0+z1+z3, t1+z2+z4, t2+z2+z3, t3+z1+z4
	*out = [8]int32{a0 + t3, a1 + t2, a2 + t1, a3 + t0, a3 - t0, a2 - t1, a1 - t2, a0 - t3}
}

// backwards writes the samples of a block of coefficients.
func backwards(block *[64]int32, pix []uint8, stride int) {
	var out [8]int32
	for x := range 8 {
		lane(block[x:], 8, &out)
		for y, v := range out {
			block[8*y+x] = (v + 1<<10) >> 11
		}
	}
	for y := range 8 {
		lane(block[8*y:], 1, &out)
		row := pix[y*stride:]
		for x, v := range out {
			row[x] = uint8(min(max((v+1<<17)>>18+128, 0), 255))
		}
	}
}
