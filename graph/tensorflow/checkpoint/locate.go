package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint/table"
)

// location says which files a checkpoint is.
type location struct {
	version int
	index   string   // V2: the name of the index
	prefix  string   // V2: the data shards' names begin so
	tables  []string // V1
	gone    []string // V1: shards that are missing
}

var shardName = regexp.MustCompile(`^(.+)-(\d{5,9}|\?{5})-of-(\d{5,9})$`)

// locate finds the checkpoint that a name means, as Open says.
func locate(fsys fs.FS, name string) (*location, error) {
	name = path.Clean(strings.TrimSuffix(name, "/"))
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%q is not a path inside the folder", name)
	}
	if st, err := fs.Stat(fsys, name); err == nil && st.IsDir() {
		found, err := newest(fsys, name)
		if err != nil {
			return nil, err
		}
		name = found
	}
	prefix := strings.TrimSuffix(name, ".index")
	if m := shardName.FindStringSubmatch(name); m != nil && strings.HasSuffix(m[1], ".data") {
		prefix = strings.TrimSuffix(m[1], ".data")
	}
	if regular(fsys, prefix+".index") {
		return &location{version: 2, index: prefix + ".index", prefix: prefix}, nil
	}
	if m := shardName.FindStringSubmatch(name); m != nil {
		return shards(fsys, m[1], m[3])
	}
	if regular(fsys, name) {
		return &location{version: 1, tables: []string{name}}, nil
	}
	return shards(fsys, name, "")
}

func regular(fsys fs.FS, name string) bool {
	st, err := fs.Stat(fsys, name)
	return err == nil && st.Mode().IsRegular()
}

// shards finds the files of a checkpoint of version 1 in that many shards, or in as many as there are where of is "".
func shards(fsys fs.FS, base, of string) (*location, error) {
	dir := path.Dir(base)
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	at := &location{version: 1}
	have := map[int]bool{}
	wanted := of
	for _, e := range entries {
		m := shardName.FindStringSubmatch(e.Name())
		if m == nil || m[1] != path.Base(base) || m[2][0] == '?' || wanted != "" && m[3] != wanted {
			continue
		}
		if at.tables != nil && m[3] != of {
			return nil, fmt.Errorf("there are shards %s-?????-of-%s and -of-%s: name one of them", base, of, m[3])
		}
		of = m[3]
		i, _ := strconv.Atoi(m[2])
		have[i] = true
		at.tables = append(at.tables, path.Join(dir, e.Name()))
	}
	if len(at.tables) == 0 {
		return nil, fmt.Errorf("%w: neither %s.index nor a file %s nor shards %s-?????-of-NNNNN%s", fs.ErrNotExist, base, base, base, others(fsys, dir))
	}
	total, _ := strconv.Atoi(of)
	for i := 0; i < total && len(at.gone) < 10; i++ {
		if !have[i] {
			at.gone = append(at.gone, fmt.Sprintf("%s-%05d-of-%s", base, i, of))
		}
	}
	return at, nil
}

// others says which checkpoints of version 2 a folder has.
func others(fsys fs.FS, dir string) string {
	names, err := indexes(fsys, dir)
	if err != nil || len(names) == 0 {
		return ""
	}
	return "; the folder has " + strings.Join(names[:min(len(names), 5)], ", ")
}

// indexes returns the prefixes of the checkpoints of version 2 in a folder.
func indexes(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if prefix, ok := strings.CutSuffix(e.Name(), ".index"); ok && !e.IsDir() {
			names = append(names, path.Join(dir, prefix))
		}
	}
	return names, nil
}

var stateLine = regexp.MustCompile(`(?m)^\s*model_checkpoint_path\s*:\s*("(?:[^"\\\n]|\\.)*"|'[^'\\\n]*')\s*$`)

// newest returns the checkpoint that a folder's file "checkpoint" names, or the only one in it.
func newest(fsys fs.FS, dir string) (string, error) {
	state, err := readState(fsys, path.Join(dir, "checkpoint"))
	switch {
	case err == nil:
		m := stateLine.FindSubmatch(state)
		if m == nil {
			return "", fmt.Errorf("%w: the folder's file \"checkpoint\" has no model_checkpoint_path", ErrFormat)
		}
		quoted := string(m[1])
		name := quoted[1 : len(quoted)-1]
		if quoted[0] == '"' {
			if name, err = strconv.Unquote(quoted); err != nil {
				return "", fmt.Errorf("%w: model_checkpoint_path %s in the folder's file \"checkpoint\"", ErrFormat, quoted)
			}
		}
		// An absolute path is that of the machine which wrote the file.
		if path.IsAbs(name) || strings.ContainsAny(name, `\:`) {
			name = name[strings.LastIndexAny(name, `/\`)+1:]
		}
		name = path.Join(dir, name)
		if !fs.ValidPath(name) || name == dir {
			return "", fmt.Errorf("%w: model_checkpoint_path %s leaves the folder", ErrFormat, quoted)
		}
		return name, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	names, err := indexes(fsys, dir)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", fmt.Errorf("%w: the folder has neither a file \"checkpoint\" nor one that ends with .index", fs.ErrNotExist)
	}
	return "", fmt.Errorf("the folder has several checkpoints and no file \"checkpoint\": name one of %s", strings.Join(names, ", "))
}

func readState(fsys fs.FS, name string) ([]byte, error) {
	const most = 1 << 20
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrFormat, name, most)
	}
	return b, err
}

// file is a file that is opened when it is read first.
type file struct {
	fsys fs.FS
	name string

	mu     sync.Mutex
	closed bool
	opened bool
	err    error
	f      fs.File
	r      io.ReaderAt
	size   int64
	table  *table.Table // of version 1, once it was read
}

// open returns the file's reader and size.
func (f *file) open() (io.ReaderAt, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 0, fmt.Errorf("file %s: %w", f.name, fs.ErrClosed)
	}
	if !f.opened {
		f.opened = true
		f.err = f.first()
	}
	if f.err != nil {
		return nil, 0, fmt.Errorf("file %s: %w", f.name, f.err)
	}
	return f.r, f.size, nil
}

func (f *file) first() error {
	opened, err := f.fsys.Open(f.name)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the name is said already
		}
		return err
	}
	f.f = opened
	st, err := opened.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%w: it is not a regular file", ErrFormat)
	}
	f.size = st.Size()
	if r, ok := opened.(io.ReaderAt); ok {
		f.r = r
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(opened, f.size))
	if err != nil {
		return err
	}
	f.r, f.size = bytes.NewReader(b), int64(len(b))
	return nil
}

// Close closes the file; it cannot be opened again.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.f == nil {
		return nil
	}
	opened := f.f
	f.f = nil
	return opened.Close()
}
