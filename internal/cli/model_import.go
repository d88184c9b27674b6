package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/model"
)

// tensorFlowFlags adds the flags that say what is wanted of a model of TensorFlow's.
func tensorFlowFlags(cmd *cobra.Command) *tensorflow.Options {
	o := &tensorflow.Options{}
	f := cmd.Flags()
	f.StringVar(&o.Checkpoint, "checkpoint", "", "TensorFlow: the `prefix` or file of the variables (default: the model's own)")
	f.StringVar(&o.Signature, "signature", "", "TensorFlow: the signature of a SavedModel (default: the one sensible one)")
	f.StringSliceVar(&o.Tags, "tags", nil, "TensorFlow: the tags of a SavedModel's graph (default: serve)")
	f.StringArrayVar(&o.Inputs, "inputs", nil, "TensorFlow: the tensor that is fed, such as images:0 or 'images[-1,28,28,1]' (once for each, or with commas)")
	f.StringSliceVar(&o.Outputs, "outputs", nil, "TensorFlow: `tensors` that are fetched, or keys of the signature")
	return o
}

// imported is what the import says of its result.
type imported struct {
	From    string     `json:"from"`
	Out     string     `json:"out"`
	Bytes   int64      `json:"bytes"`
	SHA256  string     `json:"sha256"`
	Opset   int64      `json:"opset"`
	Inputs  []valueOut `json:"inputs"`
	Outputs []valueOut `json:"outputs"`
	Nodes   int        `json:"nodes"`
	// Verified says whether the graph was held against its plain translation.
	Verified bool     `json:"verified"`
	Notes    []string `json:"notes"`
}

// verifyBelow is the size of a model, in bytes, below which its import is verified unless --verify says otherwise.
const verifyBelow = 50 << 20

func (c *command) modelImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import PATH --out FILE",
		Short: "Turn a model of TensorFlow's into an ONNX file",
		Long: `Turns a model of TensorFlow's into an ONNX file that computes the same: a SavedModel's folder, a graph (.pb or .pbtxt), or a meta graph (.meta).
Inputs and outputs keep their names: tensors as TensorFlow prints them, or the keys of the signature. What cannot be kept exact is refused, with
every operator that is in the way.

The graph is rewritten so that it has fewer nodes. --verify runs it and the plain translation on random inputs in the native engine, and writes nothing where a number
has changed by more than rounding; the error names the pass that did it. It takes the memory of the weights once more, and is the default below 50 MiB.`,
		Example: `  millrace model import saved_model/ --out model.onnx
  millrace model import graph.pb --checkpoint model.ckpt --outputs softmax_linear/logits --out digits.onnx`,
		Args: args("PATH"),
	}
	opts := tensorFlowFlags(cmd)
	out := cmd.Flags().String("out", "", "ONNX `file` to write")
	verify := cmd.Flags().Bool("verify", false, "hold what is written against the plain translation on random inputs (default: where it is below 50 MiB)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *out == "" {
			return usagef("--out is missing")
		}
		if err := checkOut(*out); err != nil {
			return err
		}
		splitInputs(opts)
		m, notes, err := app.ImportModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		verified, asked := false, cmd.Flags().Changed("verify")
		if asked && *verify || !asked && m.Bytes < verifyBelow {
			err := app.VerifyImport(cmd.Context(), given[0], *opts, m)
			if verified = err == nil; err != nil {
				if asked || !errors.Is(err, app.ErrUnverified) {
					return fmt.Errorf("verify %s: %w", given[0], err)
				}
				notes = append(notes, err.Error())
			}
		}
		if err := outfile.Write(*out, func(w io.Writer) error { return onnx.Write(w, m.Graph) }); err != nil {
			return err
		}
		return c.printImported(given[0], *out, m, notes, verified, *asJSON)
	}
	return cmd
}

// splitInputs takes names apart that commas join, but for those of a shape in brackets.
func splitInputs(o *tensorflow.Options) {
	var all []string
	for _, text := range o.Inputs {
		from, depth := 0, 0
		for i, r := range text {
			switch r {
			case '[':
				depth++
			case ']':
				depth--
			case ',':
				if depth == 0 {
					all = append(all, text[from:i])
					from = i + 1
				}
			}
		}
		all = append(all, text[from:])
	}
	o.Inputs = all
}

func (c *command) printImported(path, out string, m *model.Model, notes []string, verified, asJSON bool) error {
	o := imported{
		From: path, Out: out, Bytes: m.Bytes, SHA256: m.Digest, Opset: m.Graph.Opset[graph.OnnxDomain], Inputs: valuesOut(m.Inputs()),
		Outputs: valuesOut(m.Outputs()), Nodes: len(m.Graph.Nodes), Verified: verified, Notes: append([]string{}, notes...),
	}
	if asJSON {
		return printJSON(c.Stdout, o)
	}
	rows := [][]string{{"model", out}, {"size", sizeText(m.Bytes)}, {"opset", fmt.Sprint(o.Opset)}}
	for _, v := range o.Inputs {
		rows = append(rows, []string{"input", v.text})
	}
	for _, v := range o.Outputs {
		rows = append(rows, []string{"output", v.text})
	}
	rows = append(rows, []string{"nodes", fmt.Sprint(o.Nodes)})
	if verified {
		rows = append(rows, []string{"verified", "against the plain translation, on random inputs"})
	}
	for _, note := range o.Notes {
		rows = append(rows, []string{"note", note})
	}
	return printTable(c.Stdout, nil, rows)
}
