// Package strictjson reads JSON objects as they are written: each field once, by its own name.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
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
	if c := bytes.TrimLeft(object, " \t\r\n")[0]; c != '{' {
		return fmt.Errorf("%.20s is no object", object)
	}
	return names(object, reflect.TypeOf(into))
}

var readsItself = reflect.TypeFor[json.Unmarshaler]()

// names looks at the names in a text that was read into a value of that type.
func names(text []byte, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(readsItself) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return members(text, t)
	case reflect.Slice, reflect.Array:
		if k := t.Elem().Kind(); k != reflect.Struct && k != reflect.Map && k != reflect.Pointer && k != reflect.Slice {
			return nil
		}
		var all []json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			return err
		}
		for _, one := range all {
			if err := names(one, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func members(text []byte, t reflect.Type) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return err // null
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if seen[name] {
			return &NameError{name, "comes twice"}
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		of, err := member(t, name)
		if err != nil {
			return err
		}
		if err := names(value, of); err != nil {
			return err
		}
	}
	return nil
}

// member returns the type of a map's values, or of the field that has exactly that name.
func member(t reflect.Type, name string) (reflect.Type, error) {
	if t.Kind() == reflect.Map {
		return t.Elem(), nil
	}
	is := ""
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key == "" {
			key = f.Name
		}
		if key == name {
			return f.Type, nil
		}
		if strings.EqualFold(key, name) {
			is = key
		}
	}
	return nil, &NameError{name, fmt.Sprintf("is written %q", is)}
}
