package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
)

// modelOut is what inspect says of a model.
type modelOut struct {
	Path       string            `json:"path"`
	Bytes      int64             `json:"bytes"`
	SHA256     string            `json:"sha256"`
	Producer   string            `json:"producer,omitempty"`
	Doc        string            `json:"doc,omitempty"`
	Opset      map[string]int64  `json:"opset"`
	Inputs     []valueOut        `json:"inputs"`
	Outputs    []valueOut        `json:"outputs"`
	Parameters int64             `json:"parameters"`
	Nodes      int               `json:"nodes"`
	Operators  map[string]int    `json:"operators"`
	Metadata   map[string]string `json:"metadata"`
	Picture    string            `json:"picture,omitempty"`
	Notes      []string          `json:"notes,omitempty"` // on what the file says and is not so
	columns    []media.Column
}

// valueOut is an input or output; a dimension is a number, a name, or null where nothing is known.
type valueOut struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []any  `json:"shape"`
	text  string
}

func (c *command) modelInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Print a model's signature, operators, metadata and size",
		Long: `Prints an ONNX file's signature, operators, metadata and size, or of a model of TensorFlow's (a SavedModel's folder, .pb, .pbtxt, .meta) the
signatures, placeholders, variables and operators, and what of each signature, or before the --outputs, cannot be converted.`,
		Example: "  millrace model inspect digits.onnx\n  millrace model inspect saved_model/ --json",
		Args:    args("FILE"),
	}
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if tensorflow.IsModel(given[0]) {
			splitInputs(opts)
			info, err := app.InspectTensorFlow(cmd.Context(), given[0], *opts)
			if err != nil {
				return err
			}
			return c.printTensorFlow(given[0], info, *asJSON)
		}
		m, _, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		o := inspect(given[0], m)
		if *asJSON {
			return printJSON(c.Stdout, o)
		}
		return c.printModel(o)
	}
	return cmd
}

func inspect(path string, m *model.Model) modelOut {
	g := m.Graph
	o := modelOut{
		Path: path, Bytes: m.Bytes, SHA256: m.Digest, Producer: g.Producer, Doc: g.Doc, Nodes: len(g.Nodes),
		Opset: map[string]int64{}, Operators: map[string]int{}, Metadata: maps.Clone(g.Metadata),
		Inputs: valuesOut(m.Inputs()), Outputs: valuesOut(m.Outputs()), columns: m.Columns, Picture: pictureRow(m), Notes: g.Notes,
	}
	for domain, version := range g.Opset {
		if domain == graph.OnnxDomain {
			domain = "ai.onnx"
		}
		o.Opset[domain] = version
	}
	for _, in := range g.Initializers {
		o.Parameters += int64(in.Tensor.Size())
	}
	for _, n := range g.Nodes {
		o.Operators[n.Op()]++
	}
	if o.Metadata == nil {
		o.Metadata = map[string]string{}
	}
	return o
}

func valuesOut(values []graph.Value) []valueOut {
	out := make([]valueOut, len(values))
	for i, v := range values {
		out[i] = valueOut{Name: v.Name, Type: v.DType.String(), Shape: dimsOut(v.Shape), text: v.String()}
	}
	return out
}

// dimsOut is a shape as JSON has it: null where not even the rank is known.
func dimsOut(shape graph.Shape) []any {
	if shape == nil {
		return nil
	}
	dims := make([]any, len(shape))
	for i, d := range shape {
		switch {
		case d.Known():
			dims[i] = d.Size
		case d.Symbol != "":
			dims[i] = d.Symbol
		}
	}
	return dims
}

func (c *command) printModel(o modelOut) error {
	rows := [][]string{{"model", o.Path}, {"size", sizeText(o.Bytes)}, {"sha256", o.SHA256}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	for _, note := range o.Notes {
		add("note", note)
	}
	add("producer", o.Producer)
	add("about", strings.Join(strings.Fields(o.Doc), " "))
	for _, domain := range slices.Sorted(maps.Keys(o.Opset)) {
		add("opset", fmt.Sprintf("%s %d", domain, o.Opset[domain]))
	}
	for _, v := range o.Inputs {
		add("input", v.text)
	}
	for _, v := range o.Outputs {
		add("output", v.text)
	}
	add("picture", o.Picture)
	add("parameters", fmt.Sprint(o.Parameters))
	operators := make([]string, 0, len(o.Operators))
	for _, op := range slices.Sorted(maps.Keys(o.Operators)) {
		operators = append(operators, fmt.Sprintf("%s %d", op, o.Operators[op]))
	}
	add("nodes", fmt.Sprintf("%d (%s)", o.Nodes, strings.Join(operators, ", ")))
	for _, col := range o.columns {
		add("column", columnText(col))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Metadata)) {
		if name == model.Prefix+"columns" {
			continue
		}
		add(name, strings.Join(strings.Fields(o.Metadata[name]), " "))
	}
	return printTable(c.Stdout, nil, rows)
}

func columnText(c media.Column) string {
	text := fmt.Sprintf("%s: %s", c.Name, c.Type)
	if c.Mean != nil && c.Std != nil {
		text += fmt.Sprintf(", mean %.4g, standard deviation %.4g", *c.Mean, *c.Std)
	}
	if len(c.Categories) > 0 {
		text += " of " + strings.Join(c.Categories, ", ")
	}
	switch {
	case c.Missing == nil:
	case c.Type == media.CategoryColumn:
		text += "; where it is missing: " + c.Categories[int(*c.Missing)]
	default:
		text += fmt.Sprintf("; where it is missing: %.4g", *c.Missing)
	}
	return text
}
