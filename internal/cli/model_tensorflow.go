package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
)

// tensorFlowOut is what inspect says of a file of TensorFlow's.
type tensorFlowOut struct {
	Path   string     `json:"path"`
	Kind   string     `json:"kind"`
	Graphs []graphOut `json:"graphs"`
}

type graphOut struct {
	Tags         []string          `json:"tags"`
	TensorFlow   string            `json:"tensorflow,omitempty"`
	Producer     int64             `json:"producer"`
	Signatures   []signatureOut    `json:"signatures"`
	Placeholders []tensorOut       `json:"placeholders"`
	Variables    []variableOut     `json:"variables"`
	Operators    map[string]int    `json:"operators"`
	Functions    int               `json:"functions"`
	Refused      map[string]string `json:"refused"`
}

type signatureOut struct {
	Name    string      `json:"name"`
	Method  string      `json:"method,omitempty"`
	Inputs  []tensorOut `json:"inputs"`
	Outputs []tensorOut `json:"outputs"`
}

type tensorOut struct {
	valueOut
	Tensor string `json:"tensor"`
}

type variableOut struct {
	valueOut
	Saved bool `json:"saved"`
}

// note tells a person what the import of a model found.
func (c *command) note(notes []string) {
	for _, n := range notes {
		c.warn(n)
	}
}

func valueOutOf(name, dtype string, shape graph.Shape) valueOut {
	return valueOut{Name: name, Type: dtype, Shape: dimsOut(shape), text: fmt.Sprintf("%s %s%v", name, dtype, shape)}
}

func tensorsOut(all []tensorflow.TensorInfo) []tensorOut {
	out := []tensorOut{}
	for _, t := range all {
		out = append(out, tensorOut{valueOutOf(t.Name, t.Type, t.Shape), t.Tensor})
	}
	return out
}

func tensorFlowInfo(path string, info *tensorflow.Info) tensorFlowOut {
	o := tensorFlowOut{Path: path, Kind: info.Kind}
	for _, g := range info.Graphs {
		out := graphOut{
			Tags: append([]string{}, g.Tags...), TensorFlow: g.TensorFlow, Producer: g.Producer, Placeholders: tensorsOut(g.Placeholders),
			Operators: g.Operators, Functions: g.Functions, Refused: g.Refused, Signatures: []signatureOut{}, Variables: []variableOut{},
		}
		for _, s := range g.Signatures {
			out.Signatures = append(out.Signatures, signatureOut{s.Name, s.Method, tensorsOut(s.Inputs), tensorsOut(s.Outputs)})
		}
		for _, v := range g.Variables {
			out.Variables = append(out.Variables, variableOut{valueOutOf(v.Name, v.Type, v.Shape), v.Saved})
		}
		o.Graphs = append(o.Graphs, out)
	}
	return o
}

func (c *command) printTensorFlow(path string, info *tensorflow.Info, asJSON bool) error {
	o := tensorFlowInfo(path, info)
	if asJSON {
		return printJSON(c.Stdout, o)
	}
	rows := [][]string{{"model", path}, {"kind", o.Kind}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	for _, g := range o.Graphs {
		add("tags", strings.Join(g.Tags, ","))
		add("tensorflow", g.TensorFlow)
		add("producer", fmt.Sprint(g.Producer))
		for _, s := range g.Signatures {
			add("signature", strings.TrimSpace(s.Name+" "+s.Method))
			for _, t := range s.Inputs {
				add("  input", t.text+" ("+t.Tensor+")")
			}
			for _, t := range s.Outputs {
				add("  output", t.text+" ("+t.Tensor+")")
			}
		}
		for _, t := range g.Placeholders {
			add("placeholder", t.text)
		}
		for _, v := range g.Variables {
			text := v.text
			if !v.Saved {
				text += ", which no checkpoint here has"
			}
			add("variable", text)
		}
		var operators []string
		for _, op := range slices.Sorted(maps.Keys(g.Operators)) {
			operators = append(operators, fmt.Sprintf("%s %d", op, g.Operators[op]))
		}
		add("operators", strings.Join(operators, ", "))
		add("functions", fmt.Sprint(g.Functions))
		for _, name := range slices.Sorted(maps.Keys(g.Refused)) {
			lines := strings.Split(g.Refused[name], "\n")
			add("refused", strings.TrimSpace(name+" "+lines[0]))
			for _, line := range lines[1:] {
				rows = append(rows, []string{"", line})
			}
		}
	}
	return printTable(c.Stdout, nil, rows)
}
