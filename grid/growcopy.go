package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// copied is one stream on its way.
type copied struct {
	name string
	p    *partition // nil for the grid's description
	// config is what it becomes.
	config jetstream.StreamConfig
	// last is where the stream ends, and has where its mirror does.
	last, has, messages uint64
	// silent says that the mirror has heard nothing of the stream for mirrorBeats, or never.
	silent bool
}

// streams returns those of the grid, as they are now.
func (w *grower) streams(ctx context.Context) ([]*copied, error) {
	g := w.g
	out := []*copied{{name: "KV_" + g.metaBucket()}}
	g.mu.Lock()
	for _, parts := range g.classes {
		for _, p := range parts {
			out = append(out, &copied{name: p.stream, p: p})
		}
	}
	g.mu.Unlock()
	var asking errgroup.Group
	asking.SetLimit(promotions)
	for _, c := range out {
		asking.Go(func() error {
			s, err := w.near.Stream(ctx, c.name)
			if err != nil {
				return fmt.Errorf("open stream %s: %w", c.name, apiError(err))
			}
			c.config = promoted(s, w.with.Offer.Replicas)
			c.last, c.messages = s.CachedInfo().State.LastSeq, s.CachedInfo().State.Msgs
			return nil
		})
	}
	return out, asking.Wait()
}

// copy returns when the mirrors of all streams have about all that there is, and all that lack something hear of their streams.
func (w *grower) copy(ctx context.Context) error {
	for {
		all, err := w.streams(ctx)
		if err != nil {
			return err
		}
		if time.Since(w.marked) >= growMark {
			w.marked = time.Now()
			if err := w.markAll(ctx, all); err != nil {
				return err
			}
		}
		behind, err := w.look(ctx, all)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			return err
		}
		w.because(err) // a node of the cluster may have died: the others go on
		if err == nil {
			w.nudge(ctx, all)
		}
		w.tell(GrowCopying)
		deaf := slices.ContainsFunc(all, func(c *copied) bool { return c.silent && c.has < c.last })
		if err == nil && behind <= growNear && !deaf {
			return nil
		}
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-time.After(growEvery):
		}
	}
}

// look asks how far the mirrors are, and makes those that are missing. It returns how many messages they are behind together.
func (w *grower) look(ctx context.Context, all []*copied) (behind uint64, err error) {
	if err := w.ask(ctx, all); err != nil {
		return 0, err
	}
	w.progress.Messages, w.progress.Copied = 0, 0
	for _, c := range all {
		w.progress.Messages += c.messages
		missing := c.last - min(c.has, c.last)
		w.progress.Copied += c.messages - min(missing, c.messages)
		behind += min(missing, c.messages)
		if c.has == 0 {
			behind += growNear + 1 // nothing has come yet
		}
	}
	return behind, nil
}

// ask notes how far the mirrors of some streams are, and makes those that are missing.
func (w *grower) ask(ctx context.Context, some []*copied) error {
	ctx, cancel := context.WithTimeout(ctx, w.g.cfg.Timeout)
	defer cancel()
	var asking errgroup.Group
	asking.SetLimit(promotions)
	for _, c := range some {
		asking.Go(func() error {
			for {
				if err := w.askOne(ctx, c); ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
			}
		})
	}
	return asking.Wait()
}

// askOne is ask for one stream. A question whose answer was lost, since the mirror's leader changed, is over after leaderTry.
func (w *grower) askOne(ctx context.Context, c *copied) error {
	ctx, cancel := context.WithTimeout(ctx, leaderTry)
	defer cancel()
	s, err := w.far.Stream(ctx, c.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = w.far.CreateStream(ctx, mirrorOf(c.config))
	}
	if err != nil {
		return fmt.Errorf("%w: mirror %s: %w", ErrUnavailable, c.name, err)
	}
	info := s.CachedInfo()
	if info.Config.Mirror == nil {
		return fmt.Errorf("%w: the cluster has a stream %s of its own", ErrConfig, c.name)
	}
	c.has = info.State.LastSeq
	c.silent = info.Mirror == nil || info.Mirror.Active < 0 || info.Mirror.Active > mirrorBeats
	return nil
}

// nudge has another node ask for the stream of each mirror that stays silent. The server waits 30 s for the answer to that question, which may have been lost where an
// earlier try was interrupted, and 10 s more before it asks again; a node that begins to lead a mirror asks at once.
func (w *grower) nudge(ctx context.Context, all []*copied) {
	var nudging errgroup.Group
	nudging.SetLimit(promotions)
	now := time.Now()
	for _, c := range all {
		if !c.silent {
			delete(w.nudges, c.name)
			continue
		}
		if when, ok := w.nudges[c.name]; !ok {
			w.nudges[c.name] = now.Add(nudgeAfter)
			continue
		} else if now.Before(when) {
			continue
		}
		w.nudges[c.name] = now.Add(nudgeAgain)
		nudging.Go(func() error {
			err := stepDown(ctx, w.nc, clusterAPI+strings.TrimPrefix(stepDownSubject, "$JS.API.")+c.name, "")
			w.g.cfg.Logger.Debug("a mirror hears nothing of its stream; another node is to ask for it", "stream", c.name, "error", err)
			return nil
		})
	}
	// Its functions return no error: what did not work is tried again.
	_ = nudging.Wait()
}

// markAll writes a message to each stream that is at its end for a moment.
func (w *grower) markAll(ctx context.Context, all []*copied) error {
	var marking errgroup.Group
	marking.SetLimit(promotions)
	for _, c := range all {
		marking.Go(func() error { return w.mark(ctx, c) })
	}
	return marking.Wait()
}

// mark writes that message, which goes to this node's stream whatever its clients are led to: its sequence is where the stream ends. In a stream that
// carries a lease that is the message, for whoever follows the lease later.
func (w *grower) mark(ctx context.Context, c *copied) error {
	g := w.g
	m := &nats.Msg{Subject: aloneAPI + "$KV." + c.name[len("KV_"):] + "." + markToken, Data: []byte("{}"), Header: nats.Header{}}
	var l *lease
	if c.p != nil {
		m.Subject = aloneAPI + c.p.subject(reserved, markToken)
		m.Header.Set(headerTTL, strconv.FormatInt(int64(leaseTTL/time.Second), 10)+"s")
		if c.p.class == Durable {
			g.owners.mu.Lock()
			l = g.owners.held[c.p.number]
			g.owners.mu.Unlock()
		}
	}
	if l != nil {
		b, err := json.Marshal(leaseRecord{Node: g.node, Since: l.fence()})
		if err != nil {
			return fmt.Errorf("write the lease of partition %d: %w", c.p.number, err)
		}
		m.Subject, m.Data = aloneAPI+c.p.subject(reserved, leaseToken), b
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	answer, err := w.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return fmt.Errorf("mark the end of %s: %w", c.name, connError(err))
	}
	seq, err := parseAck(answer.Data)
	if err != nil {
		return fmt.Errorf("mark the end of %s: %w", c.name, apiError(err))
	}
	c.last = max(c.last, uint64(seq))
	if l != nil {
		l.mu.Lock()
		l.last = seq
		l.mu.Unlock()
	}
	return nil
}
