package pipeline

import (
	"fmt"
	"sync"
	"time"
)

// A State is what a pipeline does at a moment.
type State string

// The states of a pipeline.
const (
	// Waiting for entries, or to begin: nothing is wrong.
	Waiting State = "waiting"
	// Running a batch: its run is under way, or its results are being stored.
	Running State = "running"
	// Paused by somebody, until it is resumed.
	Paused State = "paused"
	// Blocked by something outside: entries that come stay where they are until it is mended.
	Blocked State = "blocked"
)

// toBegin is what a pipeline waits for that does not run.
const toBegin = "the node to begin it"

// A Status says what a pipeline does at a moment.
type Status struct {
	State State
	// Reason is what it waits for, or what blocks it; empty while it runs.
	Reason string
	// Run is how long the run under way takes; 0 where none is.
	Run time.Duration
	// Version of the model that runs, or that made the last results; 0 before the first.
	Version int64
}

// board is where the goroutines of a pipeline note what they do. The status is made of it when it is asked for, so that it is true then.
type board struct {
	mu      sync.Mutex
	idle    string           // what it waits for where nothing else is noted
	needs   string           // what is missing for taking entries
	hangs   string           // why the model runs no more
	stuck   map[*byte]string // what keeps results from being stored, by who tries
	batches int              // taken and not done
	run     time.Time        // when the run under way began
	version int64
}

func (b *board) status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{State: Waiting, Reason: b.idle, Version: b.version}
	if b.batches > 0 {
		s.State, s.Reason = Running, ""
	}
	if !b.run.IsZero() {
		s.Run = max(1, time.Since(b.run))
	}
	if b.needs != "" {
		s.State, s.Reason = Blocked, b.needs
	}
	if b.hangs != "" {
		s.State, s.Reason = Blocked, b.hangs
	}
	for _, reason := range b.stuck {
		s.State, s.Reason = Blocked, "results cannot be stored: "+reason
	}
	return s
}

// waits notes what the pipeline waits for when it has nothing to do.
func (b *board) waits(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle = reason
}

// hang notes why the model runs no more, nothing where it does. It reports whether that is new.
func (b *board) hang(reason string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.hangs
	b.hangs = reason
	return old != reason
}

// need notes what is missing for taking entries, nothing where all is there. It reports whether that is new.
func (b *board) need(reason string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.needs
	b.needs = reason
	return old != reason
}

// taken counts a batch that the pipeline has begun, and done one that it is done with.
func (b *board) taken() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches++
}

func (b *board) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.batches--
}

// runs notes that a run of the model begins, and ran that it has ended.
func (b *board) runs(version int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.run, b.version = time.Now(), version
}

func (b *board) ran() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.run = time.Time{}
}

// made notes the version of a model that made results on another node.
func (b *board) made(version int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.version = version
}

// block notes what keeps who tries from storing results; nil takes it back. It reports whether that is new.
func (b *board) block(who *byte, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, was := b.stuck[who]
	if err == nil {
		delete(b.stuck, who)
		return was
	}
	if b.stuck == nil {
		b.stuck = map[*byte]string{}
	}
	b.stuck[who] = err.Error()
	return old != err.Error()
}

// stopped takes back what goroutines that have ended noted.
func (b *board) stopped() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idle, b.needs, b.hangs, b.stuck, b.batches, b.run = toBegin, "", "", nil, 0, time.Time{}
}

// Status says what the pipeline does now.
func (p *Pipeline) Status() Status { return p.board.status() }

// need notes what is missing, and says so in the log where that is new.
func (p *Pipeline) need(format string, args ...any) {
	if reason := fmt.Sprintf(format, args...); p.board.need(reason) {
		p.log.Warn("pipeline is blocked", "reason", reason)
	}
}
