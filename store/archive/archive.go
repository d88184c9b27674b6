// Package archive writes what is in a store to a tar file and back, and reads through a store to see that all of it is whole. When that is
// done, and to which store, is left to its caller.
//
// A tar begins with the file millrace-store.json, which says of which grid the entries are. Two files follow for each entry, in the order of
// caches and keys: CACHE/NAME.json with what is known of it, and CACHE/NAME.value. The file millrace-store.end.json, which counts them, is the
// last: an archive without it was cut. The names are for people; what counts is in the JSON.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/store"
)

// ErrFormat says that a file is no archive, or is damaged. The message says where.
var ErrFormat = errors.New("not a usable archive")

// ErrCut says that an archive ends too soon. What was read of it is good.
var ErrCut = errors.New("the archive is cut")

const (
	version  = 1
	headName = "millrace-store.json"
	endName  = "millrace-store.end.json"
	// maxJSON bounds a file of JSON: labels and extra fields, of which each byte may take six, and what is around them.
	maxJSON = 8*(store.MaxMetadataBytes+store.MaxKeyBytes) + 64<<10
)

// Head is what an archive begins with.
type Head struct {
	Version int `json:"millrace_store"`
	// Grid is the id of the grid whose entries these are; empty if not known.
	Grid string    `json:"grid,omitempty"`
	Made time.Time `json:"made"`
}

// end is what an archive ends with.
type end struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// text is JSON of a string, or {"base64":"..."} where that is no UTF-8.
type text string

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(struct {
		Base64 []byte `json:"base64"`
	}{[]byte(t)})
}

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err == nil {
		*t = text(s)
		return nil
	}
	var o struct {
		Base64 *[]byte `json:"base64"`
	}
	if err := json.Unmarshal(b, &o); err != nil || o.Base64 == nil {
		return fmt.Errorf("%.40s is neither text nor {\"base64\":\"...\"}", b)
	}
	*t = text(*o.Base64)
	return nil
}

type pair struct {
	Name  text `json:"name"`
	Value text `json:"value"`
}

// metadata is what the JSON of an entry says.
type metadata struct {
	Cache       string     `json:"cache"`
	Key         text       `json:"key"`
	Revision    uint64     `json:"revision"`
	Size        int64      `json:"size"`
	CRC32C      string     `json:"crc32c"`
	ContentType text       `json:"content_type,omitempty"`
	Created     *time.Time `json:"created,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Lifespan    string     `json:"lifespan,omitempty"`
	MaxIdle     string     `json:"max_idle,omitempty"`
	Labels      []pair     `json:"labels,omitempty"`
	Extra       []pair     `json:"extra,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(value []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(value, castagnoli)) }

func metadataOf(cache string, e store.Entry) metadata {
	m := metadata{
		Cache: cache, Key: text(e.Key), Revision: e.Revision, Size: int64(len(e.Value)), CRC32C: sum(e.Value), ContentType: text(e.ContentType),
		Labels: pairs(e.Labels), Extra: pairs(e.Extra),
	}
	for at, into := range map[*time.Time]**time.Time{&e.Created: &m.Created, &e.Expires: &m.Expires} {
		if !at.IsZero() {
			t := at.UTC()
			*into = &t
		}
	}
	for d, into := range map[*time.Duration]*string{&e.Lifespan: &m.Lifespan, &e.MaxIdle: &m.MaxIdle} {
		if *d != 0 {
			*into = d.String()
		}
	}
	return m
}

func pairs(m map[string]string) []pair {
	var out []pair
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{text(name), text(m[name])})
	}
	return out
}

// info is what a store keeps of m.
func (m metadata) info() (store.Info, error) {
	i := store.Info{Key: string(m.Key), Revision: m.Revision, ContentType: string(m.ContentType), Size: m.Size}
	for _, at := range []struct {
		from *time.Time
		into *time.Time
	}{{m.Created, &i.Created}, {m.Expires, &i.Expires}} {
		if at.from != nil {
			*at.into = at.from.UTC()
		}
	}
	var err error
	for _, d := range []struct {
		name, from string
		into       *time.Duration
	}{{"lifespan", m.Lifespan, &i.Lifespan}, {"max_idle", m.MaxIdle, &i.MaxIdle}} {
		if d.from == "" {
			continue
		}
		if *d.into, err = time.ParseDuration(d.from); err != nil {
			return i, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	if i.Labels, err = mapOf("labels", m.Labels); err != nil {
		return i, err
	}
	i.Extra, err = mapOf("extra", m.Extra)
	return i, err
}

func mapOf(what string, pairs []pair) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		if _, ok := out[string(p.Name)]; ok {
			return nil, fmt.Errorf("%s: %q is there twice", what, p.Name)
		}
		out[string(p.Name)] = string(p.Value)
	}
	return out, nil
}

// before reports whether one entry stands before another in an archive.
func before(cacheA, keyA, cacheB, keyB string) bool {
	if cacheA != cacheB {
		return cacheA < cacheB
	}
	return keyA < keyB
}

// isCache reports whether a namespace has entries of a cache.
func isCache(namespace string) bool { return namespace != store.GridNamespace }

// Caches returns the caches that a store may have entries of, by name.
func Caches(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(n string) bool { return !isCache(n) })
}

func quote(cache, key string) string {
	return cache + "/" + strings.Trim(fmt.Sprintf("%q", key), `"`)
}
