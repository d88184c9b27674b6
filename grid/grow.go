package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Growing says how a node alone gives its grid to a cluster.
type Growing struct {
	// Offer is what a node of the cluster says of it.
	Offer Offer
	// Dial connects to any node of the cluster, as its Intake does. It is called as long as the grid is open.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// Note is kept in the folder, for Config.Resolve.
	Note json.RawMessage
	// Hold is how long writes may be held for the cluster to have all; 0 is half a second. Where nobody writes it may be long, which a busy machine needs.
	Hold time.Duration
	// Progress is told what happens; nil for nobody. It must not block.
	Progress func(GrowProgress)
}

// GrowProgress is how far a grid is on its way into a cluster.
type GrowProgress struct {
	// Step is what is done now.
	Step GrowStep `json:"step"`
	// Messages are how many the streams have, and Copied how many of them the cluster has.
	Messages uint64 `json:"messages"`
	Copied   uint64 `json:"copied"`
	// Partitions are how many the grid has, and Moved how many of them nodes of the cluster look after.
	Partitions int `json:"partitions"`
	Moved      int `json:"moved"`
	// Reason is why it does not go on at the moment; "" where it does.
	Reason string `json:"reason,omitempty"`
	// Pause is how long writes waited.
	Pause time.Duration `json:"pause,omitempty"`
}

// GrowStep is a step of that way.
type GrowStep string

// The steps, in their order.
const (
	GrowConnects  GrowStep = "connecting"
	GrowCopying   GrowStep = "copying"
	GrowSwitching GrowStep = "switching"
	GrowMoving    GrowStep = "moving"
	GrowDone      GrowStep = "done"
)

const (
	// growEvery is how often the mirrors are looked at.
	growEvery = 100 * time.Millisecond
	// growMark is how often each stream gets a message that shows how far its mirror is: what is at a stream's end may have expired.
	growMark = time.Second
	// growNear is how many messages the mirrors may be behind when writes are held.
	growNear = 2000
	// holdFor is how long writes are held for the mirrors to have all; then they go on, and it is tried again after holdAgain.
	holdFor   = 500 * time.Millisecond
	holdAgain = time.Second
	// mirrorBeats is how long a mirror hears nothing where nobody sends it anything: streams send heartbeats once a second. nudgeAfter is how long one may be silent that has
	// just been made or seen, and nudgeAgain how long another node has for it.
	mirrorBeats = 3 * time.Second
	nudgeAfter  = 3 * time.Second
	nudgeAgain  = 10 * time.Second
	// markToken ends the subject of that message.
	markToken = "grow"
)

// growing is what a grid has of its way into a cluster.
type growing struct {
	once     sync.Mutex // held while it is on its way, and while the grid is being shut
	deleting sync.RWMutex
	copies   bool // under deleting: mirrors would keep what is purged

	mu     sync.Mutex
	bridge *bridge
}

// deletes begins the deletion of a cache, which the caller ends.
func (w *growing) deletes() (ended func(), err error) {
	w.deleting.RLock()
	if w.copies {
		w.deleting.RUnlock()
		return nil, fmt.Errorf("%w: the grid is going over to a cluster; delete it there, or when that is done", ErrUnavailable)
	}
	return w.deleting.RUnlock, nil
}

func (w *growing) setCopies(on bool) {
	w.deleting.Lock()
	w.copies = on
	w.deleting.Unlock()
}

func (w *growing) close() {
	w.mu.Lock()
	b := w.bridge
	w.bridge = nil
	w.mu.Unlock()
	if b != nil {
		b.close()
	}
}

// grower takes a grid over to a cluster.
type grower struct {
	g    *Grid
	with Growing
	nc   *nats.Conn
	// far is JetStream in the cluster, near that in this process, whatever clients in it are led to.
	far, near jetstream.JetStream
	state     growState
	rev       uint64
	progress  GrowProgress
	marked    time.Time
	// nudges are the mirrors that are silent, and when another node is to look after each.
	nudges map[string]time.Time
}

// Grow gives the grid of a node alone, which goes on, to a cluster whose nodes wait for it. Reads do not stop, writes wait for less than a second. It returns
// when the cluster has the grid and its nodes look after all partitions; this node then is a door to it. It can be cut short at any time, also by a
// crash, and called again; a context that ends stops it where the cluster has nothing yet.
func (g *Grid) Grow(ctx context.Context, with Growing) error {
	if !g.growing.once.TryLock() {
		return fmt.Errorf("%w: the grid is on its way already", ErrUnavailable)
	}
	defer g.growing.once.Unlock()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(until(g.done), stop)()
	if g.grown.Load() != 0 {
		w := &grower{g: g, with: with, progress: GrowProgress{Partitions: g.partitions}}
		return w.move(ctx)
	}
	if err := g.mayGrow(with.Offer); err != nil {
		return err
	}
	w := &grower{g: g, with: with, progress: GrowProgress{Step: GrowConnects, Partitions: g.partitions}, nudges: map[string]time.Time{}}
	g.growing.setCopies(true)
	err := w.run(ctx)
	g.growing.setCopies(false)
	if w.nc != nil {
		w.nc.Close()
	}
	if err != nil && g.grown.Load() == 0 {
		w.giveUp()
	}
	if err != nil {
		return fmt.Errorf("grow into the cluster %s: %w", with.Offer.Cluster, err)
	}
	return w.move(ctx)
}

// mayGrow returns why the grid cannot go over to a cluster.
func (g *Grid) mayGrow(o Offer) error {
	switch {
	case !g.alone() || g.server.lock == nil:
		return fmt.Errorf("%w: it is not the grid of a node alone, with a folder of its own", ErrConfig)
	case o.Cluster == "" || o.Password == "" || !slices.Contains([]int{1, 3, 5}, o.Replicas):
		return fmt.Errorf("%w: the cluster's offer is not complete", ErrConfig)
	case o.Grid != g.cfg.Name:
		return fmt.Errorf("%w: grid.name is %s here and %s in the cluster", ErrConfig, g.cfg.Name, o.Grid)
	case o.Format != formatVersion:
		return fmt.Errorf("%w: the grid has version %d here and %d in the cluster; use the same program", ErrFormat, formatVersion, o.Format)
	case o.Partitions != 0 && o.Partitions != g.partitions:
		return fmt.Errorf("%w: the grid has %d partitions, and grid.partitions is %d in the cluster; leave it out there", ErrConfig, g.partitions, o.Partitions)
	case len(g.Damages()) > 0:
		return fmt.Errorf("%w: files of this grid were damaged; restart the node first", ErrUnavailable)
	}
	return g.guard.check(Durable)
}

func (w *grower) tell(step GrowStep) {
	w.progress.Step = step
	if w.with.Progress != nil {
		w.with.Progress(w.progress)
	}
}

// run brings the grid to where the cluster has it.
func (w *grower) run(ctx context.Context) error {
	w.tell(GrowConnects)
	if err := w.connect(ctx); err != nil {
		return err
	}
	if err := w.patiently(ctx, w.claim); err != nil {
		return err
	}
	for {
		if err := w.copy(ctx); err != nil {
			return err
		}
		w.tell(GrowSwitching)
		done, err := w.turn(ctx)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-time.After(holdAgain):
		}
	}
}

// patiently repeats what fails for as long as the cluster has no leader, or not the nodes that it needs.
func (w *grower) patiently(ctx context.Context, do func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, patience)
		err := do(try)
		cancel()
		if err == nil || !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		w.because(err)
		select {
		case <-ctx.Done():
			return errors.Join(err, contextError(ctx))
		case <-time.After(growEvery):
		}
	}
}

// because tells what is waited for; nil for nothing.
func (w *grower) because(err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if reason != w.progress.Reason {
		w.g.cfg.Logger.Debug("growing", "step", w.progress.Step, "waits_because", reason)
		w.progress.Reason = reason
		w.tell(w.progress.Step)
	}
}

// connect makes the way to the cluster.
func (w *grower) connect(ctx context.Context) error {
	g := w.g
	g.growing.close()
	b, err := newBridge(w.with.Dial)
	if err != nil {
		return err
	}
	g.growing.mu.Lock()
	g.growing.bridge = b
	g.growing.mu.Unlock()
	if err := w.join(ctx, b); err != nil {
		return err
	}
	if w.nc, err = g.connect("grow"); err != nil {
		return err
	}
	if w.far, err = jetstream.NewWithDomain(w.nc, clusterDomain); err == nil {
		w.near, err = jetstream.NewWithDomain(w.nc, aloneDomain)
	}
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	return nil
}

// join returns when the server in this process has a connection to the cluster.
func (w *grower) join(ctx context.Context, b *bridge) error {
	joining, cancel := context.WithTimeout(ctx, leafTime)
	defer cancel()
	for {
		if err := w.g.server.join(b, w.with.Offer.Password); err != nil {
			return err
		}
		try, cancel := context.WithTimeout(joining, leafTry)
		err := w.g.server.joined(try, b)
		cancel()
		if err == nil || joining.Err() != nil {
			return err
		}
		if err := w.g.server.leave(); err != nil {
			return err
		}
	}
}

// giveUp undoes what was done on this side.
func (w *grower) giveUp() {
	if err := w.g.server.leave(); err != nil && !errors.Is(err, ErrUnavailable) {
		w.g.cfg.Logger.Warn("leave the cluster", "error", err)
	}
	w.g.growing.close()
}

// claim notes in the cluster that this opening of this grid is what it copies. Mirrors of an earlier opening are removed: a crash of the machine may have taken
// something from its streams that the mirrors have.
func (w *grower) claim(ctx context.Context) error {
	g := w.g
	if _, err := w.far.CreateOrUpdateStream(ctx, noteOf(g.cfg.Name, w.with.Offer.Replicas)); err != nil {
		return fmt.Errorf("make the cluster's note: %w", apiError(err))
	}
	s, rev, err := readGrow(ctx, w.far, g.cfg.Name)
	if err != nil {
		return err
	}
	switch {
	case rev != 0 && s.Source != g.id:
		return fmt.Errorf("%w: the cluster has the grid of another node, or a part of it; start its nodes on new folders to take this one", ErrConfig)
	case s.Phase == growPromotes || s.Phase == growDone:
		return fmt.Errorf("%w: the cluster has this grid already, and this node goes on beside it; stop it", ErrConfig)
	}
	meta, err := w.far.Stream(ctx, "KV_"+g.metaBucket())
	if err == nil && meta.CachedInfo().Config.Mirror == nil {
		return fmt.Errorf("%w: the cluster has a grid of its own; start its nodes on new folders with cluster.grow: true", ErrConfig)
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("look at the cluster's streams: %w", apiError(err))
	}
	if s.Node != g.node {
		if err := w.dropMirrors(ctx); err != nil {
			return err
		}
	}
	w.state = growState{Source: g.id, Node: g.node, Phase: growCopies}
	w.rev, err = writeGrow(ctx, w.far, g.cfg.Name, w.state, rev)
	return err
}

func (w *grower) dropMirrors(ctx context.Context) error {
	list := w.far.ListStreams(ctx)
	var names []string
	for info := range list.Info() {
		of, ours := strings.CutPrefix(info.Config.Name, "KV_"+w.g.cfg.Name)
		if ours && info.Config.Mirror != nil && (of == "-meta" || strings.HasPrefix(of, "-d-") || strings.HasPrefix(of, "-v-")) {
			names = append(names, info.Config.Name)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("look at the cluster's streams: %w", apiError(err))
	}
	for _, name := range names {
		if err := w.far.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove the mirror %s: %w", name, apiError(err))
		}
	}
	return nil
}
