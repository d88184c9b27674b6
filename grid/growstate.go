package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// A cluster takes over the grid of a node alone by the streams themselves: each becomes a mirror in the cluster, which has every message at its sequence, and
// is promoted to a stream of its own once the node alone takes no writes. DESIGN.md says who does what when.

const (
	// aloneDomain and clusterDomain are those of JetStream in a server alone and in those of a cluster: each reaches the other's streams by it.
	aloneDomain, clusterDomain = "alone", "cluster"
	aloneAPI, clusterAPI       = "$JS." + aloneDomain + ".API.", "$JS." + clusterDomain + ".API."
	// growKey is where the cluster notes, in the bucket growBucket, how far it is.
	growKey = "state"
	// bornKey is what a promoted stream says of itself: when the stream was made that it continues, in Unix nanoseconds.
	bornKey = "millrace-born"
	// promotions is how many streams are promoted at a time.
	promotions = 16
)

// growPhase is how far a cluster has come.
type growPhase string

const (
	// growCopies: the streams are mirrors. The node alone has the grid.
	growCopies growPhase = "copy"
	// growPromotes: the mirrors have all that there is and will be. The cluster has the grid.
	growPromotes growPhase = "promote"
	// growDone: the streams are the cluster's own.
	growDone growPhase = "done"
)

// growState is what the cluster notes.
type growState struct {
	// Source is the ID of the grid, and Node the opening of it that the mirrors copy: another one may lack what they have.
	Source string    `json:"source"`
	Node   string    `json:"node"`
	Phase  growPhase `json:"phase"`
	// Streams are what the mirrors become.
	Streams []jetstream.StreamConfig `json:"streams,omitempty"`
}

func growBucket(grid string) string { return grid + "-grow" }

// noteOf is the stream of that bucket. No replica but its leader answers: one that lags would have a grid kept that was given away.
func noteOf(grid string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + growBucket(grid), Description: "Millrace: the grid of a node alone", Subjects: []string{"$KV." + growBucket(grid) + ".>"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, Replicas: replicas,
	}
}

// readGrow returns what the stream's leader has noted, and its revision; 0 for nothing. A leader that leads no more may say what was before.
func readGrow(ctx context.Context, js jetstream.JetStream, grid string) (s growState, rev uint64, err error) {
	stream, err := js.Stream(ctx, "KV_"+growBucket(grid))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return growState{}, 0, nil
	}
	if err != nil {
		return growState{}, 0, fmt.Errorf("read how far the cluster is: %w", apiError(err))
	}
	m, err := stream.GetLastMsgForSubject(ctx, "$KV."+growBucket(grid)+"."+growKey)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return growState{}, 0, nil
	}
	if err != nil {
		return growState{}, 0, fmt.Errorf("read how far the cluster is: %w", apiError(err))
	}
	if s, err = parseGrow(m.Data); err != nil {
		return growState{}, 0, err
	}
	return s, m.Sequence, nil
}

func parseGrow(text []byte) (s growState, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return growState{}, fmt.Errorf("%w: how far the cluster is: %w", ErrFormat, err)
	}
	switch {
	case s.Source == "":
		return growState{}, fmt.Errorf("%w: how far the cluster is: no source", ErrFormat)
	case s.Phase != growCopies && s.Phase != growPromotes && s.Phase != growDone:
		return growState{}, fmt.Errorf("%w: how far the cluster is: the phase %q; use the same program on all nodes", ErrFormat, s.Phase)
	case s.Phase != growCopies && len(s.Streams) == 0:
		return growState{}, fmt.Errorf("%w: how far the cluster is: it names no streams", ErrFormat)
	}
	return s, nil
}

// writeGrow notes a state in place of the one at a revision.
func writeGrow(ctx context.Context, js jetstream.JetStream, grid string, s growState, rev uint64) (uint64, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("note how far the cluster is: %w", err)
	}
	kv, err := js.KeyValue(ctx, growBucket(grid))
	if err == nil {
		rev, err = kv.Update(ctx, growKey, b, rev)
	}
	if err != nil {
		return 0, fmt.Errorf("note how far the cluster is: %w", apiError(err))
	}
	return rev, nil
}

// mirrorOf is the mirror that becomes a stream. It has no markers and lets nothing expire: what it did by itself would have sequences that the
// node alone gives to something else, or leave no trace.
func mirrorOf(c jetstream.StreamConfig) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: c.Name, Description: c.Description, Storage: c.Storage, MaxMsgsPerSubject: c.MaxMsgsPerSubject, Discard: c.Discard, DenyDelete: c.DenyDelete,
		AllowRollup: c.AllowRollup, Replicas: c.Replicas,
		Mirror: &jetstream.StreamSource{Name: c.Name, External: &jetstream.ExternalStream{APIPrefix: "$JS." + aloneDomain + ".API"}},
	}
}

// promoted is what the mirror of a stream becomes.
func promoted(s jetstream.Stream, replicas int) jetstream.StreamConfig {
	c := s.CachedInfo().Config
	c.Replicas = replicas
	c.Metadata = map[string]string{bornKey: strconv.FormatInt(bornAt(s), 10)}
	return c
}

// bornAt is when a stream was made, in Unix nanoseconds; that of the stream which it continues, for one that was promoted.
func bornAt(s jetstream.Stream) int64 {
	if born, err := strconv.ParseInt(s.CachedInfo().Config.Metadata[bornKey], 10, 64); err == nil {
		return born
	}
	return s.CachedInfo().Created.UnixNano()
}

// promote makes streams of all mirrors. Those that are streams already stay. It tries for as long as the context lets it.
func promote(ctx context.Context, js jetstream.JetStream, streams []jetstream.StreamConfig) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(promotions)
	for _, c := range streams {
		all.Go(func() error {
			for {
				try, cancel := context.WithTimeout(ctx, patience)
				_, err := js.UpdateStream(try, c)
				cancel()
				if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
					return apiError(err)
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("promote %s: %w", c.Name, errors.Join(apiError(err), contextError(ctx)))
				case <-time.After(joinEvery):
				}
			}
		})
	}
	return all.Wait()
}

// settleGrown gives a grid that has gone over to a cluster its number of replicas.
func settleGrown(ctx context.Context, js jetstream.JetStream, grid string, replicas int) error {
	kv, err := js.KeyValue(ctx, grid+"-meta")
	if err != nil {
		return fmt.Errorf("open the grid's description: %w", apiError(err))
	}
	for {
		entry, err := kv.Get(ctx, gridKey)
		if err != nil {
			return fmt.Errorf("read the grid's description: %w", apiError(err))
		}
		var have gridState
		if err := json.Unmarshal(entry.Value(), &have); err != nil {
			return fmt.Errorf("%w: the grid's description %q: %w", ErrFormat, entry.Value(), err)
		}
		if have.Replicas == replicas {
			return nil
		}
		have.Replicas = replicas
		b, err := json.Marshal(have)
		if err != nil {
			return fmt.Errorf("describe the grid: %w", err)
		}
		if _, err = kv.Update(ctx, gridKey, b, entry.Revision()); err == nil {
			return nil
		}
		if !isReplaced(err) { // else another node was faster, or a replica lags
			return fmt.Errorf("describe the grid: %w", apiError(err))
		}
		select {
		case <-ctx.Done():
			return contextError(ctx)
		case <-time.After(joinEvery):
		}
	}
}
