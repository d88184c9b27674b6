package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

// A Key is an entry's key, with grid's JSON.
type Key = grid.JSONKey

// An Entry is what a cache has under a key.
type Entry struct {
	Key         Key
	Value       []byte
	ContentType string
	Revision    uint64
	Created     time.Time
	Labels      map[string]string
}

// PutOptions say how an entry is written; the zero value just writes it.
type PutOptions struct {
	// ContentType of the value; the node looks at the value where it is empty.
	ContentType string
	// Lifespan and MaxIdle, rounded up to whole seconds; 0 leaves them to the cache.
	Lifespan, MaxIdle time.Duration
	// IfRevision writes only over that revision, and Create only where there is no entry.
	IfRevision uint64
	Create     bool
	// Labels are kept with the entry.
	Labels map[string]string
}

func cachePath(cache string) string { return "/rest/v2/caches/" + url.PathEscape(cache) }

func entryPath(cache, key string) string {
	escaped := url.PathEscape(key)
	if key == "." || key == ".." { // the only keys that a path would lose
		escaped = strings.ReplaceAll(key, ".", "%2E")
	}
	return cachePath(cache) + "/" + escaped
}

// Put writes an entry and returns its revision.
func (c *Client) Put(ctx context.Context, cache, key string, value []byte, o PutOptions) (uint64, error) {
	head := http.Header{}
	contentType := o.ContentType
	if contentType != "" {
		head.Set("Content-Type", contentType)
	}
	for name, d := range map[string]time.Duration{"timeToLiveSeconds": o.Lifespan, "maxIdleTimeSeconds": o.MaxIdle} {
		if d > 0 {
			seconds := int64(d / time.Second)
			if d%time.Second > 0 {
				seconds++
			}
			head[name] = []string{strconv.FormatInt(seconds, 10)}
		}
	}
	for name, value := range o.Labels {
		head.Set("Millrace-Label-"+name, value)
	}
	method := http.MethodPut
	switch {
	case o.Create:
		method = http.MethodPost
	case o.IfRevision > 0:
		head.Set("If-Match", `"`+strconv.FormatUint(o.IfRevision, 10)+`"`)
	}
	if value == nil {
		value = []byte{}
	}
	resp, err := c.do(ctx, method, entryPath(cache, key), value, head)
	if err != nil {
		return 0, err
	}
	revision, err := revisionOf(resp)
	return revision, errors.Join(err, drain(resp))
}

func revisionOf(resp *http.Response) (uint64, error) {
	tag := resp.Header.Get("Etag")
	revision, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the answer's ETag %q is not a revision; is this a Millrace node?", tag)
	}
	return revision, nil
}

// Get reads an entry.
func (c *Client) Get(ctx context.Context, cache, key string) (Entry, error) {
	resp, err := c.do(ctx, http.MethodGet, entryPath(cache, key), nil, nil)
	if err != nil {
		return Entry{}, err
	}
	defer resp.Body.Close()
	e := Entry{Key: Key(key), ContentType: resp.Header.Get("Content-Type"), Labels: map[string]string{}}
	if e.Revision, err = revisionOf(resp); err != nil {
		return Entry{}, err
	}
	if e.Created, err = http.ParseTime(resp.Header.Get("Last-Modified")); err != nil {
		return Entry{}, fmt.Errorf("the answer's Last-Modified: %w", err)
	}
	for name := range resp.Header {
		if label, ok := strings.CutPrefix(name, "Millrace-Label-"); ok {
			e.Labels[strings.ToLower(label)] = resp.Header.Get(name)
		}
	}
	e.Value, err = readAll(resp.Body)
	return e, err
}

// Delete removes an entry.
func (c *Client) Delete(ctx context.Context, cache, key string) error {
	return c.ask(ctx, http.MethodDelete, entryPath(cache, key), nil, nil)
}

// Caches lists the caches' names.
func (c *Client) Caches(ctx context.Context) ([]string, error) {
	var names []string
	err := c.get(ctx, http.MethodGet, "/rest/v2/caches", nil, &names)
	return names, err
}

// Keys streams a cache's keys that begin with prefix, at most limit of them where that is over 0.
func (c *Client) Keys(ctx context.Context, cache, prefix string, limit int) iter.Seq2[Key, error] {
	return func(yield func(Key, error) bool) {
		q := url.Values{"action": {"keys"}}
		if prefix != "" {
			q.Set("prefix", prefix)
		}
		if limit > 0 {
			q.Set("limit", strconv.Itoa(limit))
		}
		resp, err := c.do(ctx, http.MethodGet, cachePath(cache)+"?"+q.Encode(), nil, nil)
		if err != nil {
			yield("", err)
			return
		}
		defer resp.Body.Close()
		d := json.NewDecoder(resp.Body)
		if _, err := d.Token(); err != nil {
			yield("", fmt.Errorf("read the list: %w", noEOF(err)))
			return
		}
		for d.More() {
			var k Key
			if err := d.Decode(&k); err != nil {
				yield("", fmt.Errorf("read the list: %w", noEOF(err)))
				return
			}
			if !yield(k, nil) {
				return
			}
		}
		if _, err := d.Token(); err != nil { // a list that was cut has no end
			yield("", fmt.Errorf("read the list: %w", noEOF(err)))
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// CacheConfig is what a cache is made with; the zero value takes the defaults. Times are text such as "24h".
type CacheConfig struct {
	Class         string `json:"class,omitempty"`
	MaxEntries    int64  `json:"max_entries,omitempty"`
	MaxBytes      int64  `json:"max_bytes,omitempty"`
	MaxEntryBytes int64  `json:"max_entry_bytes,omitempty"`
	Lifespan      string `json:"lifespan,omitempty"`
	MaxIdle       string `json:"max_idle,omitempty"`
	Evict         string `json:"evict,omitempty"`
	Policy        string `json:"policy,omitempty"`
	Store         string `json:"store,omitempty"`
	Write         string `json:"write,omitempty"`
	Preload       string `json:"preload,omitempty"`
	Consistency   string `json:"consistency,omitempty"`
	// Near is what each node keeps beside itself; nil for nothing.
	Near *NearConfig `json:"near,omitempty"`
}

// NearConfig bounds a near cache, by one of the two.
type NearConfig struct {
	MaxEntries int64  `json:"max_entries,omitempty"`
	MaxBytes   int64  `json:"max_bytes,omitempty"`
	Staleness  string `json:"staleness,omitempty"`
}

// NearStats are what a near cache did on the node that was asked.
type NearStats struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
}

// CacheStats count what happened to a cache since the node started.
type CacheStats struct {
	Entries int64  `json:"current_number_of_entries"`
	Bytes   int64  `json:"bytes"`
	Stores  uint64 `json:"stores"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Removes uint64 `json:"remove_hits"`
	Expired uint64 `json:"expired"`
	// HitRate is which share of the gets found an entry in memory; nil before the first.
	HitRate *float64 `json:"hit_rate"`
	// InMemory and Cold are the entries by where their values are.
	InMemory   int64   `json:"current_number_of_entries_in_memory"`
	Cold       int64   `json:"cold"`
	ColdBytes  int64   `json:"cold_bytes"`
	ColdHits   uint64  `json:"cold_hits"`
	Evictions  uint64  `json:"evictions"`
	Loads      uint64  `json:"loads"`
	LoadErrors uint64  `json:"load_errors"`
	LagEntries int64   `json:"store_lag_entries"`
	LagBytes   int64   `json:"store_lag_bytes"`
	Lag        float64 `json:"store_lag_seconds"`
	// Near is nil where there is no near cache.
	Near *NearStats `json:"near"`
}

// CacheDetail is what is known of a cache.
type CacheDetail struct {
	Name   string      `json:"name"`
	Size   int64       `json:"size"`
	Config CacheConfig `json:"config"`
	Stats  CacheStats  `json:"stats"`
}

// CreateCache makes a cache.
func (c *Client) CreateCache(ctx context.Context, cache string, config CacheConfig) error {
	body, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("cache configuration: %w", err)
	}
	return c.ask(ctx, http.MethodPost, cachePath(cache), body, http.Header{"Content-Type": {"application/json"}})
}

// DeleteCache removes a cache with its entries.
func (c *Client) DeleteCache(ctx context.Context, cache string) error {
	return c.ask(ctx, http.MethodDelete, cachePath(cache), nil, nil)
}

// Clear removes a cache's entries.
func (c *Client) Clear(ctx context.Context, cache string) error {
	return c.ask(ctx, http.MethodPost, cachePath(cache)+"?action=clear", nil, nil)
}

// Evicted is what became of values that were to leave memory.
type Evicted struct {
	Evicted int `json:"evicted"`
	// Cold values were not in memory, Missing keys have no entry, and Staying values cannot leave, of which up to 100 have a reason.
	Cold    int           `json:"cold"`
	Missing int           `json:"missing"`
	Staying int           `json:"staying"`
	Reasons []EvictReason `json:"reasons,omitempty"`
}

// EvictReason says what keeps a value in memory.
type EvictReason struct {
	Key   Key    `json:"key"`
	Error string `json:"error"`
}

// Evict has the values of keys leave memory; nil keys are all.
func (c *Client) Evict(ctx context.Context, cache string, keys []string) (Evicted, error) {
	var body []byte
	if keys != nil {
		in := struct {
			Keys []Key `json:"keys"`
		}{make([]Key, len(keys))}
		for i, k := range keys {
			in.Keys[i] = Key(k)
		}
		var err error
		if body, err = json.Marshal(in); err != nil {
			return Evicted{}, fmt.Errorf("the keys: %w", err)
		}
	}
	var out Evicted
	err := c.get(ctx, http.MethodPost, cachePath(cache)+"?action=evict", body, &out)
	return out, err
}

// Cache describes a cache.
func (c *Client) Cache(ctx context.Context, cache string) (CacheDetail, error) {
	var d CacheDetail
	err := c.get(ctx, http.MethodGet, cachePath(cache), nil, &d)
	return d, err
}
