package gemm

import "unsafe"

// gather is a product whose left-hand matrix is never written down: row p is a
// pixel of the output, column s a step of the kernel's window, and the element
// is the one at pixels[p]+steps[s] of a surrounded image. The right-hand side
// are weights packed in panels over the output's channels. Pixels are rows, not
// columns, so no lane is lost whatever the width of the image is, strides and
// dilations cost nothing, and nothing is copied; the tile of pixels x channels
// is transposed on its way out, while it is in the cache. (The idea of rows
// behind pointers is that of Dukhan, "The Indirect Convolution Algorithm", 2019.)
type gather struct {
	kernel *Kernel
	src    image
	groups int
	n      int     // output channels of one group
	pixels []int32 // byte offsets
	steps  []int32 // byte offsets within one group's channels
	rows   int     // of the source under the window
	at     int     // where this gather's weights begin among all packed ones

	plane int     // elements of one channel of the output
	where []int32 // the element of the plane for each pixel; nil: in order

	tapsY, tapsX []int // of a gradient: the elements of the kernel that it uses
}

const (
	chunkPixels     = 48  // pixels transposed together
	deepChunkPixels = 192 // the same where the reduction is cut into blocks
	gatherDepth     = 512 // depth of one block of a long reduction
)

func (g *gather) chunk() int {
	if len(g.steps) > 2*gatherDepth {
		return deepChunkPixels
	}
	return chunkPixels
}

// weights is the number of packed elements of one group.
func (g *gather) weights() int { return g.kernel.PackedLen(len(g.steps), g.n) }

// scratchTile is the scratch for the tiles of a chunk, and, where pixels are
// scattered, for their transpose.
func (g *gather) scratchTile() int {
	n := g.chunk() * g.kernel.cols
	if g.where != nil {
		n *= 2
	}
	return n
}

// span is a part of a gather's work: pixels p0..p1 and panels j0..j1 of every group.
type span struct{ p0, p1, j0, j1 int }

// all is the whole of the work.
func (g *gather) all() span {
	return span{0, len(g.pixels), 0, ceilDiv(g.n, g.kernel.cols)}
}

// sourceRows are the rows of the surrounded image that pixels p0..p1 look at.
func (g *gather) sourceRows(s span) (lo, hi int) {
	if s.p0 >= s.p1 {
		return 0, 0
	}
	first, last := g.pixels[s.p0], g.pixels[s.p1-1] // rows never decrease
	w := int32(4 * g.src.padWidth)
	return int(first / w), int(last/w) + g.rows
}

// output is what a gather does with its results.
type output struct {
	dst    []float32
	bias   []float32
	add    bool
	act    Activation
	lo, hi float32
}

// run computes span s of one image for all groups. src is surrounded.
func (g *gather) run(s span, src, weights, scratch []float32, out *output) {
	if s.p0 >= s.p1 {
		return
	}
	var t tileArgs
	groupSrc := g.src.channels / g.groups * g.src.padHeight * g.src.padWidth
	for group := range g.groups {
		t.a = unsafe.Pointer(&src[group*groupSrc])
		w := weights[g.at+group*g.weights():]
		// What is smaller stays in the cache: all weights, or one panel of them.
		if g.weights() <= 1<<17 {
			for p := s.p0; p < s.p1; p += g.chunk() {
				for j := s.j0; j < s.j1; j++ {
					g.chunkTiles(&t, p, min(p+g.chunk(), s.p1), j, group, w, scratch, out)
				}
			}
			continue
		}
		for j := s.j0; j < s.j1; j++ {
			for p := s.p0; p < s.p1; p += g.chunk() {
				g.chunkTiles(&t, p, min(p+g.chunk(), s.p1), j, group, w, scratch, out)
			}
		}
	}
}

// chunkTiles computes pixels p0..p1 of panel j of a group and stores them.
func (g *gather) chunkTiles(t *tileArgs, p0, p1, j, group int, weights, scratch []float32, out *output) {
	k, depth := g.kernel, len(g.steps)
	cols := min(k.cols, g.n-j*k.cols)
	width := roundUp(cols, k.lanes)
	channel := group*g.n + j*k.cols
	panel := weights[j*k.cols*depth:]
	tile := scratch[:g.chunk()*k.cols]
	dst := out.dst[channel*g.plane:]
	if out.add {
		g.fetch(tile, scratch, dst, p0, p1, cols)
	}
	t.ldc = 4 * k.cols
	t.ldb = 4 * width
	tiles := ceilDiv(p1-p0, k.rows)
	for s := 0; ; {
		t.depth = min(gatherDepth, depth-s)
		if depth <= 2*gatherDepth {
			t.depth = depth
		}
		t.flags, t.col = 0, nil
		if s > 0 || out.add {
			t.flags = tileAccumulate
		}
		if depth > 0 {
			t.steps = &g.steps[s]
			t.b = unsafe.Pointer(&panel[s*width])
		}
		if s+t.depth >= depth {
			if out.bias != nil {
				t.col = unsafe.Pointer(&out.bias[channel])
			}
			switch out.act {
			case Relu:
				t.flags |= tileClip
				t.lo, t.hi = 0, infinity
			case Clip:
				t.flags |= tileClip
				t.lo, t.hi = out.lo, out.hi
			}
		}
		for i := range tiles {
			lo, hi := share(p1-p0, tiles, i)
			for r, at := range g.pixels[p0+lo : p0+hi] {
				t.rows[r] = int(at)
			}
			t.c = unsafe.Pointer(&tile[lo*k.cols])
			k.tiles(t, hi-lo, cols)
		}
		if s += t.depth; s >= depth {
			break
		}
	}
	g.store(tile, scratch, dst, p0, p1, cols)
}

// store transposes a tile of pixels x channels into the planes of dst.
func (g *gather) store(tile, scratch, dst []float32, p0, p1, cols int) {
	if g.where == nil {
		g.kernel.transpose(dst[p0:], g.plane, tile, g.kernel.cols, p1-p0, cols)
		return
	}
	turned := scratch[len(tile):]
	n := p1 - p0
	g.kernel.transpose(turned, n, tile, g.kernel.cols, n, cols)
	for c := range cols {
		plane := dst[c*g.plane:]
		row := turned[c*n : (c+1)*n]
		for i, at := range g.where[p0:p1] {
			plane[at] = row[i]
		}
	}
}

// fetch is the opposite of store.
func (g *gather) fetch(tile, scratch, dst []float32, p0, p1, cols int) {
	n := p1 - p0
	if g.where == nil {
		g.kernel.transpose(tile, g.kernel.cols, dst[p0:], g.plane, cols, n)
		return
	}
	turned := scratch[len(tile):]
	for c := range cols {
		plane := dst[c*g.plane:]
		row := turned[c*n : (c+1)*n]
		for i, at := range g.where[p0:p1] {
			row[i] = plane[at]
		}
	}
	g.kernel.transpose(tile, g.kernel.cols, turned, n, cols, n)
}
