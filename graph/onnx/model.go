package onnx

import (
	"fmt"

	"github.com/millrace/millrace/graph"
)

// Bytes that the Go form of these takes, for the budget.
const (
	nodeCost  = 200
	graphCost = 400
	valueCost = 112
	initCost  = 120
	nameCost  = 16
)

func (d *decoder) model(b []byte) (*graph.Graph, error) {
	var body []byte
	var producer, version string
	g := &graph.Graph{}
	var ir int64
	var opset map[string]int64
	n := count(b, 25)[0]
	if err := d.charge(n * (nodeCost + 100)); err != nil {
		return nil, at(err, "functions")
	}
	functions := make([][]byte, 0, n)
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			ir = s.int("ir_version")
		case 2:
			producer = s.str("producer_name")
		case 3:
			version = s.str("producer_version")
		case 7:
			if body != nil {
				return nil, fmt.Errorf("%w: there are two graphs", ErrFormat)
			}
			if body = s.bytes("graph"); body == nil {
				body = []byte{}
			}
		case 8:
			if err := d.opset(s.bytes("opset_import"), &opset); err != nil {
				return nil, at(err, "opset_import")
			}
		case 14:
			if err := d.property(s.bytes("metadata_props"), &g.Metadata); err != nil {
				return nil, at(err, "metadata_props")
			}
		case 25:
			functions = append(functions, s.bytes("functions"))
		}
	}
	if s.err != nil {
		return nil, at(s.err, "model")
	}
	switch {
	case body == nil:
		return nil, fmt.Errorf("%w: model: there is no graph in it", ErrFormat)
	case ir <= 0:
		return nil, fmt.Errorf("%w: model: ir_version is %d", ErrFormat, ir)
	case ir > MaxIR:
		return nil, fmt.Errorf("%w: model: IR version %d; at most %d is read", ErrUnsupported, ir, MaxIR)
	}
	if opset == nil { // before IR version 3 there was only the first
		opset = map[string]int64{graph.OnnxDomain: 1}
	}
	if n > 0 {
		g.Functions = make([]*graph.Function, 0, n)
	}
	for i, fb := range functions {
		f, err := d.function(fb)
		if err != nil {
			return nil, at(err, "%s", place("function", i, text(fb, 1)))
		}
		g.Functions = append(g.Functions, f)
	}
	if err := d.graph(body, g); err != nil {
		return nil, at(err, "graph")
	}
	g.IRVersion, g.Opset, g.Producer = ir, opset, producer
	if version != "" {
		g.Producer += " " + version
	}
	return g, nil
}

func (d *decoder) opset(b []byte, m *map[string]int64) error {
	domain, version := "", int64(0)
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			domain = canonical(s.str("domain"))
		case 2:
			version = s.int("version")
		}
	}
	if s.err != nil {
		return s.err
	}
	if version <= 0 {
		return fmt.Errorf("%w: version %d of domain %q", ErrFormat, version, domain)
	}
	if old, ok := (*m)[domain]; ok && old != version {
		return fmt.Errorf("%w: versions %d and %d of domain %q", ErrFormat, old, version, domain)
	}
	if err := d.charge(80); err != nil {
		return err
	}
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[domain] = version
	return nil
}

func (d *decoder) property(b []byte, m *map[string]string) error {
	var key, value string
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			key = s.str("key")
		case 2:
			value = s.str("value")
		}
	}
	if s.err != nil {
		return s.err
	}
	if err := d.charge(80 + len(key) + len(value)); err != nil {
		return err
	}
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
	return nil
}

func canonical(domain string) string {
	if domain == "ai.onnx" {
		return graph.OnnxDomain
	}
	return domain
}

// graph fills g from a GraphProto.
func (d *decoder) graph(b []byte, g *graph.Graph) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	n := count(b, 1, 5, 11, 12, 13)
	if err := d.charge(n[0]*nodeCost + n[1]*initCost + (n[2]+n[3]+n[4])*valueCost); err != nil {
		return err
	}
	g.Nodes = make([]*graph.Node, 0, n[0])
	nodes := make([]graph.Node, n[0])
	g.Initializers = make([]graph.Initializer, 0, n[1])
	g.Inputs = make([]graph.Value, 0, n[2])
	g.Outputs = make([]graph.Value, 0, n[3])
	g.Values = make([]graph.Value, 0, n[4])
	s := scan(b)
	for s.next() {
		var err error
		switch s.num {
		case 1:
			nb := s.bytes("node")
			node := &nodes[len(g.Nodes)]
			if err = d.node(nb, node); err != nil {
				return at(err, "%s", place("node", len(g.Nodes), nodeName(nb)))
			}
			g.Nodes = append(g.Nodes, node)
		case 2:
			g.Name = s.str("name")
		case 5:
			tb := s.bytes("initializer")
			name, t, err := d.tensor(tb)
			if err != nil {
				return at(err, "%s", place("initializer", len(g.Initializers), text(tb, 8)))
			}
			g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
		case 10:
			g.Doc = s.str("doc_string")
		case 11:
			g.Inputs, err = d.appendValue(s.bytes("input"), g.Inputs, "input")
		case 12:
			g.Outputs, err = d.appendValue(s.bytes("output"), g.Outputs, "output")
		case 13:
			g.Values, err = d.appendValue(s.bytes("value_info"), g.Values, "value_info")
		case 15:
			return fmt.Errorf("%w: sparse initializer %q", ErrUnsupported, text([]byte(text(s.b, 1)), 8))
		}
		if err != nil {
			return err
		}
	}
	distinct(g.Nodes)
	return s.err
}

func (d *decoder) function(b []byte) (*graph.Function, error) {
	f := &graph.Function{}
	overload := ""
	n := count(b, 7, 4, 5, 6)
	if err := d.charge(n[0]*nodeCost + (n[1]+n[2]+n[3])*nameCost); err != nil {
		return nil, err
	}
	f.Nodes = make([]*graph.Node, 0, n[0])
	nodes := make([]graph.Node, n[0])
	f.Inputs = make([]string, 0, n[1])
	f.Outputs = make([]string, 0, n[2])
	d.kinds = map[string]string{}
	defer func() { d.kinds = nil }()
	s := scan(b)
	for s.next() {
		switch s.num {
		case 1:
			f.Name = s.str("name")
		case 4:
			f.Inputs = append(f.Inputs, s.str("input"))
		case 5:
			f.Outputs = append(f.Outputs, s.str("output"))
		case 6:
			f.Attrs = append(f.Attrs, s.str("attribute"))
		case 7:
			nb := s.bytes("node")
			node := &nodes[len(f.Nodes)]
			if err := d.node(nb, node); err != nil {
				return nil, at(err, "%s", place("node", len(f.Nodes), nodeName(nb)))
			}
			f.Nodes = append(f.Nodes, node)
		case 8:
			f.Doc = s.str("doc_string")
		case 9:
			if err := d.opset(s.bytes("opset_import"), &f.Opset); err != nil {
				return nil, at(err, "opset_import")
			}
		case 10:
			f.Domain = canonical(s.str("domain"))
		case 11:
			ab := s.bytes("attribute_proto")
			name, v, err := d.attribute(ab)
			if err != nil {
				return nil, at(err, "%s", place("attribute_proto", len(f.Defaults), text(ab, 1)))
			}
			if f.Defaults == nil {
				f.Defaults = graph.Attrs{}
			}
			f.Defaults[name] = v
		case 13:
			overload = s.str("overload")
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	distinct(f.Nodes)
	if f.Name == "" {
		return nil, fmt.Errorf("%w: it has no name", ErrFormat)
	}
	f.Name = overloaded(f.Name, overload)
	if len(d.kinds) > 0 {
		f.Kinds = d.kinds
	}
	return f, nil
}

// overloaded puts a function's overload into its name, where callers look for it too.
func overloaded(name, overload string) string {
	if overload == "" {
		return name
	}
	return name + ":" + overload
}
