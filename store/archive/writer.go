package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/name"
)

// maxName is how long the name of a file is at most, without its ending: file systems take 255 bytes.
const maxName = 200

// Writer writes an archive. Entries are added in the order of caches and keys.
type Writer struct {
	tar  *tar.Writer
	made time.Time
	seen end
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	h.Version = version
	out := &Writer{tar: tar.NewWriter(w), made: h.Made}
	return out, out.json(headName, h)
}

// resume goes on with an archive that has so much.
func resume(w io.Writer, h Head, have end) *Writer {
	return &Writer{tar: tar.NewWriter(w), made: h.Made, seen: have}
}

// Add writes an entry. Its value is not kept.
func (w *Writer) Add(cache string, e store.Entry) error {
	n := name.Of(e.Key)
	if len(n) > maxName {
		s := sha256.Sum256([]byte(e.Key))
		n = hex.EncodeToString(s[:])
	}
	n = cache + "/" + n
	if err := w.json(n+".json", metadataOf(cache, e)); err != nil {
		return err
	}
	if err := w.file(n+".value", e.Value); err != nil {
		return err
	}
	w.seen.Entries, w.seen.Bytes = w.seen.Entries+1, w.seen.Bytes+int64(len(e.Value))
	return nil
}

// Close writes the end. Without it the archive is cut.
func (w *Writer) Close() error {
	if err := w.json(endName, w.seen); err != nil {
		return err
	}
	return w.tar.Close()
}

func (w *Writer) json(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return w.file(name, append(b, '\n'))
}

// file writes one file whole, with what fills its last block: an archive that goes on later has whole blocks.
func (w *Writer) file(name string, content []byte) error {
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: w.made.Truncate(time.Second), Typeflag: tar.TypeReg}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := w.tar.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return w.tar.Flush()
}
