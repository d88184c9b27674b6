package grid

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of a stored message. The first group is NATS's own.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"
	headerMsgID     = "Nats-Msg-Id"
	headerSequence  = "Nats-Sequence"
	headerTime      = "Nats-Time-Stamp"

	// HeaderType is the value's content type.
	HeaderType = "Millrace-Type"
	// HeaderLifespan and HeaderIdle are Go durations.
	HeaderLifespan = "Millrace-Lifespan"
	HeaderIdle     = "Millrace-Max-Idle"
	// HeaderLabels are the labels, encoded as a URL's query, sorted by name.
	HeaderLabels = "Millrace-Labels"
	// HeaderRevision is the revision where it is not the message's sequence.
	HeaderRevision = "Millrace-Revision"
)

// Entry is one value of a cache with what is known of it. The bytes and the map belong to whoever
// received the entry.
type Entry struct {
	Cache, Key  string
	Value       []byte
	ContentType string
	// Revision is the number that the last write got; it grows with each write of the key.
	Revision uint64
	// Created is when this revision was written.
	Created time.Time
	// Lifespan and MaxIdle are 0 where the entry has none; Expires is then zero.
	Lifespan, MaxIdle time.Duration
	Expires           time.Time
	Labels            map[string]string
}

// kind is what a stored message does to its key.
type kind uint8

const (
	kindValue kind = iota
	kindRemoved
	kindExpired
)

func kindOf(h nats.Header) kind {
	if len(h) == 0 {
		return kindValue
	}
	if v := h[headerMarker]; len(v) > 0 {
		if v[0] == "MaxAge" {
			return kindExpired
		}
		return kindRemoved
	}
	if v := h[headerOperation]; len(v) > 0 && (v[0] == "DEL" || v[0] == "PURGE") {
		return kindRemoved
	}
	return kindValue
}

// decode makes an entry of a stored message; seq and at are the stream's.
func decode(cache, key string, h nats.Header, value []byte, seq uint64, at time.Time) Entry {
	e := Entry{Cache: cache, Key: key, Value: value, Revision: seq, Created: at}
	if len(h) == 0 {
		return e
	}
	e.ContentType = first(h, HeaderType)
	if s := first(h, HeaderRevision); s != "" {
		if rev, err := strconv.ParseUint(s, 10, 64); err == nil {
			e.Revision = rev
		}
	}
	// What another client wrote may be unreadable; it counts as absent.
	if s := first(h, HeaderLifespan); s != "" {
		e.Lifespan = spanOf(s)
	} else if s := first(h, headerTTL); s != "" {
		e.Lifespan = ttlOf(s)
	}
	if e.Lifespan > 0 {
		e.Expires = at.Add(e.Lifespan)
	}
	if s := first(h, HeaderIdle); s != "" {
		e.MaxIdle = spanOf(s)
	}
	if s := first(h, HeaderLabels); s != "" {
		if q, err := url.ParseQuery(s); err == nil && len(q) > 0 {
			e.Labels = make(map[string]string, len(q))
			for k, v := range q {
				e.Labels[k] = v[0]
			}
		}
	}
	return e
}

// spanOf reads a duration; what nobody can wait for is MaxLifespan, so that later sums hold.
func spanOf(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return min(max(d, 0), MaxLifespan)
}

// ttlOf reads a Nats-TTL that a NATS client set without a Millrace-Lifespan: a duration, or seconds.
func ttlOf(s string) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(MaxLifespan/time.Second))) * time.Second
	}
	return spanOf(s)
}

func first(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// headers writes a put's options as message headers; nil where there are none.
func (o PutOptions) headers() (nats.Header, error) {
	var h nats.Header
	set := func(name, value string) {
		if h == nil {
			h = make(nats.Header, 4)
		}
		h[name] = []string{value}
	}
	if o.ContentType != "" {
		if len(o.ContentType) > MaxTypeBytes || strings.ContainsAny(o.ContentType, "\r\n") {
			return nil, fmt.Errorf("%w: content type of %d bytes (at most %d, one line)", ErrTooLarge, len(o.ContentType), MaxTypeBytes)
		}
		set(HeaderType, o.ContentType)
	}
	if o.Lifespan > MaxLifespan || o.MaxIdle > MaxLifespan {
		return nil, fmt.Errorf("%w: lifespan %v and max idle %v are at most %v; a negative one is none", ErrLifespan, o.Lifespan, o.MaxIdle, MaxLifespan)
	}
	if o.Lifespan > 0 {
		set(HeaderLifespan, o.Lifespan.String())
		if o.Lifespan >= time.Second {
			// The server counts whole seconds; reads apply the rest.
			set(headerTTL, strconv.FormatInt(int64((o.Lifespan+time.Second-1)/time.Second), 10)+"s")
		}
	}
	if o.MaxIdle > 0 {
		set(HeaderIdle, o.MaxIdle.String())
	}
	if len(o.Labels) > 0 {
		q := make(url.Values, len(o.Labels))
		for k, v := range o.Labels {
			q[k] = []string{v}
		}
		s := q.Encode()
		if len(s) > MaxLabelBytes {
			return nil, fmt.Errorf("%w: labels of %d bytes encoded, at most %d", ErrTooLarge, len(s), MaxLabelBytes)
		}
		set(HeaderLabels, s)
	}
	return h, nil
}
