// Package strictjson reads JSON objects as they are written: each field once, by its own name.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A NameError says that a field's name comes twice, or is written in other case than it has.
type NameError struct {
	Name string // as the text has it
	Msg  string
}

func (e *NameError) Error() string { return fmt.Sprintf("%.80q %s", e.Name, e.Msg) }

// ErrFollows says that something comes after the object.
var ErrFollows = errors.New("something follows the object")

// Decode reads one object into a struct as encoding/json does, and returns its errors. Beyond that it refuses fields that the struct does
// not have, null in place of the object, ErrFollows, and a NameError for a name that comes twice or in another case. Inside of a
// json.RawMessage and of types that read themselves names are not looked at.
func Decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	object := data[:d.InputOffset()]
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrFollows
	}
	w := walker{text: object}
	if w.peek() != '{' {
		return fmt.Errorf("%.20s is no object", object)
	}
	return w.value(reflect.TypeOf(into))
}

// walker looks at the names in a text that encoding/json has read without an error: it need not check anything else.
type walker struct {
	text []byte
	at   int
}

// peek is the next byte that is no blank.
func (w *walker) peek() byte {
	for strings.IndexByte(" \t\r\n", w.text[w.at]) >= 0 {
		w.at++
	}
	return w.text[w.at]
}

var readsItself = reflect.TypeFor[json.Unmarshaler]()

// value goes behind a value that was read into one of that type.
func (w *walker) value(t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	open := w.peek()
	switch k := t.Kind(); {
	case reflect.PointerTo(t).Implements(readsItself):
	case open == '{' && (k == reflect.Struct || k == reflect.Map):
		return w.members(t)
	case open == '[' && (k == reflect.Slice || k == reflect.Array):
		return w.elements(t.Elem())
	}
	w.skip()
	return nil
}

func (w *walker) elements(t reflect.Type) error {
	for w.at++; w.peek() != ']'; {
		if err := w.value(t); err != nil {
			return err
		}
		if w.peek() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

func (w *walker) members(t reflect.Type) error {
	var some [16]string
	seen := some[:0]
	var many map[string]bool // of a large object
	for w.at++; w.peek() != '}'; {
		name, err := w.name()
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) || many[name] {
			return &NameError{name, "comes twice"}
		}
		if len(seen) < cap(seen) {
			seen = append(seen, name)
		} else {
			if many == nil {
				many = map[string]bool{}
			}
			many[name] = true
		}
		of, err := member(t, name)
		if err != nil {
			return err
		}
		w.peek()
		w.at++ // the colon
		if err := w.value(of); err != nil {
			return err
		}
		if w.peek() == ',' {
			w.at++
		}
	}
	w.at++
	return nil
}

// name reads a member's name.
func (w *walker) name() (name string, err error) {
	from := w.at
	w.skip()
	raw := w.text[from:w.at]
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), nil
	}
	err = json.Unmarshal(raw, &name)
	return name, err
}

// skip goes behind any value.
func (w *walker) skip() {
	depth := 0
	for {
		switch w.peek() {
		case '"':
			for w.at++; w.text[w.at] != '"'; w.at++ {
				if w.text[w.at] == '\\' {
					w.at++
				}
			}
			w.at++
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		case ',', ':':
			w.at++
		default: // a number or a word
			for w.at < len(w.text) && strings.IndexByte(",:]} \t\r\n", w.text[w.at]) < 0 {
				w.at++
			}
		}
		if depth == 0 {
			return
		}
	}
}

// fields are the types of a struct's fields by their names; they are found once for each struct.
var fields sync.Map // reflect.Type to map[string]reflect.Type

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fields.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	all := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		all[name] = f.Type
	}
	fields.Store(t, all)
	return all
}

// member returns the type of a map's values, or of the field that has exactly that name.
func member(t reflect.Type, name string) (reflect.Type, error) {
	if t.Kind() == reflect.Map {
		return t.Elem(), nil
	}
	all := fieldsOf(t)
	if of, ok := all[name]; ok {
		return of, nil
	}
	is := ""
	for key := range all {
		if strings.EqualFold(key, name) {
			is = key
		}
	}
	return nil, &NameError{name, fmt.Sprintf("is written %q", is)}
}
