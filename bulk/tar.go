package bulk

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
)

// A tar has a file for each entry. What a file cannot say of it stands in a record of its header (PAX, POSIX.1-2001), so that other
// programs unpack plain files: MILLRACE.entry has the JSON of a line without the value.

const paxEntry = "MILLRACE.entry"

type tarReader struct {
	o      Options
	in     *tar.Reader
	row    int64
	failed error
}

func newTarReader(in io.Reader, o Options) *tarReader {
	return &tarReader{o: o, in: tar.NewReader(in)}
}

func (t *tarReader) Next() (Record, error) {
	if t.failed != nil {
		return Record{}, t.failed
	}
	for {
		h, err := t.in.Next()
		if errors.Is(err, io.EOF) {
			t.failed = io.EOF
			return Record{}, io.EOF
		}
		if err != nil {
			if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
				t.row++
				err = &RowError{Row: t.row, Err: fmt.Errorf("%w: tar: %w", ErrFormat, err)}
			}
			t.failed = err
			return Record{}, err
		}
		meta := h.PAXRecords[paxEntry]
		switch {
		case h.Typeflag == tar.TypeDir, h.Typeflag == tar.TypeXGlobalHeader, meta == "" && media.Leftover(h.Name):
			continue
		}
		t.row++
		r, err := t.record(h, meta)
		if err != nil {
			return Record{}, &RowError{Row: t.row, Where: fmt.Sprintf("%.200q", h.Name), Err: err}
		}
		return r, nil
	}
}

func (t *tarReader) record(h *tar.Header, meta string) (Record, error) {
	var r Record
	switch {
	case h.Typeflag != tar.TypeReg:
		return r, fmt.Errorf("%w: it is a link or no regular file", ErrFormat)
	case h.Size > t.o.MaxBytes:
		return r, fmt.Errorf("%w: value of %d bytes, at most %d are taken", grid.ErrTooLarge, h.Size, t.o.MaxBytes)
	}
	if meta != "" {
		var e entryLine
		if err := json.Unmarshal([]byte(meta), &e); err != nil {
			return r, fmt.Errorf("%w: %s: %w", ErrFormat, paxEntry, err)
		}
		e.Value, e.ValueBase64 = nil, &[]byte{}
		var err error
		if r, err = e.record(); err != nil {
			return r, err
		}
	} else {
		r.Key = t.o.Prefix + strings.TrimPrefix(h.Name, "./")
		if err := checkKey(r.Key); err != nil {
			return r, err
		}
	}
	// What the header claims is allocated as it arrives.
	var value bytes.Buffer
	if n, err := io.Copy(&value, t.in); err != nil {
		return r, fmt.Errorf("%w: tar: %w", ErrFormat, err)
	} else if n != h.Size {
		return r, fmt.Errorf("%w: tar: %d bytes of %d", ErrFormat, n, h.Size)
	}
	r.Value = value.Bytes()
	if meta == "" {
		r.ContentType = TypeOf(h.Name, r.Value)
	}
	return r, nil
}

type tarWriter struct{ to *tar.Writer }

func newTarWriter(w io.Writer) tarWriter { return tarWriter{tar.NewWriter(w)} }

func (t tarWriter) Write(r *Record) error {
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: FileName(r), Size: int64(len(r.Value)), Mode: 0o644, Format: tar.FormatPAX,
		PAXRecords: map[string]string{paxEntry: string(append(appendMeta(nil, r), '}'))},
	}
	if err := t.to.WriteHeader(h); err != nil {
		return fmt.Errorf("entry %.80q: %w", r.Key, err)
	}
	_, err := t.to.Write(r.Value)
	return err
}

func (t tarWriter) Close() error { return t.to.Close() }

// extensions are the ends of file names by content type.
var extensions = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/tiff": ".tif",
	"application/x-npy": ".npy", typeJSON: ".json", "text/plain": ".txt", "text/csv": ".csv",
}

// FileName returns the path, with slashes, of the file that has a record's value. It never leaves the folder, and is the key itself
// where that can be: parts that a file system takes for something else are percent-encoded, and the end says the content type where the
// key's does not.
func FileName(r *Record) string {
	parts := strings.Split(r.Key, "/")
	for i, p := range parts {
		parts[i] = fileSafe(p)
	}
	name := strings.Join(parts, "/")
	kind, _, _ := strings.Cut(r.ContentType, ";")
	end := extensions[strings.TrimSpace(kind)]
	has := strings.ToLower(path.Ext(name))
	if end != "" && has != end && (end != ".jpg" || has != ".jpeg") && (end != ".tif" || has != ".tiff") {
		name += end
	}
	return name
}

// maxPart is how long a part of a file's name may be; beyond it is cut, and its beginning kept.
const maxPart = 200

func fileSafe(part string) string {
	if part == "" {
		return "%"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(part) {
		c := part[i]
		if c < ' ' || c == 0x7f || strings.IndexByte(`%\:*?"<>|`, c) >= 0 || c == '.' && (i == 0 || i == len(part)-1) || c == ' ' && (i == 0 || i == len(part)-1) {
			b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
		} else {
			b.WriteByte(c)
		}
	}
	s := strings.ToValidUTF8(b.String(), "%FF")
	if media.Leftover(s) || strings.HasSuffix(strings.ToLower(s), ".part") {
		s = "%" + s // or it would be passed over when the folder is read
	}
	if len(s) > maxPart {
		// Two long keys may begin alike: the key's sum tells them apart.
		s = strings.ToValidUTF8(s[:maxPart-20], "") + "%" + sum(part)
	}
	return s
}
