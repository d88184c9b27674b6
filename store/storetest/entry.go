package storetest

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/millrace/millrace/store"
)

func background() context.Context { return context.Background() }

// full is an entry with every field.
func full(key string, revision uint64) store.Entry {
	e := plain(key, revision)
	e.Created, e.Expires = time.Unix(1700000000, 123456789).UTC(), time.Unix(4000000000, 987654321).UTC()
	e.Lifespan, e.MaxIdle, e.ContentType = 26*time.Hour, 90*time.Second, "application/x-npy; v=1"
	e.Labels = map[string]string{"label": "7", "odd \x00\xff": "", "": "no name", "ü": strings.Repeat("long", 1000)}
	e.Extra = map[string]string{"fence": "12"}
	return e
}

func (s *suite) roundTrip() {
	for _, e := range []store.Entry{
		plain("plain", 1), full("full", 2), full("largest revision", 1<<64-1),
		{Info: store.Info{Key: "no value", Revision: 3, ContentType: "text/plain"}},
	} {
		s.mustPut(e)
		s.wantEntry(e)
	}
	// A newer revision takes nothing over from the one before.
	s.mustPut(plain("full", 3))
	s.wantEntry(plain("full", 3))
}

func (s *suite) notFound() {
	s.wantNone("never put")
	s.mustPut(plain("deleted", 1))
	s.mustDelete("deleted", 2)
	s.wantNone("deleted")
	s.mustPut(plain("a", 1))
	for _, near := range []string{"A", "a\x00", "aa", "b", " "} {
		s.wantNone(near)
	}
}

// odd are keys that names of files, objects and addresses have trouble with.
func odd() []string {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []string{
		"\x00", "\x00\x00", "a\x00", "a\x00b", "\xff", "\xff\xff", "a\xff", "/", "//", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a.",
		" ", " a", "a ", "+", "%", "%2F", "%00", "a?b#c&d=e", "*", "\\", "\"", "'", "<>", "~", "-", "_", "=", "\r\n", "\t", "ü", "u\u0308", "日本語", "🦆",
		"\xc3", "A", "a", "\x7f", "\x80", string(every), strings.Repeat("k", store.MaxKeyBytes), strings.Repeat("\x00", store.MaxKeyBytes),
		strings.Repeat("\xff", store.MaxKeyBytes), strings.Repeat("/", store.MaxKeyBytes), strings.Repeat("日", 341), strings.Repeat("a", 255), strings.Repeat("a", 256),
		strings.Repeat("a", 257), strings.Repeat("a", 256) + "b",
	}
}

func (s *suite) oddKeys() {
	keys := odd()
	for i, key := range keys {
		s.mustPut(plain(key, uint64(i+1)))
	}
	for i, key := range keys {
		s.wantEntry(plain(key, uint64(i+1)))
	}
	if got := s.copies(store.ListOptions{}); len(got) != len(keys) {
		s.Errorf("the list has %d of %d keys", len(got), len(keys))
	}
	// A delete hits its own key alone.
	for i, key := range keys {
		if i%2 == 0 {
			s.mustDelete(key, 1000)
		}
	}
	for i, key := range keys {
		if i%2 == 0 {
			s.wantNone(key)
		} else {
			s.wantEntry(plain(key, uint64(i+1)))
		}
	}
}

func (s *suite) sizes() {
	sizes := []int{1, 4<<10 - 1, 4 << 10, 64 << 10, 1<<20 + 1, 8 << 20, store.MaxValueBytes}
	if s.under.Slow {
		sizes = []int{1, 64 << 10, 5<<20 + 1, store.MaxValueBytes}
	}
	for i, size := range sizes {
		e := full("key", uint64(i+1))
		e.Value = make([]byte, size)
		for j := range e.Value {
			e.Value[j] = byte(j*7 + j>>9 + i)
		}
		s.mustPut(e)
		got, err := s.Get(s.Context(), s.space, "key")
		if err != nil || got.Revision != e.Revision || !bytes.Equal(got.Value, e.Value) {
			s.Errorf("%d bytes: %v, revision %d, %d bytes", size, err, got.Revision, len(got.Value))
		}
		info, err := s.Stat(s.Context(), s.space, "key")
		if err != nil || info.Size != int64(size) || info.Revision != e.Revision {
			s.Errorf("%d bytes: stat: %v, %+v", size, err, info)
		}
	}
	e := plain("labels", 1)
	e.Labels = map[string]string{"many": strings.Repeat("x", store.MaxMetadataBytes-12)}
	s.mustPut(e)
	s.wantEntry(e)
	large := plain("key", 100)
	large.Value = make([]byte, store.MaxValueBytes+1)
	s.wantErr("a value that is too large", s.Put(s.Context(), s.space, large), store.ErrInvalid)
}

// ownership: what was put and what was given may be changed by the caller.
func (s *suite) ownership() {
	e := full("k", 1)
	put := e
	put.Value, put.Labels, put.Extra = bytes.Clone(e.Value), maps.Clone(e.Labels), maps.Clone(e.Extra)
	s.mustPut(put)
	clear(put.Value)
	put.Labels["label"] = "changed"
	s.wantEntry(e)
	got, err := s.Get(s.Context(), s.space, "k")
	s.wantErr("get", err, nil)
	clear(got.Value)
	got.Labels["label"] = "changed"
	got.Extra["fence"] = "changed"
	s.wantEntry(e)
}

func (s *suite) invalid() {
	ctx := s.Context()
	for _, key := range []string{"", strings.Repeat("k", store.MaxKeyBytes+1)} {
		s.wantErr("put", s.Put(ctx, s.space, plain(key, 1)), store.ErrInvalid)
		s.wantErr("delete", s.Delete(ctx, s.space, key, 1), store.ErrInvalid)
		_, err := s.Get(ctx, s.space, key)
		s.wantErr("get", err, store.ErrInvalid)
		_, err = s.Stat(ctx, s.space, key)
		s.wantErr("stat", err, store.ErrInvalid)
	}
	s.wantErr("put without a revision", s.Put(ctx, s.space, plain("k", 0)), store.ErrInvalid)
	s.wantErr("delete without a revision", s.Delete(ctx, s.space, "k", 0), store.ErrInvalid)
	for _, space := range []string{"", "a/b", "..", "a b", strings.Repeat("n", 65), "ü", "a\x00"} {
		s.wantErr("put", s.Put(ctx, space, plain("k", 1)), store.ErrInvalid)
		s.wantErr("delete", s.Delete(ctx, space, "k", 1), store.ErrInvalid)
		s.wantErr("put all", s.PutAll(ctx, space, []store.Entry{plain("k", 1)})[0], store.ErrInvalid)
		_, err := s.Get(ctx, space, "k")
		s.wantErr("get", err, store.ErrInvalid)
		_, err = s.Stat(ctx, space, "k")
		s.wantErr("stat", err, store.ErrInvalid)
		_, err = s.Sweep(ctx, space)
		s.wantErr("sweep", err, store.ErrInvalid)
		s.wantErr("drop", s.Drop(ctx, space), store.ErrInvalid)
		for _, err := range s.List(ctx, space, store.ListOptions{}) {
			s.wantErr("list", err, store.ErrInvalid)
		}
	}
	if got := s.copies(store.ListOptions{Deleted: true}); len(got) > 0 {
		s.Errorf("the list has %v", keysOf(got))
	}
}

func (s *suite) cancel() {
	s.mustPut(plain("k", 1))
	ctx, stop := context.WithCancel(s.Context())
	stop()
	s.wantErr("put", s.Put(ctx, s.space, plain("k", 2)), context.Canceled)
	s.wantErr("delete", s.Delete(ctx, s.space, "k", 3), context.Canceled)
	for _, err := range s.PutAll(ctx, s.space, []store.Entry{plain("k", 4), plain("j", 5)}) {
		s.wantErr("put all", err, context.Canceled)
	}
	_, err := s.Get(ctx, s.space, "k")
	s.wantErr("get", err, context.Canceled)
	_, err = s.Stat(ctx, s.space, "k")
	s.wantErr("stat", err, context.Canceled)
	_, err = s.Namespaces(ctx)
	s.wantErr("namespaces", err, context.Canceled)
	_, err = s.Sweep(ctx, s.space)
	s.wantErr("sweep", err, context.Canceled)
	s.wantErr("drop", s.Drop(ctx, s.space), context.Canceled)
	n := 0
	for _, err := range s.List(ctx, s.space, store.ListOptions{}) {
		n++
		s.wantErr("list", err, context.Canceled)
	}
	if n != 1 {
		s.Errorf("a list whose context has ended gives %d times", n)
	}

	// One that ends in the middle of a list.
	for i := range 20 {
		s.mustPut(plain(string(rune('a'+i)), 10))
	}
	ctx, stop = context.WithCancel(s.Context())
	defer stop()
	var last error
	n = 0
	for _, err := range s.List(ctx, s.space, store.ListOptions{}) {
		stop()
		n++
		last = err
	}
	if n > 20 {
		s.Errorf("a list goes on when its context has ended: %d", n)
	}
	s.wantErr("a list whose context ends", last, context.Canceled)
	s.wantEntry(plain("k", 10))
}
