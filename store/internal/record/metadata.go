package record

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/store"
)

// The numbers of the metadata's fields.
const (
	fieldKey protowire.Number = iota + 1
	fieldContentType
	fieldCreated
	fieldLifespan
	fieldMaxIdle
	fieldLabel
	fieldExtra
)

func appendMetadata(b []byte, i store.Info) []byte {
	b = appendText(b, fieldKey, i.Key)
	if i.Deleted {
		return b
	}
	if i.ContentType != "" {
		b = appendText(b, fieldContentType, i.ContentType)
	}
	for _, n := range []struct {
		field protowire.Number
		value int64
	}{{fieldCreated, nanos(i.Created)}, {fieldLifespan, int64(i.Lifespan)}, {fieldMaxIdle, int64(i.MaxIdle)}} {
		if n.value != 0 {
			b = protowire.AppendTag(b, n.field, protowire.VarintType)
			b = protowire.AppendVarint(b, uint64(n.value))
		}
	}
	b = appendMap(b, fieldLabel, i.Labels)
	return appendMap(b, fieldExtra, i.Extra)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, text)
}

// appendMap writes the pairs by name, so that an entry has one encoding.
func appendMap(b []byte, field protowire.Number, m map[string]string) []byte {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		pair := appendText(appendText(nil, 1, name), 2, m[name])
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendBytes(b, pair)
	}
	return b
}

func parseMetadata(b []byte) (store.Info, error) {
	var i store.Info
	err := parseFields(b, func(field protowire.Number, number uint64, text []byte) error {
		switch field {
		case fieldKey:
			i.Key = string(text)
		case fieldContentType:
			i.ContentType = string(text)
		case fieldCreated:
			i.Created = fromNanos(int64(number))
		case fieldLifespan:
			i.Lifespan = time.Duration(number)
		case fieldMaxIdle:
			i.MaxIdle = time.Duration(number)
		case fieldLabel:
			return parsePair(&i.Labels, text)
		case fieldExtra:
			return parsePair(&i.Extra, text)
		}
		return nil
	})
	if err == nil && (len(i.Key) == 0 || len(i.Key) > store.MaxKeyBytes) {
		err = corrupt("its metadata has a key of %d bytes", len(i.Key))
	}
	return i, err
}

func parsePair(m *map[string]string, b []byte) error {
	var name, text string
	err := parseFields(b, func(field protowire.Number, _ uint64, value []byte) error {
		switch field {
		case 1:
			name = string(value)
		case 2:
			text = string(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[name] = text
	return nil
}

// wireTypes is the type of each field that this version knows; those of pairs are texts.
var wireTypes = map[protowire.Number]protowire.Type{
	fieldCreated: protowire.VarintType, fieldLifespan: protowire.VarintType, fieldMaxIdle: protowire.VarintType,
}

// parseFields calls take with each field of a known number, by its number or its text.
func parseFields(b []byte, take func(field protowire.Number, number uint64, text []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return corrupt("its metadata cannot be read: %v", protowire.ParseError(n))
		}
		b = b[n:]
		if field > fieldExtra {
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return corrupt("field %d of its metadata cannot be read: %v", field, protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		want, ok := wireTypes[field]
		if !ok {
			want = protowire.BytesType
		}
		if kind != want {
			return corrupt("field %d of its metadata has the wire type %d, not %d", field, kind, want)
		}
		var number uint64
		var text []byte
		if want == protowire.VarintType {
			number, n = protowire.ConsumeVarint(b)
		} else {
			text, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			return corrupt("field %d of its metadata cannot be read: %v", field, protowire.ParseError(n))
		}
		b = b[n:]
		if err := take(field, number, text); err != nil {
			return err
		}
	}
	return nil
}
