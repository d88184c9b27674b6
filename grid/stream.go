package grid

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// class returns the partitions of a class; it makes their streams when it is asked first.
func (g *Grid) class(ctx context.Context, class Class) ([]*partition, error) {
	g.making.Lock()
	defer g.making.Unlock()
	g.mu.Lock()
	parts, closed := g.classes[class], g.closed
	g.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if parts != nil {
		return parts, nil
	}
	parts, err := g.makeClass(ctx, class)
	if err != nil {
		return nil, err
	}
	return parts, g.owners.addClass(ctx, parts)
}

func (g *Grid) makeClass(ctx context.Context, class Class) ([]*partition, error) {
	parts := make([]*partition, g.partitions)
	for i := range parts {
		parts[i] = newPartition(g.cfg.Name, class, i)
		if err := g.patiently(ctx, func(ctx context.Context) error { return g.makeStream(ctx, parts[i]) }); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	g.classes[class] = parts
	g.mu.Unlock()
	return parts, nil
}

// makeStreams makes the streams of all classes that are in use where they are not there. What is asked while the connection is
// made anew gets no answer: it is asked again, within ctx.
func (g *Grid) makeStreams(ctx context.Context) error {
	g.mu.Lock()
	classes := maps.Clone(g.classes)
	g.mu.Unlock()
	for _, parts := range classes {
		for _, p := range parts {
			for {
				try, cancel := context.WithTimeout(ctx, streamTry)
				err := g.makeStream(try, p)
				cancel()
				if err == nil {
					break
				}
				if g.settleDown(ctx) != nil {
					return err
				}
			}
		}
	}
	return nil
}

// streamTry is how long one request for a stream waits after the server was restarted.
const streamTry = time.Second

// stream asks for a partition's stream.
func (g *Grid) stream(ctx context.Context, p *partition) (stream jetstream.Stream, err error) {
	err = g.askOfLeader(ctx, p.stream, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		if stream, err = g.js.Stream(ctx, p.stream); err != nil {
			return nil, err
		}
		return stream.CachedInfo(), nil
	})
	return stream, err
}

// subjects asks the leader of a stream which subjects below one it has, in any order.
func (g *Grid) subjects(ctx context.Context, stream, filter string) (names []string, err error) {
	err = g.askOfLeader(ctx, stream, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		s, err := g.js.Stream(ctx, stream)
		if err != nil {
			return nil, err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err == nil {
			names = slices.Collect(maps.Keys(info.State.Subjects))
		}
		return info, err
	})
	return names, err
}

// askOfLeader asks for a stream until its leader has answered. In a cluster nobody answers while its leader changes, or a replica that may lag does: it is asked again.
func (g *Grid) askOfLeader(ctx context.Context, stream string, ask func(context.Context) (*jetstream.StreamInfo, error)) error {
	for {
		try, cancel := ctx, func() {}
		if g.clustered() {
			try, cancel = context.WithTimeout(ctx, leaderTry)
		}
		info, err := ask(try)
		late := try.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil && ofLeader(info):
			return nil
		case err == nil:
			if g.settleDown(ctx) != nil {
				return fmt.Errorf("open stream %s: %w: its leader does not answer", stream, ErrUnavailable)
			}
		case !late:
			return fmt.Errorf("open stream %s: %w", stream, apiError(err))
		}
	}
}

// ofLeader reports whether what is said of a stream comes from its leader. Of a group that is younger than 10 s, or has no leader, another replica may answer too, by
// what it has itself: who answers is not among the replicas. A server that is being started names itself, and no replicas.
func ofLeader(info *jetstream.StreamInfo) bool {
	c := info.Cluster
	if c != nil && len(c.Replicas) == 0 && info.Config.Replicas > 1 {
		return false
	}
	return c == nil || c.Leader != "" && !slices.ContainsFunc(c.Replicas, func(r *jetstream.PeerInfo) bool { return r.Name == c.Leader })
}

// makeStream makes a partition's stream, or gives it today's settings. Where it begins is fixed when it is made: the server drops what is before
// a first sequence that is raised later.
func (g *Grid) makeStream(ctx context.Context, p *partition) error {
	for {
		have, err := g.js.Stream(ctx, p.stream)
		switch {
		case err == nil:
			config := have.CachedInfo().Config
			if g.clustered() && reflect.DeepEqual(config, g.settle(config, p, config.Replicas)) {
				p.made(have)
				return nil
			}
			var now jetstream.Stream
			to := g.streamConfig(p, config.FirstSeq, config.Replicas)
			to.Metadata = config.Metadata // it may say when the stream was born
			if now, err = g.js.UpdateStream(ctx, to); err == nil {
				p.made(now)
				return checkStream(now)
			}
			if errors.Is(err, jetstream.ErrStreamNotFound) { // it was lost in between
				continue
			}
		case errors.Is(err, jetstream.ErrStreamNotFound):
			if err := g.mayMake(p.stream); err != nil {
				return err
			}
			var first uint64
			if first, err = g.begins(ctx, p); err != nil {
				break
			}
			var made jetstream.Stream
			if made, err = g.js.CreateStream(ctx, g.streamConfig(p, first, 1)); err == nil {
				p.made(made)
				return checkStream(made)
			}
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
				continue
			}
		}
		return fmt.Errorf("make stream %s: %w", p.stream, apiError(err))
	}
}

// begins returns the first sequence of a stream that is made now, 0 for that of any. Those of volatile caches begin above what they had before
// a restart, one that was lost above what it had, and those of a new grid above what a store or a backup has that it is to take over.
func (g *Grid) begins(ctx context.Context, p *partition) (uint64, error) {
	if t := g.cfg.Taking; t != nil {
		return max(firstSequence(time.Now()), uint64(t.Above)+1), nil
	}
	apart := p.class == Volatile || g.alone() && g.server.lost(p.stream)
	if !apart && g.cfg.Tiers != nil {
		var err error
		if apart, err = g.cfg.Tiers.Apart(ctx, g.id); err != nil {
			return 0, err
		}
	}
	if !apart {
		return 0, nil
	}
	if g.alone() {
		if first, err := g.server.begun(p.stream); first != 0 || err != nil {
			return first, err
		}
	}
	return firstSequence(time.Now()), nil
}

// made notes what a partition's stream is like.
func (p *partition) made(s jetstream.Stream) {
	config := s.CachedInfo().Config
	p.first.Store(config.FirstSeq)
	p.replicas.Store(int32(config.Replicas))
}

// replicas is how many replicas a stream is to have that has so many.
func (g *Grid) replicas(have int) int {
	if g.cfg.Replicas != 0 {
		return g.cfg.Replicas
	}
	if grown := g.grown.Load(); grown != 0 {
		return int(grown)
	}
	return have
}

func (g *Grid) streamConfig(p *partition, first uint64, replicas int) jetstream.StreamConfig {
	return g.settle(jetstream.StreamConfig{Name: p.stream, FirstSeq: first}, p, replicas)
}

// settle gives a partition's stream its settings, and leaves the others as they are.
func (g *Grid) settle(c jetstream.StreamConfig, p *partition, replicas int) jetstream.StreamConfig {
	c.Description = fmt.Sprintf("Millrace grid, %s partition %d of %d", p.class, p.number, g.partitions)
	c.Subjects = []string{"$KV." + p.bucket + ".>"}
	c.Storage = g.storage(p.class)
	c.MaxMsgsPerSubject = 1
	c.Discard = jetstream.DiscardNew
	c.DenyDelete = true
	c.AllowRollup = true
	c.AllowDirect = true
	c.AllowMsgTTL = true
	c.AllowBatchPublish = true
	c.AllowAtomicPublish = true
	c.SubjectDeleteMarkerTTL = g.markerTTL
	c.Duplicates = duplicateWindow
	c.Replicas = g.replicas(replicas)
	return c
}
