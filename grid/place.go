package grid

import (
	"context"
	"sync/atomic"
)

// place is where a key lives. It is made once a request.
type place struct {
	partition *partition
	cache     string
	key       string
	token     string // the key as one token of a subject
	subject   string
	least     Sequence // that an answer of a replica must have come to; 0 for any
}

// place finds a key's place, or says why the key is none.
func (c *Cache) place(key string) (place, error) {
	if err := checkKey(key); err != nil {
		return place{}, err
	}
	return c.placeOf(key), nil
}

// placeOf is place for a key that was checked before.
func (c *Cache) placeOf(key string) place {
	token := Escape(key)
	p := c.partitions[partitionOf(key, token, len(c.partitions))]
	return place{partition: p, cache: c.name, key: key, token: token, subject: p.subject(c.name, token)}
}

// partition is one share of the keys of a class, as this node sees it: where its stream is, what this node has under
// way to it, who listens here, and, where this node owns it, the tenure.
type partition struct {
	class  Class
	number int
	bucket string
	stream string
	prefix string // of an entry's subject, up to the cache's name

	first    atomic.Uint64 // where the stream begins; 0 as any
	replicas atomic.Int32  // how many the stream has; 0 as 1
	// outletsMade is how many outlets there were on this node.
	outletsMade atomic.Uint64
	// fresh says that the stream was promoted a moment ago: a replica may lack what this node wrote before.
	fresh atomic.Bool

	flow     flow
	hub      hub
	term     ownTerm
	barriers barriers
}

func newPartition(grid string, class Class, number int) *partition {
	bucket := Bucket(grid, class, number)
	p := &partition{class: class, number: number, bucket: bucket, stream: "KV_" + bucket, prefix: "$KV." + bucket + ".", barriers: newBarriers()}
	p.flow.init()
	return p
}

// subject is where an entry is published and read.
func (p *partition) subject(cache, token string) string { return p.prefix + cache + "." + token }

// tenure is this node's ownership of the partition, or nil.
func (p *partition) tenure() *tenure { return p.term.current.Load() }

// settled waits until what this node wrote is in the index, so that what is counted includes it. It is for the owner.
func (t *tenure) settled(ctx context.Context) error {
	return t.index.wait(ctx, Sequence(t.p.flow.written.Load()))
}
