package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/millrace/millrace/store"
)

// Reader reads an archive from its beginning. Anybody may have made the file: what it says is checked, and its memory is bounded by
// one value.
type Reader struct {
	tar  *tar.Reader
	at   *counter
	head Head
	seen end
	// cache and key are those of the last entry.
	cache, key string
	ended      bool
}

// counter counts what the tar reader has taken.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// NewReader reads the head of an archive.
func NewReader(r io.Reader) (*Reader, error) {
	at := &counter{r: bufio.NewReaderSize(r, 1<<18)}
	out := &Reader{tar: tar.NewReader(at), at: at}
	h, err := out.next()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	if errors.Is(err, ErrCut) {
		return nil, fmt.Errorf("%w: %w, before there is anything", ErrFormat, err)
	}
	if err != nil {
		return nil, err
	}
	if h.Name != headName {
		return nil, fmt.Errorf("%w: it begins with %.80q, and not with %s: it is not of millrace store export", ErrFormat, h.Name, headName)
	}
	if err := out.json(h, &out.head); err != nil {
		return nil, err
	}
	if out.head.Version != version {
		return nil, fmt.Errorf("%w: it has version %d, this program reads %d; use a newer one", ErrFormat, out.head.Version, version)
	}
	return out, nil
}

// Head returns what the archive begins with.
func (r *Reader) Head() Head { return r.head }

// Offset is how far in the file the reader is: behind what it returned last.
func (r *Reader) Offset() int64 { return (r.at.n + 511) &^ 511 }

// Next returns the next entry, with its cache, or io.EOF. An archive without its end is an ErrCut, any other fault an ErrFormat.
func (r *Reader) Next() (cache string, e store.Entry, err error) {
	h, err := r.next()
	if errors.Is(err, io.EOF) {
		return "", e, fmt.Errorf("%w: it ends after %d entries%s", ErrCut, r.seen.Entries, r.last())
	}
	if err != nil {
		return "", e, err
	}
	if h.Name == endName {
		var said end
		if err := r.json(h, &said); err != nil {
			return "", e, err
		}
		if said != r.seen {
			return "", e, r.wrong("its end tells of %d entries with %d bytes, and it has %d with %d", said.Entries, said.Bytes, r.seen.Entries, r.seen.Bytes)
		}
		if more, err := r.next(); err == nil {
			return "", e, r.wrong("%.80q follows its end", more.Name)
		} else if !errors.Is(err, io.EOF) {
			return "", e, err
		}
		r.ended = true
		return "", e, io.EOF
	}
	return r.entry(h)
}

// entry reads the two files of an entry.
func (r *Reader) entry(h *tar.Header) (cache string, e store.Entry, err error) {
	name, ok := strings.CutSuffix(h.Name, ".json")
	if !ok {
		return "", e, r.wrong("%.80q is no file of an archive", h.Name)
	}
	var m metadata
	if err := r.json(h, &m); err != nil {
		return "", e, err
	}
	if e.Info, err = m.info(); err != nil {
		return "", e, r.wrong("%.80q: %v", h.Name, err)
	}
	v, err := r.next()
	if errors.Is(err, io.EOF) {
		return "", e, fmt.Errorf("%w: it ends before the value of %s", ErrCut, quote(m.Cache, e.Key))
	}
	if err != nil {
		return "", e, err
	}
	if v.Name != name+".value" {
		return "", e, r.wrong("%.80q follows %.80q, and not its value", v.Name, h.Name)
	}
	if v.Size != m.Size {
		return "", e, r.wrong("the value of %s has %d bytes, and its JSON tells of %d", quote(m.Cache, e.Key), v.Size, m.Size)
	}
	if e.Value, err = r.content(v, store.MaxValueBytes); err != nil {
		return "", e, err
	}
	if have := sum(e.Value); have != m.CRC32C {
		return "", e, r.wrong("the value of %s is damaged: its checksum is %s, and not %.20q", quote(m.Cache, e.Key), have, m.CRC32C)
	}
	if err := e.Check(m.Cache); err != nil {
		return "", e, r.wrong("%v", err)
	}
	if !isCache(m.Cache) {
		return "", e, r.wrong("%s is no cache", m.Cache)
	}
	if r.seen.Entries > 0 && !before(r.cache, r.key, m.Cache, e.Key) {
		return "", e, r.wrong("%s follows %s, which is not its place", quote(m.Cache, e.Key), quote(r.cache, r.key))
	}
	r.cache, r.key = m.Cache, e.Key
	r.seen.Entries, r.seen.Bytes = r.seen.Entries+1, r.seen.Bytes+m.Size
	return m.Cache, e, nil
}

// next returns the header of the next file.
func (r *Reader) next() (*tar.Header, error) {
	h, err := r.tar.Next()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: it ends within a file%s", ErrCut, r.last())
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, tar.ErrHeader), err != nil && strings.HasPrefix(err.Error(), "archive/tar:"):
		return nil, r.wrong("%v", err)
	case err != nil:
		return nil, fmt.Errorf("read the archive: %w", err)
	case h.Typeflag != tar.TypeReg:
		return nil, r.wrong("%.80q is not a plain file", h.Name)
	}
	return h, nil
}

// content reads a file that may have so many bytes.
func (r *Reader) content(h *tar.Header, most int64) ([]byte, error) {
	if h.Size < 0 || h.Size > most {
		return nil, r.wrong("%.80q has %d bytes, of at most %d", h.Name, h.Size, most)
	}
	// It grows as bytes come: a header may tell of more than there is.
	b := bytes.NewBuffer(make([]byte, 0, min(h.Size, 1<<20)+bytes.MinRead))
	_, err := io.Copy(b, r.tar)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: it ends within %.80q", ErrCut, h.Name)
	case err != nil:
		return nil, fmt.Errorf("read %.80q: %w", h.Name, err)
	}
	return b.Bytes(), nil
}

func (r *Reader) json(h *tar.Header, into any) error {
	b, err := r.content(h, maxJSON)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return r.wrong("%.80q: %v", h.Name, err)
	}
	return nil
}

func (r *Reader) wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s%s", ErrFormat, fmt.Sprintf(format, args...), r.last())
}

// last says where the reader is.
func (r *Reader) last() string {
	if r.seen.Entries == 0 {
		return ""
	}
	return fmt.Sprintf(" (after %s, near byte %d)", quote(r.cache, r.key), r.at.n)
}
