package tensorflow

import (
	"errors"
	"fmt"
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
	return nil, fmt.Errorf("open TensorFlow model %s: the folder has neither %s nor %s", label, savedModelFile, savedModelText)
}

// readSource reads one file.
func readSource(fsys fs.FS, name, label string) (*Source, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open TensorFlow model %s: it is no regular file", label)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("open TensorFlow model %s: %d bytes are more than the limit of %d", label, info.Size(), int64(maxFile))
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model: %w", err)
	}
	s, err := Decode(data, kindOf(path.Base(name)))
	if err != nil {
		return nil, fmt.Errorf("open TensorFlow model %s: %w", label, err)
	}
	s.path = label
	return s, nil
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
	s, err := decode(data, kind)
	if err == nil || kind != graphdef.GraphDef {
		return s, err
	}
	for _, other := range []string{graphdef.SavedModel, graphdef.MetaGraphDef} {
		if s, err := decode(data, other); err == nil {
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
