// Package model is a graph together with its signature, its metadata and its version, read from an ONNX file.
// Keeping models is left to package registry and running them to the engines.
package model

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// ErrInvalid says that a file is no model that can be used; the message has every reason.
var ErrInvalid = errors.New("model is not valid")

// MaxBytes is the size of the largest model file.
const MaxBytes = 2 << 30

// A Model is a graph that is ready for an engine. It does not change after it was made.
type Model struct {
	Name    string
	Version int64
	Graph   *graph.Graph
	Metadata
	// Digest is the SHA-256 of the file, in hexadecimal.
	Digest string
	// Bytes is the file's size.
	Bytes int64
}

// Open reads an ONNX file; data that the file keeps beside itself is read from its folder.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	if info.Size() > MaxBytes {
		return nil, fmt.Errorf("open model %s: %w: %d bytes are more than the limit of %d", path, ErrInvalid, info.Size(), int64(MaxBytes))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open model's folder: %w", err)
	}
	defer root.Close()
	g, err := onnx.Decode(data, onnx.Options{External: root.FS(), Share: true, Unchecked: true})
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w: %w", path, ErrInvalid, err)
	}
	m, err := New(g)
	if err != nil {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	m.seal(data)
	return m, nil
}

// Decode reads an ONNX file from memory. A file that keeps data beside itself is refused.
func Decode(data []byte) (*Model, error) {
	g, err := onnx.Decode(data, onnx.Options{Unchecked: true}) // New checks
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	m, err := New(g)
	if err != nil {
		return nil, err
	}
	m.seal(data)
	return m, nil
}

func (m *Model) seal(data []byte) {
	sum := sha256.Sum256(data)
	m.Digest = hex.EncodeToString(sum[:])
	m.Bytes = int64(len(data))
}

// New makes a model of a graph, which it keeps, sorts and completes with inferred shapes. It reports every fault.
func New(g *graph.Graph) (*Model, error) {
	if err := g.Sort(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	labels := unzip(g)
	if err := infer.Shapes(g); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	meta, err := ParseMetadata(g.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if meta.Labels == nil {
		if meta.Labels = labels; labels == nil {
			meta.Labels = classNames(g)
		}
	}
	if len(g.Outputs) == 0 {
		return nil, fmt.Errorf("%w: the graph has no output", ErrInvalid)
	}
	m := &Model{Graph: g, Metadata: meta}
	if err := m.checkTable(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return m, nil
}

// With returns a copy with another name, version and some metadata replaced, by names without the prefix.
func (m *Model) With(name string, version int64, overrides map[string]string) (*Model, error) {
	c := *m
	c.Name, c.Version = name, version
	var faults []error
	for _, k := range slices.Sorted(maps.Keys(overrides)) {
		if err := c.Set(k, overrides[k]); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 {
		faults = append(faults, c.check(), c.checkTable())
	}
	return &c, errors.Join(faults...)
}

// Inputs are the placeholders.
func (m *Model) Inputs() []graph.Value { return m.Graph.Placeholders() }

// Outputs are the graph's outputs.
func (m *Model) Outputs() []graph.Value { return m.Graph.Outputs }

// Operators lists the operators of the graph, sorted, each once.
func (m *Model) Operators() []string {
	seen := map[string]bool{}
	for _, n := range m.Graph.Nodes {
		seen[n.Op()] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Batched reports whether the first dimension of every input and output counts items: it is not known, or 1, in all
// inputs. Free says that it may be any number.
func (m *Model) Batched() (batched, free bool) {
	batched, free = true, true
	for _, v := range m.Inputs() {
		if len(v.Shape) == 0 || v.Shape[0].Known() && v.Shape[0].Size != 1 {
			return false, false
		}
		free = free && !v.Shape[0].Known()
	}
	for _, v := range m.Outputs() {
		if v.Shape == nil {
			continue
		}
		if len(v.Shape) == 0 {
			return false, false
		}
		// An output whose length is fixed while the inputs' is free does not follow the batch.
		free = free && !v.Shape[0].Known()
	}
	return batched && len(m.Inputs()) > 0, free && len(m.Inputs()) > 0
}

// Spec says how the bytes of one item become the only input. It is an error where the model has several inputs, or
// one with dimensions that are not known beside the first: such a model takes named tensors.
func (m *Model) Spec() (media.Spec, error) {
	in := m.Inputs()
	if len(in) != 1 {
		return media.Spec{}, fmt.Errorf("the model has %d inputs (%s): give it tensors by name", len(in), list(in))
	}
	v := in[0]
	shape := v.Shape
	if batched, _ := m.Batched(); batched {
		shape = shape[1:]
	}
	item, known := shape.Static()
	if !known {
		return media.Spec{}, fmt.Errorf("input %s has dimensions that are not known: give it tensors by name", v)
	}
	if v.DType == tensor.Invalid {
		return media.Spec{}, fmt.Errorf("input %s has no element type", v)
	}
	return media.Spec{
		DType: v.DType, Shape: item, Layout: m.Layout, Scale: m.Scale, Mean: m.Mean, Std: m.Std,
		Invert: m.Invert, Centre: m.Centre, Orientation: m.Orientation, Columns: m.Columns, Ignored: m.Ignored,
	}, nil
}

// Compatible returns why clients of m could not use n in its place, or nil: the names and types of inputs and
// outputs must be the same, and n must take every shape that m takes and give shapes that m might have given.
func (m *Model) Compatible(n *Model) error {
	var faults []error
	faults = append(faults, compare("input", m.Inputs(), n.Inputs())...)
	faults = append(faults, compare("output", m.Outputs(), n.Outputs())...)
	if len(m.Labels) > 0 && !slices.Equal(m.Labels, n.Labels) {
		faults = append(faults, fmt.Errorf("labels were %s and are %s", listed(m.Labels), listed(n.Labels)))
	}
	faults = append(faults, m.sameTable(n))
	return errors.Join(faults...)
}

func compare(kind string, old, now []graph.Value) []error {
	if len(old) != len(now) {
		return []error{fmt.Errorf("%ss were %s and are %s", kind, list(old), list(now))}
	}
	var faults []error
	for _, o := range old {
		i := slices.IndexFunc(now, func(v graph.Value) bool { return v.Name == o.Name })
		if i < 0 {
			faults = append(faults, fmt.Errorf("%s %q is missing (there is %s)", kind, o.Name, list(now)))
			continue
		}
		if n := now[i]; n.DType != o.DType || !fits(o.Shape, n.Shape) {
			faults = append(faults, fmt.Errorf("%s was %v and is %v", kind, o, n))
		}
	}
	return faults
}

// fits reports whether now may stand for old: the same rank, and no dimension of another known length.
func fits(old, now graph.Shape) bool {
	if old == nil || now == nil {
		return true
	}
	if len(old) != len(now) {
		return false
	}
	for i := range old {
		if !now[i].Known() {
			continue
		}
		if now[i].Size != old[i].Size {
			return false
		}
	}
	return true
}

func list(vs []graph.Value) string {
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = v.String()
	}
	return strings.Join(s, ", ")
}
