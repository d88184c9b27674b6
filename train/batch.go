package train

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/millrace/millrace/tensor"
)

// scaling turns an example's bytes into a model's numbers: (byte*scale - mean) / std for each channel. Examples that
// are numbers already are taken as they are.
type scaling struct {
	scale     float64
	mean, std []float64 // one, or one a channel; none is 0 and 1
}

func at(v []float64, i int, def float64) float64 {
	switch {
	case len(v) == 0:
		return def
	case i < len(v):
		return v[i]
	}
	return v[0]
}

// filler writes examples of a set into batches for a model. It is for one goroutine.
type filler struct {
	set     *Set
	tables  [][256]float32 // one a channel
	mul     []float32      // the same as a line, for augmented pictures
	add     []float32
	plane   int // elements of a channel
	last    bool
	augment *augmenter
	scratch []float32
}

// newFiller returns a filler; last says that the model has the channels last.
func newFiller(s *Set, sc scaling, last bool, a Augment) *filler {
	f := &filler{set: s, plane: s.size, last: last}
	if s.bytes == nil {
		return f
	}
	channels := 1
	if len(s.shape) == 3 {
		channels = s.shape[0]
		f.plane = s.size / channels
	}
	f.last = last && channels > 1
	f.tables, f.mul, f.add = make([][256]float32, channels), make([]float32, channels), make([]float32, channels)
	for c := range channels {
		mean, std := at(sc.mean, c, 0), at(sc.std, c, 1)
		for v := range 256 {
			f.tables[c][v] = float32((float64(v)*sc.scale - mean) / std)
		}
		f.mul[c], f.add[c] = float32(sc.scale/std), float32(-mean/std)
	}
	if a != (Augment{}) && len(s.shape) == 3 {
		f.augment = newAugmenter(a, channels, s.shape[1], s.shape[2])
	}
	if f.augment != nil || f.last {
		f.scratch = make([]float32, s.size)
	}
	return f
}

// fill writes example i to dst; the seeds are for its augmentation.
func (f *filler) fill(dst []float32, i int, seed1, seed2 uint64) {
	s := f.set
	if s.bytes == nil {
		copy(dst, s.floats[i*s.size:(i+1)*s.size])
		return
	}
	src := s.bytes[i*s.size : (i+1)*s.size]
	switch {
	case f.augment != nil:
		f.augment.apply(f.scratch, src, seed1, seed2)
		for c, mul := range f.mul {
			from, to, add := f.scratch[c*f.plane:(c+1)*f.plane], dst[c*f.plane:(c+1)*f.plane], f.add[c]
			for k, v := range from {
				to[k] = v*mul + add
			}
		}
	default:
		for c := range f.tables {
			table := &f.tables[c]
			from, to := src[c*f.plane:(c+1)*f.plane], dst[c*f.plane:(c+1)*f.plane]
			for k, v := range from {
				to[k] = table[v]
			}
		}
	}
	if f.last {
		f.channelsLast(dst)
	}
}

// channelsLast turns [C,H,W] into [H,W,C].
func (f *filler) channelsLast(dst []float32) {
	channels := len(f.tables)
	copy(f.scratch, dst)
	for c := range channels {
		for k, v := range f.scratch[c*f.plane : (c+1)*f.plane] {
			dst[k*channels+c] = v
		}
	}
}

// A batch is a number of examples in the form that the engine takes.
type batch struct{ x, y *tensor.Tensor }

// loader makes the batches of an epoch, ahead of the loop that uses them.
type loader struct {
	filler *filler
	shape  tensor.Shape // of the model's input, its first dimension being the batch
	scaled scaled       // of a regression's numbers
	seed   uint64
	free   chan *batch
}

// ahead is how many batches are prepared or in use.
const ahead = 3

func newLoader(f *filler, shape tensor.Shape, sc scaled, seed uint64) (*loader, error) {
	l := &loader{filler: f, shape: shape, scaled: sc, seed: seed, free: make(chan *batch, ahead)}
	if shape[1:].Size() != f.set.size {
		return nil, fmt.Errorf("%w: the model takes %v, an example has shape %v", ErrData, shape, f.set.shape)
	}
	for range ahead {
		x, err := tensor.New(tensor.Float32, shape...)
		if err != nil {
			return nil, err
		}
		y, err := tensor.New(tensor.Int64, shape[0])
		if f.set.targets != nil {
			y, err = tensor.New(tensor.Float32, shape[0], 1)
		}
		if err != nil {
			return nil, err
		}
		l.free <- &batch{x: x, y: y}
	}
	return l, nil
}

// order returns the examples of an epoch in the order of training: it depends on the seed and the epoch alone.
func (l *loader) order(epoch int) []int {
	return rand.New(rand.NewPCG(l.seed, uint64(epoch)+1)).Perm(l.filler.set.Len())
}

// epoch sends the batches from first on, until the context ends; what is left over of less than a batch is left out of
// this epoch. The receiver gives each batch back to free. The channel is closed when the goroutine is done.
func (l *loader) epoch(ctx context.Context, epoch, first int) <-chan *batch {
	out := make(chan *batch, ahead)
	go func() {
		defer close(out)
		order, rows := l.order(epoch), l.shape[0]
		for k := first; (k+1)*rows <= len(order); k++ {
			var b *batch
			select {
			case b = <-l.free:
			case <-ctx.Done():
				return
			}
			l.write(b, order[k*rows:(k+1)*rows], epoch)
			out <- b // has room for all batches that there are
		}
	}()
	return out
}

func (l *loader) write(b *batch, examples []int, epoch int) {
	set, x := l.filler.set, tensor.Data[float32](b.x)
	for r, i := range examples {
		l.filler.fill(x[r*set.size:(r+1)*set.size], i, l.seed^uint64(epoch+1)<<32, uint64(i))
		if set.targets != nil {
			tensor.Data[float32](b.y)[r] = l.scaled.down(set.targets[i])
		} else {
			tensor.Data[int64](b.y)[r] = set.labels[i]
		}
	}
}
