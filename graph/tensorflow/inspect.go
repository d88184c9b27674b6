package tensorflow

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// Info describes a file of TensorFlow's.
type Info struct {
	// Kind is graphdef.GraphDef, graphdef.MetaGraphDef or graphdef.SavedModel.
	Kind   string
	Graphs []GraphInfo
}

// GraphInfo describes a graph, which a SavedModel may have several of.
type GraphInfo struct {
	Tags       []string
	TensorFlow string // the version that wrote it, where the file says so
	Producer   int64  // the version of the graph's format
	Signatures []SignatureInfo
	// Placeholders are what the graph is fed.
	Placeholders []TensorInfo
	Variables    []VariableInfo
	// Operators are counted in the graph and, once each, in its functions.
	Operators map[string]int
	Functions int
	// Refused says of each signature ("" where there is none) why it cannot be converted; those that can are not there.
	Refused map[string]string
}

// SignatureInfo is a signature's inputs and outputs, by their keys, sorted.
type SignatureInfo struct {
	Name, Method    string
	Inputs, Outputs []TensorInfo
}

// TensorInfo is a tensor: the name that it is fed or fetched by, the tensor of the graph, and its type and shape.
type TensorInfo struct {
	Name, Tensor, Type string
	Shape              graph.Shape
}

// VariableInfo is a variable, and whether the checkpoint has it.
type VariableInfo struct {
	Name, Type string
	Shape      graph.Shape
	Saved      bool
}

// Inspect describes the file. It tries to convert each signature, to say what would be refused; opts has the evaluator and the
// checkpoint, and may choose tags, a signature or outputs.
func (s *Source) Inspect(ctx context.Context, opts Options) (*Info, error) {
	info := &Info{Kind: s.kind}
	if s.metas == nil {
		g, err := s.inspect(ctx, s.graph, nil, opts)
		if err != nil {
			return nil, err
		}
		info.Graphs = append(info.Graphs, *g)
		return info, nil
	}
	for _, m := range s.metas {
		if len(opts.Tags) > 0 && !sameSet(m.Tags, opts.Tags) {
			continue
		}
		opts := opts
		opts.Tags = m.Tags
		g, err := s.inspect(ctx, m.Graph, m, opts)
		if err != nil {
			return nil, err
		}
		info.Graphs = append(info.Graphs, *g)
	}
	if info.Graphs == nil {
		_, err := s.meta(opts.Tags)
		return nil, err
	}
	return info, nil
}

func (s *Source) inspect(ctx context.Context, g *graphdef.Graph, meta *graphdef.MetaGraph, opts Options) (*GraphInfo, error) {
	info := &GraphInfo{Producer: g.Producer, Operators: map[string]int{}, Functions: len(g.Functions), Refused: map[string]string{}}
	for _, n := range g.Nodes {
		info.Operators[n.Op]++
		if strings.HasPrefix(n.Op, "Placeholder") {
			in := input{name: n.Name + ":0"}
			d, _ := n.Attrs.Type("dtype", 0)
			_ = in.describe(n, 0) // what it does not know, stays unknown
			info.Placeholders = append(info.Placeholders, TensorInfo{Name: in.name, Tensor: in.name, Type: typeText(d), Shape: in.shape})
		}
	}
	for _, f := range g.Functions {
		for _, n := range f.Nodes {
			info.Operators[n.Op]++
		}
	}
	if err := s.inspectVariables(info, g, meta, opts); err != nil {
		return nil, err
	}
	names := []string{""}
	if meta != nil {
		info.Tags, info.TensorFlow = meta.Tags, meta.TensorFlow
		all := signatures(meta)
		switch {
		case opts.Signature != "" || len(opts.Outputs) > 0:
			names = []string{opts.Signature}
		case len(all) > 0:
			names = all
		}
		for _, name := range signatures(meta) {
			sig := meta.Signatures[name]
			info.Signatures = append(info.Signatures, SignatureInfo{
				Name: name, Method: sig.Method, Inputs: tensorInfos(sig.Inputs), Outputs: tensorInfos(sig.Outputs),
			})
		}
	}
	for _, name := range names {
		opts.Signature = name
		_, err := s.Import(ctx, opts)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, err
		default:
			info.Refused[name] = strings.TrimPrefix(err.Error(), fmt.Sprintf("import %s: ", s.path))
		}
	}
	return info, nil
}

func (s *Source) inspectVariables(info *GraphInfo, g *graphdef.Graph, meta *graphdef.MetaGraph, opts Options) error {
	from, err := s.checkpoint(opts)
	if err != nil {
		return err
	}
	if from != nil {
		defer from.Close()
	}
	vs, err := collectVariables(g, meta, from)
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(vs.all)) {
		v := vs.all[node]
		out := VariableInfo{Name: v.name, Type: typeText(v.dtype), Shape: v.shape}
		if from != nil {
			_, _, err := vs.find(v)
			out.Saved = err == nil
		}
		info.Variables = append(info.Variables, out)
	}
	return nil
}

// typeText is a type as tensors have it, or TensorFlow's name of one that they do not.
func typeText(d graphdef.DataType) string {
	if t := d.DType(); t.Valid() {
		return t.String()
	}
	return d.String()
}

func tensorInfos(all map[string]graphdef.TensorInfo) []TensorInfo {
	var out []TensorInfo
	for _, key := range slices.Sorted(maps.Keys(all)) {
		t := all[key]
		out = append(out, TensorInfo{Name: key, Tensor: t.Name, Type: typeText(t.Type), Shape: t.Shape})
	}
	return out
}
