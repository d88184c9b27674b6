// Package bulk reads and writes many entries of a cache as files have them: CSV, JSON lines, .npz and tar, a record at a time, in the
// memory of one record. Where the records come from and go to is left to others.
package bulk

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
)

// The errors that callers tell apart.
var (
	// ErrFormat says that a format is not known, or that the bytes are not of the format that they are said to be.
	ErrFormat = errors.New("bad format")
	// ErrRow says that a row cannot be read; the error is a *RowError.
	ErrRow = errors.New("bad row")
	// ErrCannotHold says that a format cannot hold an entry.
	ErrCannotHold = errors.New("the format cannot hold it")
)

// A RowError is what is wrong with one row; rows are counted from 1.
type RowError struct {
	Row int64
	// Where says the place more closely, such as a line; it may be empty.
	Where string
	Err   error
}

func (e *RowError) Error() string {
	if e.Where == "" {
		return fmt.Sprintf("row %d: %v", e.Row, e.Err)
	}
	return fmt.Sprintf("row %d (%s): %v", e.Row, e.Where, e.Err)
}

// Unwrap returns what is wrong.
func (e *RowError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrRow) true.
func (e *RowError) Is(target error) bool { return target == ErrRow }

// A Record is one entry. Of its times 0 leaves them to the cache, and a negative one is none.
type Record struct {
	Key               string
	Value             []byte
	ContentType       string
	Lifespan, MaxIdle time.Duration
	Labels            map[string]string
}

// Put returns the write of the record.
func (r *Record) Put() grid.Put {
	return grid.Put{Key: r.Key, Value: r.Value, Options: grid.PutOptions{ContentType: r.ContentType, Lifespan: r.Lifespan, MaxIdle: r.MaxIdle, Labels: r.Labels}}
}

// RecordOf is an entry as it is written to a file. In a cache that has defaults for its times, an entry that has none says so.
func RecordOf(e *grid.Entry, c grid.CacheConfig, now time.Time) Record {
	r := Record{Key: e.Key, Value: e.Value, ContentType: e.ContentType, MaxIdle: e.MaxIdle, Labels: e.Labels}
	if !e.Expires.IsZero() {
		r.Lifespan = max(e.Expires.Sub(now), time.Millisecond)
	} else if c.Lifespan > 0 {
		r.Lifespan = -1
	}
	if r.MaxIdle == 0 && c.MaxIdle > 0 {
		r.MaxIdle = -1
	}
	return r
}

// A Reader gives the records of a file in their order, then io.EOF. What is wrong with one row is a *RowError, after which a reader may
// be of no use. A record is the caller's.
type Reader interface {
	Next() (Record, error)
}

// A Writer takes records, and writes what is left when it is closed.
type Writer interface {
	Write(r *Record) error
	Close() error
}

// A Format is one of those that files have.
type Format string

// The formats.
const (
	CSV       Format = "csv"
	JSONLines Format = "jsonl"
	Tar       Format = "tar"
	NPZ       Format = "npz"
)

// Formats lists them.
func Formats() []Format { return []Format{CSV, JSONLines, Tar, NPZ} }

// ParseFormat returns the format of a name.
func ParseFormat(name string) (Format, error) {
	for _, f := range Formats() {
		if name == string(f) {
			return f, nil
		}
	}
	return "", fmt.Errorf("%w: %q is none of csv, jsonl, tar, npz", ErrFormat, name)
}

// types are the content types of the formats; the first one of each is what it is sent as.
var types = []struct {
	mime   string
	format Format
}{
	{"text/csv", CSV}, {"text/tab-separated-values", CSV},
	{"application/x-ndjson", JSONLines}, {"application/jsonl", JSONLines}, {"application/json-lines", JSONLines}, {"application/jsonlines", JSONLines}, {"application/x-jsonlines", JSONLines},
	{"application/x-tar", Tar}, {"application/tar", Tar},
	{"application/x-npz", NPZ}, {"application/npz", NPZ},
}

// ContentType returns the content type that a format is sent as.
func (f Format) ContentType() string {
	for _, t := range types {
		if t.format == f {
			return t.mime
		}
	}
	return "application/octet-stream"
}

// FormatOfType returns the format of a content type; ErrFormat where it is none of a format.
func FormatOfType(contentType string) (Format, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		for _, t := range types {
			if t.mime == kind {
				return t.format, nil
			}
		}
	}
	return "", fmt.Errorf("%w: the content type %q is none of text/csv, application/x-ndjson, application/x-tar, application/x-npz", ErrFormat, contentType)
}

// FormatOfFile returns the format that the end of a file's name says, with .gz behind it too.
func FormatOfFile(name string) (Format, error) {
	low := strings.TrimSuffix(strings.ToLower(name), ".gz")
	switch path.Ext(low) {
	case ".csv", ".tsv":
		return CSV, nil
	case ".jsonl", ".ndjson", ".jsonlines":
		return JSONLines, nil
	case ".tar", ".tgz":
		return Tar, nil
	case ".npz":
		return NPZ, nil
	}
	return "", fmt.Errorf("%w: the end of %q says none of .csv, .tsv, .jsonl, .ndjson, .tar, .tgz, .npz; name the format", ErrFormat, path.Base(name))
}

// Options say how a file is read.
type Options struct {
	// Key is the column or field that has the keys. Without it they are in one named "key", else the row's number, or a file's name.
	Key string
	// Prefix begins every key that is not in the file: a row's number or a file's name.
	Prefix string
	// MaxBytes is the largest value; grid.MaxValueBytes if 0.
	MaxBytes int64
	// Separator is that of a CSV's columns; 0 finds it, as media.Separator does, in what has come with the first line.
	Separator rune
	// NoHeader says that a CSV's first row is data; its values are lists then.
	NoHeader bool
	// Array is the tensor of an .npz whose rows are the entries.
	Array string
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = grid.MaxValueBytes
	}
	return o
}

// numbered is the key of a row that has none.
func (o Options) numbered(row int64) string { return o.Prefix + strconv.FormatInt(row, 10) }

// NewReader reads r, which may be compressed by gzip. NPZ needs NewNPZReader.
func NewReader(r io.Reader, f Format, o Options) (Reader, error) {
	o = o.withDefaults()
	in := bufio.NewReaderSize(r, 64<<10)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) { // an error comes again with the first read
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		in = bufio.NewReaderSize(unpacked{z}, 64<<10)
	}
	switch f {
	case CSV:
		return newCSVReader(in, o)
	case JSONLines:
		return newLineReader(in, o), nil
	case Tar:
		return newTarReader(in, o), nil
	}
	return nil, fmt.Errorf("%w: %q cannot be read as it comes", ErrFormat, f)
}

// unpacked says of a compressed file's faults what they are.
type unpacked struct{ from io.Reader }

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	}
	return n, err
}

// NewWriter writes records to w. CSV and NPZ need what is known when all records were seen: NewCSVWriter and WriteNPZ.
func NewWriter(w io.Writer, f Format) (Writer, error) {
	switch f {
	case JSONLines:
		return &lineWriter{to: w}, nil
	case Tar:
		return newTarWriter(w), nil
	}
	return nil, fmt.Errorf("%w: %q cannot be written as it comes", ErrFormat, f)
}

// TypeOf returns the content type of a file that says nothing else: what its first bytes or its name tell, else "".
func TypeOf(name string, value []byte) string {
	if t := media.Sniff("", value); t != "application/octet-stream" {
		return t
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return "application/json"
	case ".txt", ".log", ".md":
		return "text/plain"
	case ".csv":
		return "text/csv"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".tif", ".tiff":
		return "image/tiff"
	case ".bin", "":
		return ""
	}
	kind, _, err := mime.ParseMediaType(mime.TypeByExtension(path.Ext(name)))
	if err != nil {
		return ""
	}
	return kind
}
