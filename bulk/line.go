package bulk

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/fault/strictjson"
	"github.com/millrace/millrace/grid"
)

// JSON lines have one object a line: an entry, as lists of entries have it (key, value or valueBase64, contentType, times, labels), or
// just a value. The first line says which of the two all lines are.

// entryLine is an entry as a line has it. What a list of entries tells beside is read, and not used.
type entryLine struct {
	Key         *grid.JSONKey     `json:"key"`
	Revision    json.RawMessage   `json:"revision"`
	Created     json.RawMessage   `json:"created"`
	ContentType string            `json:"contentType"`
	Lifespan    *json.Number      `json:"timeToLiveSeconds"`
	MaxIdle     *json.Number      `json:"maxIdleTimeSeconds"`
	Labels      map[string]string `json:"labels"`
	Value       json.RawMessage   `json:"value"`
	ValueBase64 *[]byte           `json:"valueBase64"`
	File        json.RawMessage   `json:"file"` // that has the value, in a folder
}

// lineRoom is what a line may have beside its value, and how much longer a value may be in it.
const lineRoom = 64 << 10

type lineReader struct {
	o      Options
	in     *bufio.Reader
	buf    []byte
	row    int64
	line   int64
	asked  bool // whether the first line said what the lines are
	plain  bool
	failed error
}

func newLineReader(in *bufio.Reader, o Options) *lineReader {
	return &lineReader{o: o, in: in, plain: o.Key != ""}
}

func (l *lineReader) Next() (Record, error) {
	if l.failed != nil {
		return Record{}, l.failed
	}
	for {
		text, err := l.read()
		if err != nil {
			l.failed = err
			return Record{}, err
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		l.row++
		r, err := l.record(text)
		if err != nil {
			return Record{}, l.fault(err)
		}
		return r, nil
	}
}

func (l *lineReader) fault(err error) error {
	return &RowError{Row: l.row, Where: fmt.Sprintf("line %d", l.line), Err: err}
}

// read returns the next line, at most as long as a record may be.
func (l *lineReader) read() ([]byte, error) {
	l.buf = l.buf[:0]
	l.line++
	for {
		part, err := l.in.ReadSlice('\n')
		l.buf = append(l.buf, part...)
		if int64(len(l.buf)) > 2*l.o.MaxBytes+lineRoom {
			l.row++
			return nil, l.fault(fmt.Errorf("%w: a line of more than %d bytes, where a value has at most %d", grid.ErrTooLarge, 2*l.o.MaxBytes+lineRoom, l.o.MaxBytes))
		}
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(l.buf) > 0:
			if l.line == 1 {
				return bytes.TrimPrefix(l.buf, []byte(bom)), nil
			}
			return l.buf, nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, err
		}
	}
}

const bom = "\xef\xbb\xbf"

func (l *lineReader) record(text []byte) (Record, error) {
	if !l.asked && !l.plain {
		l.plain = !isEntry(text)
	}
	l.asked = true
	if l.plain {
		return l.value(text)
	}
	var e entryLine
	if err := strictjson.Decode(text, &e); err != nil {
		return Record{}, fmt.Errorf("%w: no entry, as the first line has one: %w", ErrFormat, err)
	}
	return e.record()
}

// isEntry reports whether a line is an entry rather than a value: it has a key and a value, and nothing that entries do not have.
func isEntry(text []byte) bool {
	var e entryLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(&e) == nil && e.Key != nil && (e.Value != nil || e.ValueBase64 != nil)
}

// value takes the line itself as the value.
func (l *lineReader) value(text []byte) (Record, error) {
	if !json.Valid(text) {
		var v any
		return Record{}, fmt.Errorf("%w: no JSON: %w", ErrFormat, json.Unmarshal(text, &v))
	}
	if int64(len(text)) > l.o.MaxBytes {
		return Record{}, fmt.Errorf("%w: value of %d bytes, at most %d are taken", grid.ErrTooLarge, len(text), l.o.MaxBytes)
	}
	r := Record{Value: bytes.Clone(text), ContentType: typeJSON}
	name := l.o.Key
	if name == "" {
		name = keyColumn
	}
	var fields map[string]json.RawMessage
	if text[0] == '{' {
		if err := strictjson.Decode(text, &fields); err != nil {
			return Record{}, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	raw, ok := fields[name]
	switch {
	case ok:
		key, err := keyText(raw)
		if err != nil {
			return Record{}, fmt.Errorf("%w: field %q: %w", ErrFormat, name, err)
		}
		r.Key = key
	case l.o.Key != "":
		return Record{}, fmt.Errorf("%w: the field %q, which has the key, is missing; there is %s", ErrFormat, name, names(slices.Sorted(maps.Keys(fields))))
	default:
		r.Key = l.o.numbered(l.row)
	}
	return r, checkKey(r.Key)
}

// keyText is a key that a field has: text, a number as it is written, or {"base64": ...}.
func keyText(raw json.RawMessage) (string, error) {
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		return string(raw), nil
	}
	var k grid.JSONKey
	err := k.UnmarshalJSON(raw)
	return string(k), err
}

func checkKey(key string) error {
	if key == "" || len(key) > grid.MaxKeyBytes {
		return fmt.Errorf("%w: %d bytes; a key has 1 to %d", grid.ErrKey, len(key), grid.MaxKeyBytes)
	}
	return nil
}

func (e *entryLine) record() (Record, error) {
	r := Record{ContentType: e.ContentType, Labels: e.Labels}
	if e.Key == nil || e.Value == nil && e.ValueBase64 == nil {
		return r, fmt.Errorf("%w: no entry, as the first line has one: key, and value or valueBase64, are needed", ErrFormat)
	}
	if e.Value != nil && e.ValueBase64 != nil {
		return r, fmt.Errorf("%w: value and valueBase64 are both there", ErrFormat)
	}
	r.Key = string(*e.Key)
	err := checkKey(r.Key)
	if err == nil {
		r.Value, r.ContentType, err = e.value()
	}
	if err == nil {
		r.Lifespan, err = seconds("timeToLiveSeconds", e.Lifespan)
	}
	if err == nil {
		r.MaxIdle, err = seconds("maxIdleTimeSeconds", e.MaxIdle)
	}
	return r, err
}

// value returns the value's bytes, and its type where the line says none.
func (e *entryLine) value() ([]byte, string, error) {
	switch {
	case e.ValueBase64 != nil:
		return *e.ValueBase64, e.ContentType, nil
	case e.ContentType == "":
		return e.Value, typeJSON, nil
	}
	b, err := ParseValue(e.ContentType, e.Value)
	return b, e.ContentType, err
}

// ParseValue returns the bytes of a value that stands in JSON under "value", as AppendValue has written it.
func ParseValue(contentType string, raw json.RawMessage) ([]byte, error) {
	if !isText(contentType) {
		return raw, nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return nil, fmt.Errorf("%w: a value of %s is a string, not %.40s", ErrFormat, contentType, raw)
	}
	return []byte(*s), nil
}

// seconds reads a time in seconds, to the millisecond; -1 is for ever, whatever the cache says.
func seconds(name string, n *json.Number) (time.Duration, error) {
	if n == nil {
		return 0, nil
	}
	s, err := strconv.ParseFloat(n.String(), 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %s %q", ErrFormat, name, n.String())
	case s == -1:
		return -1, nil
	case s < 0:
		return 0, fmt.Errorf("%w: %s of %s s; it is 0 or more, or -1 for ever", grid.ErrLifespan, name, n.String())
	case s > grid.MaxLifespan.Seconds():
		return 0, fmt.Errorf("%w: %s of %s s; at most %.0f s (100 years) can be kept", grid.ErrLifespan, name, n.String(), grid.MaxLifespan.Seconds())
	}
	if s == 0 {
		return 0, nil
	}
	ms := max(int64(math.Round(s*1000)), 1)
	return time.Duration(ms) * time.Millisecond, nil
}

// lineWriter writes entries, each so that it is read as it was.
type lineWriter struct {
	to  io.Writer
	buf []byte
}

func (l *lineWriter) Write(r *Record) error {
	l.buf = append(AppendLine(l.buf[:0], r), '\n')
	_, err := l.to.Write(l.buf)
	return err
}

func (l *lineWriter) Close() error { return nil }

// AppendLine appends a record's line, without its end.
func AppendLine(dst []byte, r *Record) []byte {
	dst = appendMeta(dst, r)
	return append(AppendValue(dst, r.ContentType, r.Value, true), '}')
}

// AppendFile appends the line of a record whose value is in a file of a folder.
func AppendFile(dst []byte, r *Record, file string) []byte {
	return append(appendString(append(appendMeta(dst, r), `,"file":`...), file), '}')
}

// ParseFile reads what AppendFile has written: a record without its value, and its file.
func ParseFile(line []byte) (r Record, file string, err error) {
	e := entryLine{ValueBase64: &[]byte{}}
	if err = json.Unmarshal(line, &e); err == nil {
		err = json.Unmarshal(e.File, &file)
	}
	if err != nil {
		return r, "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	e.Value = nil
	r, err = e.record()
	return r, file, err
}

// appendMeta begins a record's object with everything but its value.
func appendMeta(dst []byte, r *Record) []byte {
	dst = grid.JSONKey(r.Key).AppendJSON(append(dst, `{"key":`...))
	if r.ContentType != "" {
		dst = appendString(append(dst, `,"contentType":`...), r.ContentType)
	}
	dst = appendSeconds(dst, `,"timeToLiveSeconds":`, r.Lifespan)
	dst = appendSeconds(dst, `,"maxIdleTimeSeconds":`, r.MaxIdle)
	if len(r.Labels) > 0 {
		dst = append(dst, `,"labels":`...)
		sep := byte('{')
		for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
			dst = appendString(append(dst, sep), name)
			dst = appendString(append(dst, ':'), r.Labels[name])
			sep = ','
		}
		dst = append(dst, '}')
	}
	return dst
}

func appendSeconds(dst []byte, name string, d time.Duration) []byte {
	switch {
	case d == 0:
		return dst
	case d < 0:
		return append(append(dst, name...), "-1"...)
	}
	// In milliseconds, up: an entry that is there has time left.
	ms := (d + time.Millisecond - 1).Milliseconds()
	dst = strconv.AppendInt(append(dst, name...), ms/1000, 10)
	if ms%1000 != 0 {
		dst = append(dst, fmt.Sprintf(".%03d", ms%1000)...)
	}
	return dst
}

// AppendValue appends a value as a member of a JSON object: "value" with the value itself where it is JSON and with a string where it is
// text, and "valueBase64" else. Exact keeps every byte of JSON; otherwise blanks in it may go.
func AppendValue(dst []byte, contentType string, value []byte, exact bool) []byte {
	if isJSON(contentType) && utf8.Valid(value) {
		mark := len(dst)
		buf := bytes.NewBuffer(append(dst, `,"value":`...))
		begin := buf.Len()
		if json.Compact(buf, value) == nil && (!exact || bytes.Equal(buf.Bytes()[begin:], value)) {
			return buf.Bytes()
		}
		dst = buf.Bytes()[:mark] // it says that it is JSON and is not, or would come back without its blanks
	} else if isText(contentType) && utf8.Valid(value) {
		mark := len(dst)
		dst = appendString(append(dst, `,"value":`...), string(value))
		if len(dst)-mark <= 2*len(value)+32 { // else it is full of what JSON has to escape
			return dst
		}
		dst = dst[:mark]
	}
	dst = append(dst, `,"valueBase64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, value), '"')
}

// appendString appends text as JSON. What is no UTF-8 in it is replaced.
func appendString(dst []byte, s string) []byte {
	return grid.JSONKey(strings.ToValidUTF8(s, "\uFFFD")).AppendJSON(dst)
}

const typeJSON = "application/json"

func isJSON(contentType string) bool {
	if contentType == typeJSON {
		return true
	}
	if contentType == "" {
		return false
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == typeJSON || strings.HasSuffix(kind, "+json"))
}

// isText reports whether a value of a content type is text in UTF-8, as far as its type says.
func isText(contentType string) bool {
	if contentType == "text/plain" {
		return true
	}
	if !strings.HasPrefix(contentType, "text/") {
		return false
	}
	_, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && (charset == "" || charset == "utf-8" || charset == "us-ascii")
}

// names lists a few names for an error.
func names(all []string) string {
	const most = 20
	if len(all) == 0 {
		return "none"
	}
	quoted := make([]string, 0, most)
	for _, n := range all[:min(len(all), most)] {
		quoted = append(quoted, fmt.Sprintf("%.60q", n))
	}
	if len(all) > most {
		quoted = append(quoted, fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(quoted, ", ")
}
