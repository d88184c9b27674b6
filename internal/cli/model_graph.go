package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/graph/diagram"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/outfile"
)

// drawingOut is what graph says of a drawing.
type drawingOut struct {
	SVG    string  `json:"svg"`
	Nodes  int     `json:"nodes"`
	Boxes  int     `json:"boxes"`
	Closed int     `json:"closed"`
	Depth  int     `json:"depth"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

func (c *command) modelGraph() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "graph FILE --svg FILE",
		Short: "Draw a model's graph",
		Long: `Draws the graph of an ONNX file, or of a model of TensorFlow's (a SavedModel's folder, .pb, .pbtxt, .meta) as it is when it was converted. Operators are in boxes of their name scopes ("/layer1/conv1/Conv"
is in layer1 and conv1), the shapes of values are on the lines, and the bodies of If, Loop and Scan are boxes of their own; a constant is named in the box that takes it. Of a large graph the inner scopes are closed: --depth opens more levels, or
fewer, and --scope draws one scope whole. Where names have no scopes, many nodes that follow each other are gathered into parts.`,
		Example: "  millrace model graph digits.onnx --svg digits.svg\n  millrace model graph saved_model/ --svg - --depth 2 > model.svg\n  millrace model graph resnet.onnx --svg layer1.svg --scope layer1",
		Args:    args("FILE"),
	}
	f := cmd.Flags()
	var o diagram.Options
	out := f.String("svg", "", "SVG `file` to write; - is the standard output")
	f.IntVar(&o.Depth, "depth", 0, "how many `levels` of boxes to draw: 1 has closed boxes alone (default: as many as are legible)")
	f.StringVar(&o.Scope, "scope", "", "draws one `scope`, such as encoder/layer1, with all that is in it")
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		switch {
		case *out == "":
			return usagef("--svg is missing")
		case cmd.Flags().Changed("depth") && o.Depth < 1:
			return usagef("--depth %d must be at least 1", o.Depth)
		case *out == "-" && *asJSON:
			return usagef("--json and --svg - both write to the standard output")
		}
		if *out != "-" {
			if err := checkOut(*out); err != nil {
				return err
			}
		}
		splitInputs(opts)
		m, notes, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		c.note(notes)
		o.Name = filepath.Base(given[0])
		d, err := diagram.Draw(m.Graph, o)
		if err != nil {
			return fmt.Errorf("%s: %w", given[0], err)
		}
		if *out == "-" {
			return d.WriteSVG(c.Stdout)
		}
		if err := outfile.Write(*out, d.WriteSVG); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.Stdout, drawingOut{*out, d.Nodes, d.Boxes, d.Closed, d.Depth, d.Width, d.Height})
		}
		text := fmt.Sprintf("%s: %d nodes in %d boxes", *out, d.Nodes, d.Boxes)
		if d.Closed > 0 {
			text += fmt.Sprintf(", of which %d are closed: --depth %d opens more, and --scope NAME draws one whole", d.Closed, d.Depth+1)
		}
		_, err = fmt.Fprintln(c.Stdout, text)
		return err
	}
	return cmd
}
