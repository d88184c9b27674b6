package cli

import (
	"encoding"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace/millrace/internal/app"
)

const (
	maxConfigBytes = 1 << 20
	maxConfigDepth = 32
)

// A place is a line and a column, both from 1; the zero place is unknown.
type place struct{ line, column int }

// A located fault is one thing that is wrong in a file, the environment or a flag.
type located struct {
	where string // file:line:column, the variable's name, or ""
	msg   string
}

// A configError is everything that is wrong with a configuration.
type configError struct{ faults []located }

func (e *configError) Error() string {
	lines := make([]string, len(e.faults))
	for i, f := range e.faults {
		lines[i] = f.msg
		if f.where != "" {
			lines[i] = f.where + ": " + f.msg
		}
	}
	return strings.Join(lines, "\n")
}

// A yamlDecoder fills structs from a YAML document. It is stricter than YAML: unknown and repeated keys, anchors and
// tags are faults. It goes on after a fault, so that one look finds all.
type yamlDecoder struct {
	file   string // for messages
	base   string // what an app.Path is relative to
	faults []located
	places map[string]place // of each key by its path, such as "http.listen"
}

// decodeYAML reads data into the struct that into points to; keys that data has not are left as they are.
func decodeYAML(file string, data []byte, into any) (map[string]place, []located) {
	d := &yamlDecoder{file: file, base: filepath.Dir(file), places: map[string]place{}}
	if len(data) > maxConfigBytes {
		d.fault(place{}, "is larger than %d bytes", maxConfigBytes)
		return d.places, d.faults
	}
	body, err := parseYAML(data)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			d.fault(placeOf(syntax.GetToken()), "%s", syntax.GetMessage())
		} else {
			d.fault(place{}, "%s", err)
		}
		return d.places, d.faults
	}
	if body != nil {
		d.value("", body, reflect.ValueOf(into).Elem(), 0)
	}
	return d.places, d.faults
}

// parseYAML returns the root of the only document, nil where it is empty. The parser's panics are errors.
func parseYAML(data []byte) (body ast.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			body, err = nil, fmt.Errorf("is not YAML that can be read: %v", r)
		}
	}()
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			return nil, errors.New("has more than one document")
		default:
			body = doc.Body
		}
	}
	return body, nil
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

func (d *yamlDecoder) at(p place) string {
	if p.line == 0 {
		return d.file
	}
	return fmt.Sprintf("%s:%d:%d", d.file, p.line, p.column)
}

func (d *yamlDecoder) fault(p place, format string, args ...any) {
	d.faults = append(d.faults, located{d.at(p), fmt.Sprintf(format, args...)})
}

func (d *yamlDecoder) value(path string, n ast.Node, v reflect.Value, depth int) {
	p := placeOf(n.GetToken())
	if depth > maxConfigDepth {
		d.fault(p, "%s: is nested too deeply", path)
		return
	}
	switch n.(type) {
	case *ast.NullNode:
		return // "key:" with nothing after it says nothing
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fault(p, "%s: anchors, aliases and tags cannot be used here", orRoot(path))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case v.Kind() == reflect.Struct && !isText:
		d.structure(path, n, v, depth)
	case v.Kind() == reflect.Map:
		d.mapping(path, n, v, depth)
	case v.Kind() == reflect.Slice:
		d.sequence(path, n, v, depth)
	default:
		text, ok := scalarText(n)
		if !ok {
			d.fault(p, "%s: must be %s, not a %s", path, kindOf(v), strings.ToLower(n.Type().String()))
			return
		}
		if err := setText(v, text, d.base); err != nil {
			d.fault(p, "%s: %s", path, err)
		}
	}
}

// pairs returns the entries of a mapping, with a fault for each key that is no name or stands there twice.
func (d *yamlDecoder) pairs(path string, n ast.Node, what string) (keys []string, values []*ast.MappingValueNode) {
	var entries []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		entries = m.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{m}
	default:
		d.fault(placeOf(n.GetToken()), "%s: must be %s", orRoot(path), what)
		return nil, nil
	}
	for _, e := range entries {
		p := placeOf(e.Key.GetToken())
		key, ok := scalarText(e.Key)
		switch {
		case !ok || e.Key.IsMergeKey():
			d.fault(p, "%s: a key must be a plain name", orRoot(path))
		case slices.Contains(keys, key):
			d.fault(p, "%s: is there twice", join(path, key))
		default:
			keys, values = append(keys, key), append(values, e)
			d.places[join(path, key)] = p
		}
	}
	return keys, values
}

func (d *yamlDecoder) structure(path string, n ast.Node, v reflect.Value, depth int) {
	keys, values := d.pairs(path, n, "keys with values, indented below it")
	for i, key := range keys {
		field, ok := fieldByKey(v, key)
		if !ok {
			d.fault(placeOf(values[i].Key.GetToken()), "%s: unknown key%s", join(path, key), didYouMean(key, fieldKeys(v.Type())))
			continue
		}
		d.value(join(path, key), values[i].Value, field, depth+1)
	}
}

func (d *yamlDecoder) mapping(path string, n ast.Node, v reflect.Value, depth int) {
	keys, values := d.pairs(path, n, "names with their settings, indented below it")
	if v.IsNil() && len(keys) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for i, key := range keys {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, key), values[i].Value, item, depth+1)
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

func (d *yamlDecoder) sequence(path string, n ast.Node, v reflect.Value, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if text, scalar := scalarText(n); scalar && v.Type().Elem().Kind() != reflect.Struct {
			item := reflect.New(v.Type().Elem()).Elem()
			if setText(item, text, d.base) == nil {
				v.Set(reflect.Append(reflect.MakeSlice(v.Type(), 0, 1), item))
				return
			}
		}
		d.fault(placeOf(n.GetToken()), "%s: must be a list, such as [a, b]", path)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.places[at] = placeOf(item.GetToken())
		d.value(at, item, list.Index(i), depth+1)
	}
	v.Set(list)
}

// scalarText returns what a scalar says, without its quotes.
func scalarText(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// setText sets a scalar from text: from YAML, the environment or a flag. A relative app.Path is joined to base.
func setText(v reflect.Value, text, base string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[app.Path]() && text != "" && !filepath.IsAbs(text) && !strings.HasPrefix(text, app.Builtin) {
			text = filepath.Join(base, text)
		}
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q must be true or false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q must be a whole number", text)
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q must be a number", text)
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("cannot be set from text (%v)", v.Type())
	}
	return nil
}

func kindOf(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "a number"
	}
	return "text"
}

func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldKeys(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orRoot(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}
