// Package checkpoint reads the variables that TensorFlow saved: checkpoints of version 1 and 2, whole or in shards, with
// partitioned variables, and the object graph of TensorFlow 2. Which variable is which in a model is left to package
// tensorflow, and the container of both versions to package table.
//
// # Version 2
//
// PREFIX.index is a table from a variable's name to a BundleEntryProto: type (1), shape (2), shard (3), offset (4), size (5),
// masked CRC-32C of the bytes (6), slices (7). The key "" has a BundleHeaderProto: number of shards (1), byte order (2),
// version (3). The bytes are in PREFIX.data-SSSSS-of-NNNNN, row by row. A variable with slices has no bytes of its own: each of its
// slices is an entry under the key that sliceKey makes. A string tensor is a varint for each length, the masked
// checksum of the lengths (as 4 bytes each), and the strings.
//
// # Version 1
//
// One table, or several FILE-SSSSS-of-NNNNN. The value of key "" is a SavedTensorSlices whose field 1 is a SavedTensorSliceMeta:
// for each tensor (1) name (1), shape (2), type (3) and slices (4); version (2). Every other value is a SavedTensorSlices
// whose field 2 is a SavedSlice: name (1), slice (2), a TensorProto (3) with the values in the field of their type.
//
// # Memory
//
// Open reads what is needed to list the variables; values are read when they are asked for, straight into the tensor's
// memory. Nothing is allocated on the word of a file that is not large enough to justify it.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/millrace/millrace/tensor"
)

var (
	// ErrFormat says that a checkpoint is damaged or contradicts itself; the message names file and key.
	ErrFormat = errors.New("not a valid checkpoint")
	// ErrUnsupported says that a valid checkpoint uses what Millrace has not, such as a variant tensor.
	ErrUnsupported = errors.New("not supported")
	// ErrNotFound says that a checkpoint has no variable of that name.
	ErrNotFound = errors.New("no such variable")
)

// maxRank is the largest number of dimensions that TensorFlow has.
const maxRank = 254

// A Checkpoint is an open checkpoint. It is safe for concurrent use. Its files must not change while it is open.
type Checkpoint struct {
	path    string
	version int
	vars    map[string]*variable
	names   []string
	files   []*file // V2: the data shards; V1: the tables
	gone    []string
	swap    bool // the values are big-endian
}

// variable is what a checkpoint says about one variable, or about one slice that has an entry of its own.
type variable struct {
	dtype DataType
	shape []int
	parts []part // none: the values are in one piece, version 2 only

	shard     int
	off, size int64
	sum       uint32
}

// part is a slice of a variable and, in version 1, the file that has it.
type part struct {
	Slice
	file int
}

// Info describes a variable.
type Info struct {
	Name string
	// Type is TensorFlow's data type, DType that of the elements as Read returns them: tensor.Invalid where Read cannot.
	Type  DataType
	DType tensor.DType
	Shape tensor.Shape
	// Slices are the parts in which the variable was saved; none where it is in one piece.
	Slices []Slice
}

// Open opens the checkpoint at path: the prefix that TensorFlow was given, such as "variables/variables"; one of its files; a
// file of version 1, or a pattern such as "model.ckpt-?????-of-00002"; or a folder, whose file "checkpoint" names the newest, or
// that has one checkpoint alone. Shards that are missing matter only to the variables in them.
func Open(path string) (*Checkpoint, error) {
	dir, name := filepath.Split(path)
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		dir, name = path, "."
	}
	if dir == "" {
		dir = "."
	}
	return open(os.DirFS(dir), name, path)
}

// OpenFS is Open of a name in fsys. Files that are no io.ReaderAt are read into memory.
func OpenFS(fsys fs.FS, name string) (*Checkpoint, error) { return open(fsys, name, name) }

func open(fsys fs.FS, name, path string) (*Checkpoint, error) {
	c := &Checkpoint{path: path, vars: map[string]*variable{}}
	if err := c.open(fsys, name); err != nil {
		c.Close()
		return nil, fmt.Errorf("open checkpoint %s: %w", path, err)
	}
	for name := range c.vars {
		if !isSlice(name) {
			c.names = append(c.names, name)
		}
	}
	slices.Sort(c.names)
	return c, nil
}

func (c *Checkpoint) open(fsys fs.FS, name string) error {
	at, err := locate(fsys, name)
	if err != nil {
		return err
	}
	c.version = at.version
	c.gone = at.gone
	if c.version == 2 {
		return c.openBundle(fsys, at)
	}
	return c.openSlices(fsys, at)
}

// isSlice tells a slice's key from a variable's name.
func isSlice(key string) bool { return key == "" || key[0] == 0 }

// Close closes the files. Tensors that were read stay.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Version returns 1 or 2.
func (c *Checkpoint) Version() int { return c.version }

// Len returns the number of variables.
func (c *Checkpoint) Len() int { return len(c.names) }

// List goes through the variables by name. In version 2 of TensorFlow 2 the object graph is one of them.
func (c *Checkpoint) List() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for _, name := range c.names {
			if !yield(c.vars[name].info(name)) {
				return
			}
		}
	}
}

// Has reports whether there is a variable of that name.
func (c *Checkpoint) Has(name string) bool { return !isSlice(name) && c.vars[name] != nil }

// Stat describes the variable of that name; ErrNotFound.
func (c *Checkpoint) Stat(name string) (Info, error) {
	v, err := c.find(name)
	if err != nil {
		return Info{}, err
	}
	return v.info(name), nil
}

func (v *variable) info(name string) Info {
	in := Info{Name: name, Type: v.dtype, DType: v.dtype.DType(), Shape: tensor.Shape(v.shape).Clone()}
	for _, p := range v.parts {
		in.Slices = append(in.Slices, p.Slice)
	}
	return in
}

func (c *Checkpoint) find(name string) (*variable, error) {
	if c.Has(name) {
		return c.vars[name], nil
	}
	hint := ""
	if len(c.gone) > 0 {
		hint = fmt.Sprintf("; these shards are missing: %v", c.gone)
	}
	return nil, fmt.Errorf("checkpoint %s: %w: %q%s", c.path, ErrNotFound, name, hint)
}

// Read returns the values of the variable of that name in a new tensor. Its checksums were right. ErrNotFound, ErrUnsupported,
// ErrFormat, or fs.ErrNotExist for a shard that is missing.
func (c *Checkpoint) Read(name string) (*tensor.Tensor, error) {
	v, err := c.find(name)
	if err != nil {
		return nil, err
	}
	t, err := c.read(name, v)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: variable %q: %w", c.path, name, err)
	}
	return t, nil
}

func (c *Checkpoint) read(name string, v *variable) (*tensor.Tensor, error) {
	dtype := v.dtype.DType()
	if dtype == tensor.Invalid {
		return nil, fmt.Errorf("%w: elements of type %v", ErrUnsupported, v.dtype)
	}
	n, err := checkShape(v.shape)
	if err != nil {
		return nil, err
	}
	if c.version == 2 && len(v.parts) == 0 {
		return c.readWhole(v, dtype, n)
	}
	return c.readParts(name, v, dtype, n)
}

func checkShape(shape []int) (int, error) {
	n, err := tensor.Shape(shape).Check()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return n, nil
}

// budget counts what Open allocates, so that a small file cannot ask for much.
type budget int64

// newBudget allows for a table of that size.
func newBudget(size int64) budget { return budget(2*min(size, math.MaxInt64/4) + 40<<20) }

func (b *budget) charge(n int) error {
	if *b -= budget(n); *b < 0 {
		return fmt.Errorf("%w: it asks for far more memory than its size", ErrFormat)
	}
	return nil
}

const (
	variableCost = 256
	sliceCost    = 160
)
