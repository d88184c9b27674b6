package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
)

// folderIndex is the file in an exported folder that says of each other one what a file cannot: a line of JSON each.
const folderIndex = ".millrace.jsonl"

// countingReader says how far a file was read.
type countingReader struct {
	from io.Reader
	n    atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.n.Add(int64(n))
	return n, err
}

func (r *countingReader) at() int64 { return r.n.Load() }

// folderReader gives the files of a folder in the order of their paths.
type folderReader struct {
	dir   string
	o     bulk.Options
	names []string
	known map[string]bulk.Record // what the index says
	next  atomic.Int64
}

func openFolder(dir string, o bulk.Options) (*source, error) {
	r := &folderReader{dir: dir, o: o}
	s := &source{Reader: r, files: true, Closer: io.NopCloser(nil), at: r.next.Load, place: strings.TrimRight(filepath.Clean(dir), string(filepath.Separator))}
	if s.place == "." || s.place == ".." || s.place == "" {
		s.place = filepath.Join(s.place, ".millrace")
	}
	if err := r.walk(s, "", nil); err != nil {
		return nil, err
	}
	if len(r.names) == 0 {
		return nil, errors.New("there is no file in the folder")
	}
	slices.Sort(r.names)
	s.total = int64(len(r.names))
	return s, r.readIndex()
}

// walk adds the files below rel. Links count as what they lead to, as in a data set for train; above are the folders that rel lies in, into
// which none may lead back.
func (r *folderReader) walk(s *source, rel string, above []os.FileInfo) error {
	dir := filepath.Join(r.dir, filepath.FromSlash(rel))
	here, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, here) }) {
		return fmt.Errorf("%s is a link to a folder that it lies in", dir)
	}
	above = append(above[:len(above):len(above)], here)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range entries {
		name := path.Join(rel, d.Name())
		full := filepath.Join(dir, d.Name())
		if media.Leftover(name) {
			if name != folderIndex {
				s.passed++
			}
			continue
		}
		info, err := os.Stat(full)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			if err := r.walk(s, name, above); err != nil {
				return err
			}
			continue
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no regular file", full)
		}
		s.size += info.Size() + int64(len(name))
		if info.ModTime().After(s.modified) {
			s.modified = info.ModTime()
		}
		r.names = append(r.names, name)
	}
	return nil
}

func (r *folderReader) readIndex() error {
	f, err := os.Open(filepath.Join(r.dir, folderIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r.known = map[string]bulk.Record{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		record, file, err := bulk.ParseFile(lines.Bytes())
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", folderIndex, n, err)
		}
		r.known[file] = record
	}
	return lines.Err()
}

func (r *folderReader) Next() (bulk.Record, error) {
	n := r.next.Load()
	if n == int64(len(r.names)) {
		return bulk.Record{}, io.EOF
	}
	r.next.Add(1)
	name := r.names[n]
	record, err := r.read(name)
	if err != nil {
		return record, &bulk.RowError{Row: n + 1, Where: name, Err: err}
	}
	return record, nil
}

func (r *folderReader) read(name string) (bulk.Record, error) {
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(name)))
	if err != nil {
		return bulk.Record{}, err
	}
	defer f.Close()
	limit := r.o.MaxBytes
	if limit == 0 {
		limit = grid.MaxValueBytes
	}
	value, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return bulk.Record{}, err
	}
	if int64(len(value)) > limit {
		return bulk.Record{}, fmt.Errorf("%w: the file has more than %d bytes, which the cache takes (max_entry_bytes)", grid.ErrTooLarge, limit)
	}
	record, ok := r.known[name]
	if !ok {
		record = bulk.Record{Key: r.o.Prefix + name, ContentType: bulk.TypeOf(name, value)}
	}
	record.Value = value
	return record, nil
}

// folderWriter writes a file for each record.
type folderWriter struct {
	dir   string
	index *bufio.Writer
	file  *os.File
	line  []byte
}

func newFolderWriter(dir string) (*folderWriter, error) {
	f, err := os.Create(filepath.Join(dir, folderIndex))
	if err != nil {
		return nil, err
	}
	return &folderWriter{dir: dir, file: f, index: bufio.NewWriter(f)}, nil
}

func (w *folderWriter) Write(r *bulk.Record) error {
	name := bulk.FileName(r)
	f, err := w.create(name)
	// A key may be the folder of another one, or differ from it in what the file system does not tell apart.
	for n := 2; err != nil && n < 1000 && !errors.Is(err, fs.ErrPermission); n++ {
		end := path.Ext(name)
		f, err = w.create(fmt.Sprintf("%s%%%d%s", strings.ReplaceAll(strings.TrimSuffix(name, end), "/", "%2F"), n, end))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(r.Value)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	rel, err := filepath.Rel(w.dir, f.Name())
	if err != nil {
		return err
	}
	w.line = append(bulk.AppendFile(w.line[:0], r, filepath.ToSlash(rel)), '\n')
	_, err = w.index.Write(w.line)
	return err
}

func (w *folderWriter) create(name string) (*os.File, error) {
	full := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(full, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

func (w *folderWriter) Close() error {
	return errors.Join(w.index.Flush(), w.file.Close())
}
