package grid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// guard keeps puts within the disk and the grid's limits. It refuses them before the file system
// is full: a failed write freezes a stream until the server is restarted, and removals, which free
// room, need a little themselves.
type guard struct {
	g     *Grid
	rooms [2]atomic.Int64 // what may be written before it is measured again: durable, volatile
	full  [2]atomic.Pointer[error]

	measuring sync.Mutex
}

const (
	// thawTimeout bounds what follows the restart of the server.
	thawTimeout = time.Minute

	guardEvery = 250 * time.Millisecond
	// presentEvery is after how many of these the folder is looked at.
	presentEvery = 4
	// guardStep is the most that is written between two measurements.
	guardStep = 64 << 20
	// entryOverhead is about what an entry takes beyond its value.
	entryOverhead = 512
)

func newGuard(g *Grid) *guard { return &guard{g: g} }

func classIndex(class Class) int {
	if class == Volatile {
		return 1
	}
	return 0
}

// admit takes room for a write, or says why there is none.
func (d *guard) admit(class Class, size int) error {
	if !d.g.keeps() {
		return nil // the limits of those that keep the entries hold
	}
	i := classIndex(class)
	if d.rooms[i].Add(-int64(size)-entryOverhead) >= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(until(d.g.done), d.g.cfg.Timeout)
	defer cancel()
	if err := d.measure(ctx); err != nil {
		return err
	}
	if err := d.check(class); err != nil {
		return err
	}
	d.rooms[i].Add(-int64(size) - entryOverhead)
	return nil
}

// check returns why a class takes no puts.
func (d *guard) check(class Class) error {
	if e := d.full[classIndex(class)].Load(); e != nil {
		return *e
	}
	return nil
}

func (d *guard) set(class Class, room int64, why error) {
	i := classIndex(class)
	had := d.full[i].Load()
	if why == nil {
		d.rooms[i].Store(min(room, guardStep))
		d.full[i].Store(nil)
		if had != nil {
			d.g.cfg.Logger.Info("puts are taken again", "class", class)
		}
		return
	}
	d.rooms[i].Store(0)
	d.full[i].Store(&why)
	if had == nil {
		d.g.cfg.Logger.Error("puts are refused", "class", class, "reason", why)
	}
}

// measure looks at the disk and at what the server holds.
func (d *guard) measure(ctx context.Context) error {
	if !d.g.keeps() {
		return nil
	}
	d.measuring.Lock()
	defer d.measuring.Unlock()
	if err := d.present(); err != nil {
		d.set(Durable, 0, err)
		return nil
	}
	if why := d.g.server.frozen.Load(); why != nil {
		d.set(Durable, 0, fmt.Errorf("%w: a write to %s failed (%s); puts work again once there is space", ErrFull, d.g.server.dir, *why))
		return nil
	}
	info, err := d.g.used(ctx)
	if err != nil {
		return fmt.Errorf("ask what the grid uses: %w", apiError(err))
	}
	disk, memory := int64(math.MaxInt64), int64(math.MaxInt64)
	var diskWhy, memoryWhy error
	if !d.g.cfg.InMemory {
		free, size, err := freeBytes(d.g.server.dir)
		if err != nil {
			return err
		}
		reserve := diskReserve(size)
		if disk = free - reserve; disk <= 0 {
			diskWhy = fmt.Errorf("%w: the disk of %s has %d bytes left, of which %d are kept for removals", ErrFull, d.g.server.dir, free, reserve)
		}
		if limit := d.g.cfg.MaxBytes; limit > 0 {
			left := limit - int64(info.Store)
			disk = min(disk, left)
			if left <= 0 && diskWhy == nil {
				diskWhy = fmt.Errorf("%w: durable caches hold %d bytes, and grid.max_bytes is %d", ErrFull, info.Store, limit)
			}
		}
	}
	if limit := d.g.cfg.MaxMemory; limit > 0 {
		if memory = limit - int64(info.Memory); memory <= 0 {
			memoryWhy = fmt.Errorf("%w: caches in memory hold %d bytes, and grid.max_memory is %d", ErrFull, info.Memory, limit)
		}
	}
	if d.g.cfg.InMemory {
		disk, diskWhy = memory, memoryWhy
	}
	d.set(Durable, disk, diskWhy)
	d.set(Volatile, memory, memoryWhy)
	return nil
}

// usage is what the server in this process holds, in bytes.
type usage struct{ Store, Memory uint64 }

// used asks the server. In a cluster an account has what all of its nodes have, and a leader is needed to tell: the server itself is asked there.
func (g *Grid) used(ctx context.Context) (usage, error) {
	if g.alone() {
		info, err := g.js.AccountInfo(ctx)
		if err != nil {
			return usage{}, err
		}
		return usage{Store: info.Store, Memory: info.Memory}, nil
	}
	return g.server.usage()
}

// usage asks the server for what it has itself.
func (e *embedded) usage() (usage, error) {
	srv := e.running()
	if srv == nil {
		return usage{}, ErrUnavailable
	}
	info, err := srv.Jsz(nil)
	if err != nil {
		return usage{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return usage{Store: info.Store, Memory: info.Memory}, nil
}

// present returns why nothing can be kept: the folder is gone.
func (d *guard) present() error {
	d.g.mu.Lock()
	parts := d.g.classes[Durable]
	d.g.mu.Unlock()
	if err := d.g.server.present(parts); err != nil {
		return fmt.Errorf("%w: %w while the node runs; put it back, or stop the node and restore a backup: what is written now would be lost", ErrUnavailable, err)
	}
	return nil
}

// diskReserve is the part of a file system that puts leave free.
func diskReserve(size int64) int64 { return min(max(size/20, 1<<20), 256<<20) }

// froze is told of a failed write by the server's log, while the server holds locks.
func (d *guard) froze(why string) {
	err := fmt.Errorf("%w: a write to the disk failed: %s", ErrFull, why)
	d.set(Durable, 0, err)
	// Writes that the server will not answer are answered here. It holds locks now, so this does not wait.
	if d.g.asks != nil {
		go d.g.asks.fail(err, false)
	}
}

// run measures again while puts are refused, or the folder is gone, and thaws streams once there is space.
func (d *guard) run() {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ticker.C:
		case <-d.g.done:
			return
		}
		if d.check(Durable) == nil && d.check(Volatile) == nil && (d.g.server == nil || turn%presentEvery != 0 || d.present() == nil) {
			continue
		}
		ctx, cancel := context.WithTimeout(until(d.g.done), d.g.cfg.Timeout)
		err := d.recover(ctx)
		cancel()
		if err != nil && !d.g.isDone() && !errors.Is(err, context.Canceled) {
			d.g.cfg.Logger.Warn("room could not be measured", "error", err)
		}
	}
}

func (d *guard) recover(ctx context.Context) error {
	if !d.g.keeps() {
		return nil
	}
	if d.g.server.frozen.Load() == nil || d.present() != nil {
		return d.measure(ctx) // a restart of the server would begin an empty grid in place of a folder that is gone
	}
	free, size, err := freeBytes(d.g.server.dir)
	if err != nil {
		return err
	}
	if free < 2*diskReserve(size) {
		return nil
	}
	// After the server's restart frozen streams take writes. Connections and feeds find it again by themselves; volatile
	// caches begin empty.
	if err := d.g.server.restart(until(d.g.done)); err != nil {
		return fmt.Errorf("restart the server: %w", err)
	}
	ctx, cancel := context.WithTimeout(until(d.g.done), thawTimeout)
	defer cancel()
	if err := d.g.makeStreams(ctx); err != nil {
		return err
	}
	return d.measure(ctx)
}
