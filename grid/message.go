package grid

import (
	"bytes"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
)

// Headers of a stored message. The first group is NATS's own.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
	headerSubject   = "Nats-Subject"
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"
	headerMsgID     = "Nats-Msg-Id"
	headerSequence  = "Nats-Sequence"
	headerUpTo      = "Nats-UpTo-Sequence"
	headerBefore    = "Nats-Last-Sequence" // of the one before it, among several answers
	headerTime      = "Nats-Time-Stamp"
	headerSize      = "Nats-Msg-Size"

	// HeaderType is the value's content type.
	HeaderType = "Millrace-Type"
	// HeaderLifespan and HeaderIdle are Go durations.
	HeaderLifespan = "Millrace-Lifespan"
	HeaderIdle     = "Millrace-Max-Idle"
	// HeaderLabels are the labels, encoded as a URL's query, sorted by name.
	HeaderLabels = "Millrace-Labels"
	// HeaderRevision is the revision where it is not the message's sequence.
	HeaderRevision = "Millrace-Revision"
	// HeaderSource says what a reader made the entry from: the source's revision, the fencing number of the partition's
	// owner, and the reader's name, with blanks between.
	HeaderSource = "Millrace-Source"
	// HeaderStub is the size of a value that is in a store: the message is its stub.
	HeaderStub = "Millrace-Stub"
	// HeaderCreated is when the revision was written, in Unix nanoseconds, where that is not the message's time: on stubs and on
	// values that came back.
	HeaderCreated = "Millrace-Created"
	// HeaderReason says why an entry expired where it was not its time: ReasonEvicted.
	HeaderReason = "Millrace-Reason"
)

// kind is what a stored message does to its key.
type kind uint8

const (
	kindValue kind = iota
	kindRemoved
	kindExpired
	kindEvicted // expired by eviction
	kindStub    // the value is in a store
	kindDamaged // it was damaged on the disk
)

// value reports whether there is an entry, in memory or not.
func (k kind) value() bool { return k == kindValue || k == kindStub }

// message is a stored message without its value: what the index keeps of it. The strings of the header block are not
// copied until somebody wants the whole entry.
type message struct {
	seq      Sequence
	at       time.Time // when it was stored; of a stub and a value that came back, when the revision was
	kind     kind
	size     int // of the value
	stub     int // of the value that a stub stands for, -1 for no stub
	revision Revision
	lifespan time.Duration
	idle     time.Duration
	source   Revision
	fence    uint64
	reader   []byte
	evicted  bool
	damaged  bool

	contentType, labels []byte
}

// expires is when the lifespan ends; zero for never.
func (m *message) expires() time.Time {
	if m.lifespan <= 0 {
		return time.Time{}
	}
	return m.at.Add(m.lifespan)
}

// readHeader takes one header in. What another client wrote may be unreadable; it counts as absent. The value is the caller's
// buffer. It reports whether the name is one of those that are read.
func (m *message) readHeader(name string, value []byte) (known bool) {
	switch name {
	case headerMarker:
		m.kind = kindRemoved
		if string(value) == "MaxAge" {
			m.kind = kindExpired
		}
	case headerOperation:
		if op := string(value); m.kind == kindValue && (op == "DEL" || op == "PURGE") {
			m.kind = kindRemoved
		}
	case HeaderType:
		m.contentType = value
	case HeaderLabels:
		m.labels = value
	case HeaderRevision:
		if rev, err := strconv.ParseUint(string(value), 10, 64); err == nil && rev > 0 && rev <= uint64(m.seq) {
			m.revision = Revision(rev)
		}
	case HeaderStub:
		if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			m.stub = int(n)
		}
	case HeaderCreated:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil && n > 0 && n < m.at.UnixNano() {
			m.at = time.Unix(0, n)
		}
	case HeaderDamaged:
		m.damaged = true
	case HeaderReason:
		m.evicted = string(value) == ReasonEvicted
	case HeaderLifespan:
		m.lifespan = max(spanOf(string(value)), 0)
	case headerTTL:
		if m.lifespan == 0 { // the exact one goes before it
			m.lifespan = -ttlOf(string(value))
		}
	case HeaderIdle:
		m.idle = spanOf(string(value))
	case HeaderSource:
		if source, fence, reader, ok := parseSource(value); ok {
			m.source, m.fence, m.reader = source, fence, reader
		}
	case headerMsgID:
		if m.reader == nil {
			m.source, m.reader = parseMsgID(value)
		}
	case headerSize:
		if n, err := strconv.Atoi(string(value)); err == nil {
			m.size = n
		}
	default:
		return false
	}
	return true
}

// readHeaders takes a header block in. Sequence and time are set before. Of a name that is there twice the first counts.
func (m *message) readHeaders(h wire.Header) {
	m.revision, m.stub = Revision(m.seq), -1
	seen := make([][]byte, 0, 16)
	for name, value := range h.All() {
		had := slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, name) })
		if !had && m.readHeader(string(name), value) {
			seen = append(seen, name)
		}
	}
	m.finish()
}

// finish ends the reading of headers, which come in any order: a TTL without a lifespan of ours counts as one, and a stub is a
// purge to other clients.
func (m *message) finish() {
	if m.lifespan < 0 {
		m.lifespan = -m.lifespan
	}
	switch {
	case m.kind == kindRemoved && m.damaged:
		m.kind = kindDamaged
	case m.kind == kindRemoved && m.stub >= 0:
		m.kind, m.size = kindStub, m.stub
	case m.kind == kindExpired && m.evicted:
		m.kind = kindEvicted
	}
}

// entry makes the entry, with a value that belongs to whoever gets it.
func (m *message) entry(cache, key string, value []byte) Entry {
	e := Entry{
		Cache: cache, Key: key, Value: value, Revision: m.revision, Created: m.at, ContentType: string(m.contentType),
		Lifespan: m.lifespan, MaxIdle: m.idle, Expires: m.expires(), source: source{m.source, m.fence, string(m.reader)},
	}
	if len(m.labels) > 0 {
		if q, err := url.ParseQuery(string(m.labels)); err == nil && len(q) > 0 {
			e.Labels = make(map[string]string, len(q))
			for k, v := range q {
				e.Labels[k] = v[0]
			}
		}
	}
	return e
}

// serverExpires reports whether the server ends a lifespan; the owner ends the others.
func serverExpires(lifespan time.Duration) bool { return lifespan >= time.Second }

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

// appendSource writes HeaderSource.
func appendSource(source Revision, fence uint64, reader string) string {
	b := make([]byte, 0, 32+len(reader))
	b = strconv.AppendUint(b, uint64(source), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, fence, 10)
	b = append(b, ' ')
	return string(append(b, reader...))
}

// parseSource reads HeaderSource.
func parseSource(b []byte) (source Revision, fence uint64, reader []byte, ok bool) {
	n, b, ok1 := cutNumber(b)
	f, b, ok2 := cutNumber(b)
	if !ok1 || !ok2 || len(b) == 0 {
		return 0, 0, nil, false
	}
	return Revision(n), f, b, true
}

// cutNumber reads a number and the blank after it.
func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return 0, nil, false
	}
	n, ok = number(b[:i])
	return n, b[i+1:], ok
}

// number reads digits.
func number(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(b) > 0
}

// parseMsgID reads what the first format of the folder had in place of HeaderSource: a message id
// reader/cache/key/revision.
func parseMsgID(b []byte) (Revision, []byte) {
	s := string(b)
	first, last := strings.IndexByte(s, '/'), strings.LastIndexByte(s, '/')
	if first <= 0 || last <= first {
		return 0, nil
	}
	rev, err := strconv.ParseUint(s[last+1:], 10, 64)
	if err != nil || !readerName.MatchString(s[:first]) {
		return 0, nil
	}
	return Revision(rev), b[:first]
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
		if serverExpires(o.Lifespan) {
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
