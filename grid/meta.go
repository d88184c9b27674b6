package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// The bucket metaBucket has what a grid is and what it has: its description under gridKey, its caches, what was deleted, and what nodes have decided.

const gridKey = "grid"

// defaultPartitions is how many a grid has that nobody says it of.
const defaultPartitions = 8

func (g *Grid) metaBucket() string { return g.cfg.Name + "-meta" }

// gridState is what is fixed when a grid is made, under the key gridKey of its meta bucket.
type gridState struct {
	// ID tells grids apart that have the same name; "" in one that was made before there were ids.
	ID         string        `json:"id,omitempty"`
	Format     int           `json:"format"`
	Partitions int           `json:"partitions"`
	MarkerTTL  time.Duration `json:"marker_ttl"`
	// Replicas is how many nodes of a cluster have each stream; 0 in a grid that is no cluster's own.
	Replicas int `json:"replicas,omitempty"`
}

// makeMeta opens the bucket, and makes it where there is none.
func (g *Grid) makeMeta(ctx context.Context) (jetstream.KeyValue, error) {
	config := jetstream.KeyValueConfig{Bucket: g.metaBucket(), Description: "Millrace grid", Storage: g.storage(Durable), Replicas: g.replicas(1)}
	if g.cfg.Cluster == nil {
		stream, err := g.js.Stream(ctx, "KV_"+config.Bucket)
		if err == nil {
			config.Replicas = g.replicas(stream.CachedInfo().Config.Replicas)
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		return g.js.CreateOrUpdateKeyValue(ctx, config)
	}
	kv, err := g.js.KeyValue(ctx, config.Bucket)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	if err := g.mayMake(config.Bucket); err != nil {
		return nil, err
	}
	return g.js.CreateKeyValue(ctx, config)
}

// openMeta opens the bucket with what describes the grid, and agrees with it.
func (g *Grid) openMeta(ctx context.Context) error {
	kv, err := g.makeMeta(ctx)
	if code := codeOf(err); g.server == nil && (code == noPeers || code == notClustered) {
		return fmt.Errorf("%w: grid.replicas is %d, and the NATS servers are fewer that have JetStream and are there: start more of them, or set grid.replicas to their number: %w",
			ErrConfig, g.replicas(1), err)
	}
	if err != nil {
		return fmt.Errorf("open the grid's description: %w", apiError(err))
	}
	g.meta = kv
	if err := g.checkTaking(ctx); err != nil {
		return err
	}
	want := gridState{ID: nuid.Next(), Format: formatVersion, Partitions: g.cfg.Partitions, MarkerTTL: g.cfg.MarkerTTL}
	if g.cfg.Cluster != nil {
		want.Replicas = g.replicas(1)
	}
	if want.Partitions == 0 && g.alone() {
		want.Partitions = g.server.known(g.cfg.Name) // where the description was lost, the partitions still have their number
	}
	if want.Partitions == 0 {
		want.Partitions = defaultPartitions
	}
	if t := g.cfg.Taking; t != nil && t.ID != "" {
		want.ID = t.ID
	}
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("describe the grid: %w", err)
	}
	if _, err = kv.Create(ctx, gridKey, b); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("describe the grid: %w", apiError(err))
	}
	value, rev, err := g.metaGet(ctx, gridKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) { // it is there by now: who answers lags behind
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return fmt.Errorf("read the grid's description: %w", apiError(err))
	}
	var have gridState
	if err := json.Unmarshal(value, &have); err != nil {
		return fmt.Errorf("%w: the grid's description %q: %w", ErrFormat, value, err)
	}
	if err := g.fits(have); err != nil {
		return err
	}
	if have.Partitions < 1 {
		return fmt.Errorf("%w: the grid's description %q has no partitions", ErrFormat, value)
	}
	if have.ID == "" {
		have.ID = want.ID
		if b, err = json.Marshal(have); err != nil {
			return fmt.Errorf("describe the grid: %w", err)
		}
		if _, err = kv.Update(ctx, gridKey, b, rev); isReplaced(err) {
			return g.openMeta(ctx) // another node was faster
		}
		if err != nil {
			return fmt.Errorf("describe the grid: %w", apiError(err))
		}
	}
	if g.cfg.Cluster != nil {
		if err := g.openCluster(ctx, kv); err != nil {
			return err
		}
	}
	g.id = have.ID
	g.partitions, g.markerTTL, g.found = have.Partitions, g.cfg.MarkerTTL, have.Format
	return nil
}

// clusterKey has the id of the cluster that keeps the grid. It is not the grid's: a grid that was restored, or that a cluster has taken over, keeps its own, and may be in two clusters.
const clusterKey = "cluster"

// openCluster agrees with the cluster's id, and makes it where the nodes have begun without one.
func (g *Grid) openCluster(ctx context.Context, kv jetstream.KeyValue) error {
	own, _ := g.server.entrance.knows()
	b, err := json.Marshal(identity{ID: cmp.Or(own, newClusterID())})
	if err != nil {
		return fmt.Errorf("describe the cluster: %w", err)
	}
	if _, err = kv.Create(ctx, clusterKey, b); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("describe the cluster: %w", apiError(err))
	}
	value, _, err := g.metaGet(ctx, clusterKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return fmt.Errorf("read the cluster's description: %w", apiError(err))
	}
	var have identity
	if err := json.Unmarshal(value, &have); err != nil || have.ID == "" {
		return fmt.Errorf("%w: the cluster's description %q", ErrFormat, value)
	}
	if own != "" && own != have.ID {
		return fmt.Errorf("%w: %w: the grid is of the cluster with the id %s, and the folder of this node of that with %s; start it on an empty folder (node.data)", ErrConfig, errRefused,
			shortID(have.ID), shortID(own))
	}
	g.server.entrance.learn(have.ID)
	g.clusterID = have.ID
	return nil
}

// fits says why this node cannot have a grid, by its description.
func (g *Grid) fits(have gridState) error {
	if have.Format > formatVersion {
		return fmt.Errorf("%w: the grid has version %d, this program knows up to %d; use a newer one", ErrFormat, have.Format, formatVersion)
	}
	if g.cfg.Partitions != 0 && have.Partitions != g.cfg.Partitions {
		return fmt.Errorf("%w: the grid was made with %d partitions, which cannot change to %d; set grid.partitions to %[2]d", ErrConfig, have.Partitions, g.cfg.Partitions)
	}
	if g.cfg.Cluster != nil && have.Format != formatVersion {
		return fmt.Errorf("%w: %w: the grid has version %d, this program makes version %d; the nodes of a cluster must all have the same", ErrFormat, errRefused,
			have.Format, formatVersion)
	}
	if g.cfg.Cluster != nil && have.Replicas != g.replicas(1) {
		return fmt.Errorf("%w: %w: the grid was made with %d replicas, and cluster.replicas is %d", ErrConfig, errRefused, have.Replicas, g.replicas(1))
	}
	return nil
}

// metaGet reads what the grid keeps under a key of its description, as it is now; jetstream.ErrKeyNotFound where there is nothing. A replica of the bucket
// that lags would bring back what was deleted.
func (g *Grid) metaGet(ctx context.Context, key string) (value []byte, rev uint64, err error) {
	bucket := g.meta.Bucket()
	m, seq, err := g.askLeader(ctx, "KV_"+bucket, map[string]any{"last_by_subj": "$KV." + bucket + "." + key})
	if err != nil {
		return nil, 0, g.metaError(err)
	}
	if op, _ := m.header.Value(headerOperation); seq == 0 || string(op) == "DEL" || string(op) == "PURGE" {
		return nil, 0, jetstream.ErrKeyNotFound
	}
	return m.data, uint64(seq), nil
}

// metaError is why the grid's description could not be read or written: who is missing, where it or the cluster has no leader for that. What the servers say then names nobody.
func (g *Grid) metaError(err error) error {
	err = apiError(err)
	if err == nil || !errors.Is(err, ErrUnavailable) || errors.As(err, new(*unledError)) {
		return err
	}
	why := cmp.Or(g.NoLeader(), g.knownLack("KV_"+g.metaBucket()))
	if why == "" {
		return err
	}
	return &unledError{why: why, err: err}
}

// unledError says who has to be there in the place of what it was made of.
type unledError struct {
	why string
	err error // an ErrUnavailable
}

func (e *unledError) Error() string { return ErrUnavailable.Error() + ": " + e.why }
func (e *unledError) Unwrap() error { return e.err }
