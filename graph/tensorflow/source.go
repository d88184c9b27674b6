package tensorflow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// A Source is a file of TensorFlow's that was read: one graph, or the meta graphs of a SavedModel.
type Source struct {
	path  string
	fsys  fs.FS // where a SavedModel's variables are
	dir   string
	graph *graphdef.Graph       // of a GraphDef
	metas []*graphdef.MetaGraph // of a SavedModel or meta graph
	kind  string
	// elements are the weights that were left in the file, which file opens; nil where the file was read as a whole.
	elements *graphdef.Elements
	file     func() (fs.File, error)
	// beside is the path of a checkpoint that stands beside a .meta file.
	beside string
}

// Names of the files in a SavedModel's folder.
const (
	savedModelFile = "saved_model.pb"
	savedModelText = "saved_model.pbtxt"
	variablesFile  = "variables/variables"
)

// maxFile is the size of the largest file that is read; protobuf has no larger messages.
const maxFile = 2 << 30

// Open reads a SavedModel's folder, or a .pb, .pbtxt or .meta file.
func Open(name string) (*Source, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model: %w", err)
	}
	if info.IsDir() {
		return openFS(os.DirFS(name), ".", name)
	}
	dir, file := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	if file == savedModelFile || file == savedModelText {
		return openFS(os.DirFS(dir), ".", name)
	}
	s, err := readSource(os.DirFS(dir), file, name)
	if err != nil {
		return nil, err
	}
	if prefix, ok := strings.CutSuffix(name, ".meta"); ok {
		for _, suffix := range []string{"", ".index"} {
			if _, err := os.Stat(prefix + suffix); err == nil {
				s.beside = prefix
			}
		}
	}
	return s, nil
}

// OpenFS reads a SavedModel in a folder of fsys.
func OpenFS(fsys fs.FS, dir string) (*Source, error) { return openFS(fsys, dir, dir) }

// IsModel reports whether the file or folder at name is one of TensorFlow's, by its name alone.
func IsModel(name string) bool {
	switch filepath.Ext(name) {
	case ".pb", ".pbtxt", ".meta":
		return true
	}
	for _, file := range []string{savedModelFile, savedModelText} {
		if info, err := os.Stat(filepath.Join(name, file)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func openFS(fsys fs.FS, dir, label string) (*Source, error) {
	for _, file := range []string{savedModelFile, savedModelText} {
		name := path.Join(dir, file)
		if _, err := fs.Stat(fsys, name); err == nil {
			s, err := readSource(fsys, name, label)
			if err != nil {
				return nil, err
			}
			s.fsys, s.dir = fsys, dir
			return s, nil
		}
	}
	return nil, fmt.Errorf("open TensorFlow model %s: the folder has neither %s nor %s%s", label, savedModelFile, savedModelText, graphsIn(fsys, dir))
}

// graphsIn says which files of a folder that is no SavedModel may be meant.
func graphsIn(fsys fs.FS, dir string) string {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if ext := path.Ext(e.Name()); e.Type().IsRegular() && (ext == ".pb" || ext == ".pbtxt" || ext == ".meta") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; give a file in it: " + some(names)
}

// smallFile is the size up to which a file is read as a whole.
const smallFile = 1 << 20

// readSource reads one file. The weights in a large one stay there until they are needed.
func readSource(fsys fs.FS, name, label string) (*Source, error) {
	f, info, err := openFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model %s: %w", label, err)
	}
	defer f.Close()
	s, err := readFile(f, info, kindOf(path.Base(name)))
	if errors.Is(err, graphdef.ErrFormat) && isCheckpoint(fsys, name) {
		err = errors.New("it is a checkpoint, which has the values of variables and no graph; give the graph (.meta, .pb or a SavedModel's folder), and this by --checkpoint")
	}
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model %s: %w", label, err)
	}
	if s.elements != nil {
		s.file = func() (fs.File, error) { return reopen(fsys, name, info) }
	}
	s.path = label
	return s, nil
}

// isCheckpoint reports whether a file that is no graph is of a checkpoint.
func isCheckpoint(fsys fs.FS, name string) bool {
	c, err := checkpoint.OpenFS(fsys, name)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func openFile(fsys fs.FS, name string) (fs.File, fs.FileInfo, error) {
	info, err := fs.Stat(fsys, name) // before it is opened, which waits where it is a pipe
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("it is no regular file")
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("%d bytes are more than the limit of %d", info.Size(), int64(maxFile))
	}
	f, err := fsys.Open(name)
	return f, info, err
}

// reopen opens a file that was read in part, and refuses one that has changed.
func reopen(fsys fs.FS, name string, was fs.FileInfo) (fs.File, error) {
	f, info, err := openFile(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() != was.Size() || !info.ModTime().Equal(was.ModTime()) {
		f.Close()
		return nil, fmt.Errorf("%s was changed while it was read; try again", name)
	}
	return f, nil
}

func readFile(f fs.File, info fs.FileInfo, kind string) (*Source, error) {
	head := make([]byte, min(info.Size(), 4096))
	r, ok := f.(io.ReaderAt)
	if ok {
		if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	if !ok || info.Size() <= smallFile || graphdef.IsText(head) {
		data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err != nil {
			return nil, err
		}
		return Decode(data, kind)
	}
	return decodeAny(kind, func(kind string) (*Source, error) {
		data, elements, err := graphdef.Shrink(kind, r, info.Size())
		if err != nil {
			return nil, err
		}
		s, err := decode(data, kind)
		if s != nil {
			s.elements = elements
		}
		return s, err
	})
}

// kindOf returns which message a file of that name holds.
func kindOf(name string) string {
	switch {
	case name == savedModelFile || name == savedModelText:
		return graphdef.SavedModel
	case strings.HasSuffix(name, ".meta") || strings.HasSuffix(name, ".meta.txt"):
		return graphdef.MetaGraphDef
	}
	return graphdef.GraphDef
}

// Decode reads a file of TensorFlow's from memory: a graphdef.GraphDef, graphdef.MetaGraphDef or graphdef.SavedModel, in the binary or the text
// form. A GraphDef that is none is tried as the two others. It keeps data, which must not change.
func Decode(data []byte, kind string) (*Source, error) {
	return decodeAny(kind, func(kind string) (*Source, error) { return decode(data, kind) })
}

func decodeAny(kind string, decode func(kind string) (*Source, error)) (*Source, error) {
	s, err := decode(kind)
	if err == nil || kind != graphdef.GraphDef {
		return s, err
	}
	for _, other := range []string{graphdef.SavedModel, graphdef.MetaGraphDef} {
		if s, err := decode(other); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func decode(data []byte, kind string) (*Source, error) {
	if graphdef.IsText(data) {
		var err error
		if data, err = graphdef.Binary(kind, data); err != nil {
			return nil, err
		}
	}
	s := &Source{path: "model", kind: kind}
	var err error
	switch kind {
	case graphdef.SavedModel:
		s.metas, err = graphdef.DecodeSavedModel(data)
	case graphdef.MetaGraphDef:
		var m *graphdef.MetaGraph
		if m, err = graphdef.DecodeMeta(data); err == nil {
			s.metas = []*graphdef.MetaGraph{m}
		}
	default:
		if s.graph, err = graphdef.DecodeGraph(data); err == nil && !plausible(s.graph) {
			err = fmt.Errorf("%w: it has no nodes with a name and an operator", graphdef.ErrFormat)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// plausible tells a graph from another message whose bytes can be read as one.
func plausible(g *graphdef.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graphdef.Node) bool { return n.Name != "" && n.Op != "" }) &&
		!slices.ContainsFunc(g.Nodes, func(n *graphdef.Node) bool { return n.Op == "" })
}

// checkpoint opens the variables' values; nil where there are none.
func (s *Source) checkpoint(opts Options) (*checkpoint.Checkpoint, error) {
	switch {
	case opts.Checkpoint != "":
		return checkpoint.Open(opts.Checkpoint)
	case s.fsys != nil:
		c, err := checkpoint.OpenFS(s.fsys, path.Join(s.dir, variablesFile))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return c, err
	case s.beside != "":
		return checkpoint.Open(s.beside)
	}
	return nil, nil
}

// loader reads the elements of large constants from the model's file.
type loader struct {
	elements *graphdef.Elements
	file     fs.File
}

func (s *Source) loader() (*loader, error) {
	if s.elements == nil {
		return &loader{}, nil
	}
	f, err := s.file()
	if err != nil {
		return nil, err
	}
	return &loader{s.elements, f}, nil
}

func (l *loader) tensor(t *graphdef.Tensor) (*graphdef.Tensor, error) {
	r, _ := l.file.(io.ReaderAt)
	return l.elements.Load(r, t)
}

// Close closes the file.
func (l *loader) Close() {
	if l.file != nil {
		l.file.Close()
	}
}
