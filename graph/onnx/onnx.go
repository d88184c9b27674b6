// Package onnx reads and writes ONNX: models of IR version 1 to 13 as graphs, and single tensors as its test cases
// hold them. Checking operators against their definition is left to shape inference and to the engines.
//
// Field numbers are those of onnx.proto. What has no place in a graph.Graph (training information, quantization
// annotations, metadata of nodes and values) is left out when a file is read.
package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

var (
	// ErrFormat says that the bytes are not a valid ONNX file: truncated, of another format, or contradictory. The
	// message says where, as "graph: node[3] \"conv1\": attribute[0] \"pads\": ...".
	ErrFormat = errors.New("not a valid ONNX file")
	// ErrUnsupported says that a valid file uses what Millrace has not, such as sparse tensors; the message names it.
	ErrUnsupported = errors.New("not supported")
	// ErrExternal says that a tensor's external data cannot be had: outside the model's folder, missing, too short.
	ErrExternal = errors.New("external data cannot be read")
)

// MaxIR is the newest IR version that is read.
const MaxIR = 13

// maxDepth limits how deep subgraphs and types nest.
const maxDepth = 32

// Options say how a model is read. The zero value is useful: no external data.
type Options struct {
	// External is the model's folder, where its external data lies. A model that needs it is refused where this is nil.
	// Only names that fs.ValidPath accepts are asked for; os.Root's FS keeps symbolic links inside too.
	External fs.FS
	// Share lets tensors share memory with the data that was read, where it is aligned. The data must not change
	// then while the graph is in use, and whoever writes to the tensors writes to it.
	Share bool
	// MaxBytes is the largest size of the model's file and of its external data together; 0 means 8 GiB.
	MaxBytes int64
	// Unchecked leaves out sorting and graph.Validate.
	Unchecked bool
}

func (o Options) maxBytes() int64 {
	if o.MaxBytes <= 0 {
		return 8 << 30
	}
	return o.MaxBytes
}

// Open reads the model in the file of that name, with external data from its folder alone. A model that is not
// valid gives ErrFormat, ErrUnsupported, ErrExternal, or the faults that graph.Validate found.
func Open(name string) (*graph.Graph, error) { return OpenWith(name, Options{}) }

// OpenWith is Open with options; External is the file's folder where it is nil, and Share is on.
func OpenWith(name string, opts Options) (*graph.Graph, error) {
	data, err := readFile(name, opts.maxBytes())
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	if opts.External == nil {
		root, err := os.OpenRoot(filepath.Dir(name))
		if err != nil {
			return nil, fmt.Errorf("open model's folder: %w", err)
		}
		defer root.Close()
		opts.External = root.FS()
	}
	opts.Share = true
	g, err := Decode(data, opts)
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", name, err)
	}
	return g, nil
}

func readFile(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if st.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", name, st.Size(), limit)
	}
	return os.ReadFile(name)
}

// Decode reads a model from its bytes. All that it allocates is at most 24 times data's size and 4 MiB, and the external
// data. It is safe for concurrent use, and never panics on bad input.
func Decode(data []byte, opts Options) (*graph.Graph, error) {
	if int64(len(data)) > opts.maxBytes() {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrFormat, len(data), opts.maxBytes())
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	d := newDecoder(data, opts)
	g, err := d.model(data)
	if err != nil {
		return nil, err
	}
	if opts.Unchecked {
		return g, nil
	}
	if err := g.Sort(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return g, nil
}

// DecodeTensor reads a single tensor, such as the files of ONNX's test cases. External data is refused.
func DecodeTensor(data []byte) (*tensor.Tensor, error) {
	d := newDecoder(data, Options{})
	_, t, err := d.tensor(data)
	if err != nil {
		return nil, at(err, "tensor")
	}
	return t, nil
}

// Write writes a model to w as Encode does, without a copy of large tensors.
func Write(w io.Writer, g *graph.Graph) error {
	e, err := encode(g)
	if err != nil {
		return err
	}
	for part := range e.parts() {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("write model: %w", err)
		}
	}
	return nil
}

// decoder holds what one Decode shares among its messages.
type decoder struct {
	opts     Options
	budget   int64 // bytes that may still be allocated
	external int64 // bytes of external data that may still be read
	files    map[string]int64
	depth    int
	kinds    map[string]string // of the attributes that the function in hand refers to; nil outside functions
	words    words
	lists    []string // room for the next inputs and outputs of nodes
}

func newDecoder(data []byte, opts Options) *decoder {
	return &decoder{
		opts:     opts,
		budget:   16*int64(len(data)) + 1<<20,
		external: opts.maxBytes() - int64(len(data)),
		words:    newWords(len(data)),
	}
}

// charge counts bytes that are about to be allocated.
func (d *decoder) charge(n int) error {
	if n < 0 || int64(n) > d.budget {
		return fmt.Errorf("%w: it asks for far more memory than its own size", ErrFormat)
	}
	d.budget -= int64(n)
	return nil
}

// enter counts a level of nesting; leave undoes it.
func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", ErrFormat, maxDepth)
	}
	return nil
}

func (d *decoder) leave() { d.depth-- }

// at puts a place before an error.
func at(err error, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

// place formats "node[3]", or "node[3] \"name\"" where there is a name.
func place(what string, i int, name string) string {
	const most = 80
	if name == "" {
		return fmt.Sprintf("%s[%d]", what, i)
	}
	if len(name) > most {
		name = name[:most] + "..."
	}
	return fmt.Sprintf("%s[%d] %q", what, i, name)
}

func toInt(v int64) (int, bool) { return int(v), v >= 0 && v <= math.MaxInt }
