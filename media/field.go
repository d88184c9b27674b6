package media

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/millrace/millrace/media/jsontensor"
)

// Fields returns those fields of an entry, a JSON object or CSV with a header and one line, as a JSON object; names that it has not are left out, and it
// is nil where none is there. Numbers of CSV stay numbers.
func Fields(contentType string, data []byte, names []string) []byte {
	found := make(map[string][]byte, len(names))
	switch kind := Sniff(contentType, data); {
	case kind == typeCSV, kind != typeJSON && !looksJSON(data) && textual(data):
		for c, err := range records(data, false) {
			if err != nil {
				return nil
			}
			for k, name := range c.names {
				if slices.Contains(names, name) && found[name] == nil {
					found[name] = csvValue(strings.TrimSpace(c.fields[k]))
				}
			}
			break
		}
	case kind == typeJSON, looksJSON(data):
		s := jsontensor.NewScanner(data, dialect)
		if s.Peek() != '{' {
			return nil
		}
		if err := s.Object(func(name string) error {
			s.Peek()
			at := s.Pos()
			if err := s.Skip(); err != nil {
				return err
			}
			if slices.Contains(names, name) && found[name] == nil {
				found[strings.Clone(name)] = s.Since(at)
			}
			return nil
		}); err != nil {
			return nil
		}
	}
	var out []byte
	for _, name := range names {
		if found[name] == nil {
			continue
		}
		if out == nil {
			out = append(out, '{')
		} else {
			out = append(out, ',')
		}
		out = append(append(jsontensor.AppendString(out, name), ':'), found[name]...)
		found[name] = nil
	}
	if out == nil {
		return nil
	}
	return append(out, '}')
}

// csvValue is a field of CSV as JSON.
func csvValue(field string) []byte {
	switch {
	case NoValue(field):
		return []byte("null")
	case json.Valid([]byte(field)) && field[0] != '"' && field[0] != '[' && field[0] != '{':
		return []byte(field)
	}
	return jsontensor.AppendString(nil, field)
}

// textual reports whether bytes without a type are lines of text.
func textual(data []byte) bool {
	head, rest, more := strings.Cut(string(data[:min(len(data), 4096)]), "\n")
	return more && rest != "" && !strings.ContainsFunc(head, func(c rune) bool { return c < ' ' && c != '\t' && c != '\r' || c == '\uFFFD' })
}
