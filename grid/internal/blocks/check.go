package blocks

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Report is what a stream's folder has.
type Report struct {
	Stream string
	// Dir is the stream's folder.
	Dir string
	// Blocks and Messages are how many were read whole; messages that were overwritten are among them.
	Blocks   int
	Messages int
	// Exact says that the server stopped in order: what was in the stream is known then, and so is what is missing.
	Exact bool
	// Torn says that the last write was not finished, as after a crash. It was never answered.
	Torn    bool
	Damages []Damage
}

// A Damage is what is wrong with one block of a stream.
type Damage struct {
	Block int
	// Missing says that there is no such file.
	Missing bool
	// Lost are the messages that cannot be read. It is empty where only what had been overwritten is damaged.
	Lost []Lost
}

// Lost is a message that cannot be read.
type Lost struct {
	Seq  uint64
	Time int64 // about when it was written, in Unix nanoseconds; 0 where nothing is known of that
	// Subject is empty where it is not known.
	Subject string
}

// Lost counts the messages of a stream that cannot be read.
func (r Report) Lost() (n int) {
	for _, d := range r.Damages {
		n += len(d.Lost)
	}
	return n
}

// Check reads every record of a stream's folder and changes nothing. Plausible says of a subject that a damaged record seems to have whether the
// stream can have it. The server must not have the folder open.
func Check(dir, stream string, plausible func(subject string) bool) (Report, error) {
	c := &check{dir: dir, stream: stream, plausible: plausible}
	out := Report{Stream: stream, Dir: dir}
	numbers, err := c.files()
	if err != nil {
		return out, err
	}
	if c.state, err = readState(dir, stream); err != nil {
		return out, err
	}
	if err := c.dropStale(numbers); err != nil {
		return out, err
	}
	out.Exact = c.state != nil
	var bad []int
	for i, n := range numbers {
		one, err := c.read(n, i == len(numbers)-1)
		if err != nil {
			return out, err
		}
		out.Blocks++
		out.Messages += one.messages
		out.Torn = out.Torn || one.torn
		if one.bad {
			bad = append(bad, n)
			out.Damages = append(out.Damages, Damage{Block: n, Lost: one.lost})
		}
	}
	if c.state != nil {
		out.Damages, err = c.exact(numbers, bad)
	} else {
		err = c.dropOverwritten(numbers, out.Damages)
	}
	return out, err
}

// dropOverwritten takes what has a newer message of its subject off the lost.
func (c *check) dropOverwritten(numbers []int, damages []Damage) error {
	newest := map[string]uint64{}
	for _, d := range damages {
		for _, l := range d.Lost {
			newest[l.Subject] = 0
		}
	}
	delete(newest, "")
	if len(newest) == 0 {
		return nil
	}
	for _, n := range numbers {
		s, b, err := c.load(n)
		if err != nil {
			return err
		}
		s.scan(b, func(r record) {
			if seq, ok := newest[string(r.subject)]; ok && !r.note {
				newest[string(r.subject)] = max(seq, r.seq)
			}
		})
	}
	for i, d := range damages {
		damages[i].Lost = slices.DeleteFunc(d.Lost, func(l Lost) bool { return l.Subject != "" && newest[l.Subject] > l.Seq })
	}
	return nil
}

// check is one run of Check.
type check struct {
	dir, stream string
	plausible   func(string) bool
	state       *state // nil where it is not of the present files
	buf         []byte
	last        uint64 // the last sequence so far
}

// files returns the numbers of the blocks that are there.
func (c *check) files() ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(c.dir, "msgs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the blocks of stream %s: %w", c.stream, err)
	}
	var out []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".blk")
		if n, err := strconv.ParseUint(name, 10, 32); ok && err == nil {
			out = append(out, int(n))
		}
	}
	slices.Sort(out)
	return out, nil
}

func blockFile(dir string, n int) string {
	return filepath.Join(dir, "msgs", strconv.Itoa(n)+".blk")
}

// dropStale forgets what the server knew where it wrote more since.
func (c *check) dropStale(numbers []int) error {
	if c.state == nil {
		return nil
	}
	if len(numbers) > 0 && numbers[len(numbers)-1] > c.state.final {
		c.state = nil
		return nil
	}
	b, err := os.ReadFile(blockFile(c.dir, c.state.final))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is missing
	}
	if err != nil {
		return fmt.Errorf("read block %d of stream %s: %w", c.state.final, c.stream, err)
	}
	if len(b) >= sumSize && !bytes.Equal(b[len(b)-sumSize:], c.state.sum) && !c.shorter(b) {
		c.state = nil
	}
	return nil
}

// shorter reports whether the last block, which does not end as the server left it, has lost its end: nothing in it is newer than what the server
// knew.
func (c *check) shorter(b []byte) bool {
	s, err := newSums(c.stream, c.state.final)
	if err != nil {
		return false
	}
	newest, sum := uint64(0), false
	s.scan(b, func(r record) {
		newest = max(newest, r.seq)
		sum = sum || bytes.Equal(b[r.to-sumSize:r.to], c.state.sum)
	})
	return newest < c.state.last && !sum
}

// found is what is in a block.
type found struct {
	messages int
	bad      bool
	torn     bool
	lost     []Lost // as its own records tell
}

// load reads a block's file; what it returns holds until the next.
func (c *check) load(n int) (sums, []byte, error) {
	s, err := newSums(c.stream, n)
	if err != nil {
		return s, nil, err
	}
	f, err := os.Open(blockFile(c.dir, n))
	if err != nil {
		return s, nil, fmt.Errorf("read block %d of stream %s: %w", n, c.stream, err)
	}
	defer f.Close()
	b := bytes.NewBuffer(c.buf[:0])
	if _, err := b.ReadFrom(f); err != nil {
		return s, nil, fmt.Errorf("read block %d of stream %s: %w", n, c.stream, err)
	}
	c.buf = b.Bytes()
	return s, c.buf, nil
}

func (c *check) read(n int, final bool) (found, error) {
	s, b, err := c.load(n)
	if err != nil {
		return found{}, err
	}
	var out found
	type place struct {
		at  int
		seq uint64
	}
	var seen []place // of messages, by where they end
	live := 0
	before := c.last
	gaps := s.scan(b, func(r record) {
		if r.note {
			return
		}
		out.messages++
		seen = append(seen, place{r.to, r.seq})
		c.last = max(c.last, r.seq)
		if c.state != nil && c.state.blocks[n].live(r.seq) {
			live++
		}
	})
	for _, g := range gaps {
		if g.torn && final && c.state == nil {
			out.torn = true
			continue
		}
		out.bad = true
		low, high := before, uint64(math.MaxUint64)
		for _, p := range seen {
			if p.at <= g.from {
				low = max(low, p.seq)
			} else if p.seq > low {
				high = min(high, p.seq)
			}
		}
		lost := c.guess(g, low, high)
		for _, l := range lost {
			c.last = max(c.last, l.Seq)
		}
		out.lost = append(out.lost, lost...)
	}
	if c.state != nil && live < c.state.blocks[n].count() {
		out.bad = true
	}
	return out, nil
}

// count is how many messages a block had.
func (b blockState) count() (n int) {
	if b.last < b.first {
		return 0
	}
	n = int(b.last - b.first + 1)
	if b.deleted != nil {
		b.deleted.Range(func(seq uint64) bool {
			if seq >= b.first && seq <= b.last {
				n--
			}
			return true
		})
	}
	return n
}

// guess says what was in a gap between two sequences, as far as its bytes tell.
func (c *check) guess(g gap, low, high uint64) (out []Lost) {
	for _, r := range g.guesses {
		if r.to-r.from == emptySize && len(r.subject) == 0 {
			continue // a removal, or what was erased: no message
		}
		l := Lost{Seq: r.seq, Time: r.time, Subject: string(r.subject)}
		if r.seq <= low || r.seq >= high || r.note {
			if l.Seq, l.Time = low+1, 0; l.Seq >= high {
				continue
			}
		}
		if !c.plausible(l.Subject) {
			l.Subject = ""
		}
		low = l.Seq
		out = append(out, l)
	}
	if len(g.guesses) == 0 {
		// All that is missing between two records may have been here, as far as there was room.
		most := uint64((g.to - g.from) / emptySize)
		if high == math.MaxUint64 {
			most = min(most, 1)
		}
		for seq := low + 1; seq < high && seq <= low+most; seq++ {
			out = append(out, Lost{Seq: seq})
		}
	}
	return out
}

// exact says what is lost by what the server knew: each message that is not there, with its subject.
func (c *check) exact(numbers, bad []int) ([]Damage, error) {
	damages := map[int]*Damage{}
	for _, n := range bad {
		damages[n] = &Damage{Block: n}
	}
	for n, b := range c.state.blocks {
		if !slices.Contains(numbers, n) && b.count() > 0 {
			damages[n] = &Damage{Block: n, Missing: true}
		}
	}
	if len(damages) == 0 {
		return nil, nil
	}
	there, guesses := map[string]bool{}, map[string]record{}
	lost := map[int][]uint64{}
	for n, b := range c.state.blocks {
		have := map[uint64]bool{}
		if slices.Contains(numbers, n) {
			s, bytes, err := c.load(n)
			if err != nil {
				return nil, err
			}
			gaps := s.scan(bytes, func(r record) {
				if !r.note && b.live(r.seq) {
					there[string(r.subject)] = true
					have[r.seq] = true
				}
			})
			for _, g := range gaps {
				for _, r := range g.guesses {
					guesses[string(r.subject)] = r
				}
			}
		}
		if damages[n] == nil {
			continue
		}
		for seq := b.first; seq <= b.last; seq++ {
			if b.live(seq) && !have[seq] {
				lost[n] = append(lost[n], seq)
			}
		}
	}
	subjects := map[int][]string{}
	for subject, n := range c.state.subjects {
		if !there[subject] {
			subjects[n] = append(subjects[n], subject)
		}
	}
	for n, d := range damages {
		slices.Sort(subjects[n])
		d.Lost = pair(lost[n], subjects[n], guesses, c.state.blocks[n].time)
	}
	return slices.SortedFunc(func(yield func(Damage) bool) {
		for _, d := range damages {
			if !yield(*d) {
				return
			}
		}
	}, func(a, b Damage) int { return cmp.Compare(a.Block, b.Block) }), nil
}

// pair gives each lost sequence a lost subject: its own where a record tells it, else one of those that are left. Which one makes no difference to
// who asks for the key.
func pair(lost []uint64, subjects []string, guesses map[string]record, time int64) []Lost {
	by := map[uint64]Lost{}
	var rest []string
	for _, s := range subjects {
		g, ok := guesses[s]
		if _, taken := by[g.seq]; ok && !taken && slices.Contains(lost, g.seq) {
			by[g.seq] = Lost{Seq: g.seq, Time: g.time, Subject: s}
			continue
		}
		rest = append(rest, s)
	}
	for _, seq := range lost {
		if _, ok := by[seq]; ok {
			continue
		}
		l := Lost{Seq: seq, Time: time}
		if len(rest) > 0 {
			l.Subject, rest = rest[0], rest[1:]
		}
		by[seq] = l
	}
	return slices.SortedFunc(maps.Values(by), func(a, b Lost) int { return cmp.Compare(a.Seq, b.Seq) })
}
