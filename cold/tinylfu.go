package cold

import (
	"hash/maphash"
	"math/bits"
)

// tinyLFU is W-TinyLFU (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017): what is new is in
// a small window, in the order of use. Who leaves that is a candidate for the main part, against the one that would leave there: who was used
// less often lately goes. The main part has two lists: who is used in probation is protected, and who was not for long is in probation
// again.
type tinyLFU struct {
	window, candidates, probation, protected list

	// full is set once a victim was asked for: before, there is room for all in the main part.
	full   bool
	sketch sketch
}

const (
	// windowShare is the share of the window: one in so many.
	windowShare = 100
	// protectedShare is how much of the main part is protected, in percent.
	protectedShare = 80
)

// The lists of tinyLFU.
const (
	inWindow    = inSmall
	inProbation = inMain
	inCandidate = inParked + 1
)

func newTinyLFU() *tinyLFU {
	return &tinyLFU{
		window: list{of: inWindow}, candidates: list{of: inCandidate}, probation: list{of: inProbation}, protected: list{of: inProtected},
		sketch: newSketch(1024),
	}
}

func (p *tinyLFU) len() int {
	return p.window.len + p.candidates.len + p.probation.len + p.protected.len
}

func (p *tinyLFU) add(v *value) {
	p.sketch.reserve(p.len() + 1)
	p.sketch.count(v.key)
	p.window.pushFront(v)
	for p.window.len > max(1, p.len()/windowShare) {
		v := p.window.popBack()
		if p.full {
			p.candidates.pushFront(v)
		} else {
			p.probation.pushFront(v)
		}
	}
}

func (p *tinyLFU) touch(v *value) {
	p.sketch.count(v.key)
	switch v.in {
	case inWindow:
		p.window.remove(v)
		p.window.pushFront(v)
	case inCandidate:
		p.candidates.remove(v)
		p.probation.pushFront(v)
	default:
		p.listOf(v).remove(v)
		p.protected.pushFront(v)
		for p.protected.len > (p.protected.len+p.probation.len)*protectedShare/100 && p.protected.len > 1 {
			p.probation.pushFront(p.protected.popBack())
		}
	}
}

func (p *tinyLFU) remove(v *value) { p.listOf(v).remove(v) }

func (p *tinyLFU) listOf(v *value) *list {
	switch v.in {
	case inWindow:
		return &p.window
	case inCandidate:
		return &p.candidates
	case inProtected:
		return &p.protected
	default:
		return &p.probation
	}
}

func (p *tinyLFU) victim() *value {
	p.full = true
	if candidate := p.candidates.popBack(); candidate != nil {
		v := p.probation.back
		if v == nil {
			v = p.protected.back
		}
		// Where both were used alike, the older one goes.
		if v == nil || p.sketch.uses(candidate.key) < p.sketch.uses(v.key) {
			return candidate
		}
		p.probation.pushFront(candidate)
		p.remove(v)
		return v
	}
	for _, l := range []*list{&p.probation, &p.protected, &p.window} {
		if v := l.popBack(); v != nil {
			return v
		}
	}
	return nil
}

func (p *tinyLFU) putBack(v *value) { p.probation.pushBack(v) }

// sketch counts uses approximately: four rows of counters of 4 bits, which are halved when as many uses were counted as ten times the number of
// keys, so that it forgets.
type sketch struct {
	seed  maphash.Seed
	words []uint64 // 16 counters each
	added int
}

const sketchRows = 4

// newSketch makes one for so many keys.
func newSketch(keys int) sketch {
	words := 1 << bits.Len(uint(max(keys, 16)-1)/4) // 4 counters a key and row
	return sketch{seed: maphash.MakeSeed(), words: make([]uint64, words)}
}

// reserve makes room for so many keys; what was counted is lost where that needs more.
func (s *sketch) reserve(keys int) {
	if keys > s.keys() {
		*s = newSketch(2 * keys)
	}
}

func (s *sketch) keys() int { return len(s.words) * 4 }

// at is where a key's counter of a row is.
func (s *sketch) at(hash uint64, row int) (word *uint64, shift uint) {
	h := hash + uint64(row)*(hash>>32|1)
	return &s.words[h&uint64(len(s.words)-1)], uint(row*4+int(h>>60&3)) * 4
}

func (s *sketch) count(key string) {
	hash := maphash.String(s.seed, key)
	added := false
	for row := range sketchRows {
		word, shift := s.at(hash, row)
		if *word>>shift&15 < 15 {
			*word += 1 << shift
			added = true
		}
	}
	if !added {
		return
	}
	if s.added++; s.added >= 10*s.keys() {
		for i := range s.words {
			s.words[i] = s.words[i] >> 1 & 0x7777777777777777
		}
		s.added /= 2
	}
}

func (s *sketch) uses(key string) uint64 {
	hash := maphash.String(s.seed, key)
	least := uint64(15)
	for row := range sketchRows {
		word, shift := s.at(hash, row)
		least = min(least, *word>>shift&15)
	}
	return least
}
