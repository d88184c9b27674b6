package cold

import "hash/maphash"

// s3fifo is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): what is new is in a small queue and goes
// into the large one if it is used again before it comes to the end. The hashes of those that left the small one are remembered
// for a while: who comes back meanwhile goes into the large one at once.
type s3fifo struct {
	small, main list
	seed        maphash.Seed
	ghosts      map[uint64]struct{}
	order       []uint64 // of the ghosts, oldest first
}

const (
	// smallShare is the share of the small queue: one in so many.
	smallShare = 10
	// usesMax is how many uses count.
	usesMax = 3
)

func newS3FIFO() *s3fifo {
	return &s3fifo{small: list{of: inSmall}, main: list{of: inMain}, seed: maphash.MakeSeed(), ghosts: make(map[uint64]struct{})}
}

func (p *s3fifo) add(v *value) {
	v.uses = 0
	h := maphash.String(p.seed, v.key)
	if _, ok := p.ghosts[h]; ok {
		delete(p.ghosts, h)
		p.main.pushFront(v)
		return
	}
	p.small.pushFront(v)
}

func (p *s3fifo) touch(v *value) { v.uses = min(v.uses+1, usesMax) }

func (p *s3fifo) remove(v *value) { p.listOf(v).remove(v) }

func (p *s3fifo) listOf(v *value) *list {
	if v.in == inSmall {
		return &p.small
	}
	return &p.main
}

func (p *s3fifo) victim() *value {
	for {
		if p.small.len > 0 && (p.main.len == 0 || p.small.len*smallShare > p.small.len+p.main.len) {
			v := p.small.popBack()
			if v.uses > 0 {
				v.uses = 0
				p.main.pushFront(v)
				continue
			}
			p.remember(v)
			return v
		}
		v := p.main.popBack()
		if v == nil || v.uses == 0 {
			return v
		}
		v.uses--
		p.main.pushFront(v)
	}
}

func (p *s3fifo) putBack(v *value) {
	v.uses = 0
	p.main.pushBack(v)
}

// remember notes who left the small queue: as many as the large one has, and some.
func (p *s3fifo) remember(v *value) {
	h := maphash.String(p.seed, v.key)
	if _, ok := p.ghosts[h]; ok {
		return
	}
	p.ghosts[h] = struct{}{}
	p.order = append(p.order, h)
	for most := max(p.main.len, 64); len(p.order) > most; p.order = p.order[1:] {
		delete(p.ghosts, p.order[0])
	}
}
