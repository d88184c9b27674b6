package native

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// maxIdleFrames is how many frames a plan keeps for the next runs.
const maxIdleFrames = 8

// frame takes a frame of a finished run of p, or makes one.
func (s *Session) frame(p *plan) (*frame, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		f := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		s.idle.Add(-int64(p.arena))
		return f, nil
	}
	p.mu.Unlock()
	return p.newFrame(s.pool)
}

func (p *plan) newFrame(pool *pool) (*frame, error) {
	f := &frame{t: make([]*tensor.Tensor, len(p.slots)), pool: pool}
	var base unsafe.Pointer
	if p.arena > 0 {
		mem := make([]uint64, p.arena/8+arenaAlign/8)
		base = unsafe.Pointer(unsafe.SliceData(mem))
		if off := uintptr(base) % arenaAlign; off != 0 {
			base = unsafe.Add(base, arenaAlign-off)
		}
	}
	for i := range p.slots {
		s := &p.slots[i]
		var err error
		switch s.kind {
		case slotConst:
			f.t[i] = s.t
		case slotPrivate:
			f.t[i], err = tensor.New(s.dtype, s.shape...)
		case slotArena:
			f.t[i], err = tensor.Overlay(s.dtype, unsafe.Slice((*byte)(unsafe.Add(base, s.offset)), s.shape.Size()*s.dtype.Size()), s.shape...)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// release keeps f for p's next run, and forgets the caller's tensors. Where a session then keeps too much, the plans that
// were made first give up their frames.
func (s *Session) release(p *plan, f *frame) {
	for i := range p.slots {
		if k := p.slots[i].kind; k == slotInput || k == slotOutput {
			f.t[i] = nil
		}
	}
	f.ctx, f.clock, f.product, f.conv, f.deep, f.convWeights = nil, nil, gemm.Product{}, gemm.ConvCall{}, gemm.IntegerDepthwiseCall{}, gemm.ConvWeightCall{}
	size, limit := int64(p.arena), s.e.cfg.MaxIdleBytes
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < maxIdleFrames && (len(p.idle) == 0 || s.idle.Load()+size <= limit)
	if keep {
		p.idle = append(p.idle, f)
		s.idle.Add(size)
	}
	p.mu.Unlock()
	if !keep {
		return
	}
	for _, other := range slices.Backward(*s.plans.Load()) {
		if s.idle.Load() <= limit {
			return
		}
		if other != p {
			s.dropIdle(other, false)
		}
	}
}

// dropIdle gives up the frames that wait for p, and keeps no more of them where p is forgotten.
func (s *Session) dropIdle(p *plan, forget bool) {
	p.mu.Lock()
	s.idle.Add(-int64(len(p.idle)) * int64(p.arena))
	clear(p.idle)
	p.idle, p.closed = p.idle[:0], p.closed || forget
	p.mu.Unlock()
}

// run computes out. Missing outputs are made and handed over only where everything went well.
func (p *plan) run(ctx context.Context, f *frame, in, out []*tensor.Tensor) (err error) {
	f.ctx = ctx
	for i := range p.slots {
		if s := &p.slots[i]; s.kind == slotInput {
			f.t[i] = in[s.index]
		}
	}
	var made uint64 // outputs that this run made, the first 64
	var rest []bool
	for i := range p.outs {
		o := &p.outs[i]
		t := out[i]
		if t == nil {
			if t, err = tensor.New(o.dtype, o.shapeOf(f.given)...); err != nil {
				return err
			}
			out[i] = t
			if i < 64 {
				made |= 1 << i
			} else {
				if rest == nil {
					rest = make([]bool, len(p.outs))
				}
				rest[i] = true
			}
		}
		if o.slot >= 0 {
			f.t[o.slot] = t
		}
	}
	ok := false
	defer func() {
		if ok {
			return
		}
		for i := range out {
			if i < 64 && made>>i&1 == 1 || i >= 64 && rest != nil && rest[i] {
				out[i] = nil
			}
		}
	}()
	if f.clock != nil {
		f.clock.start()
	}
	var node *pnode
	for i := range p.steps {
		s := &p.steps[i]
		if s.node != node {
			if err := ctx.Err(); err != nil {
				return err
			}
			node = s.node
		}
		if err := s.run(f); err != nil {
			return fmt.Errorf("node %s: %w", node.label(), err)
		}
		if f.clock != nil {
			f.clock.tick(node)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range p.outs {
		if from := p.outs[i].from; from >= 0 {
			copyTensor(out[i], f.t[from]) // which may have more rows
		}
	}
	ok = true
	return nil
}
