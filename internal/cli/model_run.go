package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

func (c *command) modelRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE --in FILE",
		Short: "Run a model once",
		Long: `Runs a model once: an ONNX file, or a model of TensorFlow's (a SavedModel's folder, .pb, .pbtxt, .meta). The input is an .npz whose arrays are named as the model's inputs, JSON with named tensors, or for a model
with one input an .npy with all its dimensions, or one item as a picture, nested JSON arrays or raw bytes. For a model with the columns of a table it is CSV with a header, an object by their names, or an array of such rows. What is given for an input that has a default, as the variables and state of a
training graph have, takes its place. The outputs go to an .npz, or as JSON to
the standard output, a line each.`,
		Example: `  millrace model run digits.onnx --in docs/seven.png
  millrace model run digits.onnx --in batch.npz --out scores.npz --engine native`,
		Args: args("FILE"),
	}
	engines := c.engineFlag(cmd)
	options := deviceFlags(cmd)
	opts := tensorFlowFlags(cmd)
	in := cmd.Flags().String("in", "", "`file` with the inputs (- is the standard input)")
	out := cmd.Flags().String("out", "", ".npz `file` for the outputs")
	cmd.RunE = func(cmd *cobra.Command, given []string) (err error) {
		if *in == "" {
			return usagef("--in is missing")
		}
		if *out != "" && !strings.EqualFold(filepath.Ext(*out), ".npz") {
			return usagef("--out %s: the outputs are written as an .npz, so name a file that ends in .npz; without --out they are printed as JSON", *out)
		}
		if err := checkOut(*out); err != nil {
			return err
		}
		how, err := options()
		if err != nil {
			return err
		}
		all, name, err := engines()
		if err != nil {
			return err
		}
		splitInputs(opts)
		m, notes, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		c.note(notes)
		data, err := c.readInput(*in)
		if err != nil {
			return err
		}
		inputs, err := readInputs(m, data)
		if err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
		// An input with a default, as training graphs have, takes what is given for it.
		if names := slices.Collect(maps.Keys(inputs)); len(names) > 0 {
			m.Graph, _ = gradient.Feed(m.Graph, names...)
		}
		session, _, err := all.Open(cmd.Context(), m, app.ModelConfig{Engine: name}.WithOptions(how))
		if err != nil {
			return fmt.Errorf("open %s: %w", given[0], err)
		}
		defer func() { err = errors.Join(err, session.Close()) }()
		outputs, err := engine.Run(cmd.Context(), session, inputs)
		if err != nil {
			return fmt.Errorf("run %s: %w", given[0], err)
		}
		if *out != "" {
			return outfile.Write(*out, func(w io.Writer) error { return media.WriteNPZ(w, outputs) })
		}
		return c.printTensors(session, outputs)
	}
	return cmd
}

// readInputs turns a file into a model's inputs.
func readInputs(m *model.Model, data []byte) (map[string]*tensor.Tensor, error) {
	if len(m.Columns) > 0 {
		if inputs, done, err := readRows(m, data); done {
			return inputs, err
		}
	}
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("[")) { // nested arrays are one item, not named tensors
		return readItem(m, "application/json", data)
	}
	tensors, err := media.ParseTensors("", data)
	if err == nil {
		// An .npy has no name: it is the only input. Where it is not the whole of it, it is an item, as in a cache.
		if t, unnamed := tensors[""]; unnamed && len(tensors) == 1 && len(m.Inputs()) == 1 {
			in := m.Inputs()[0]
			if t.DType() != in.DType || t.Rank() != len(in.Shape) {
				return readItem(m, "", data)
			}
			return map[string]*tensor.Tensor{in.Name: t}, nil
		}
		return tensors, nil
	}
	if !errors.Is(err, media.ErrUnsupportedType) {
		return nil, err
	}
	return readItem(m, "", data)
}

// readRows turns a table for a model with columns into a batch: CSV with a header, an object by the columns' names, or an array of rows. done is false
// where the data is something else.
func readRows(m *model.Model, data []byte) (inputs map[string]*tensor.Tensor, done bool, err error) {
	text := bytes.TrimSpace(data)
	array := bytes.HasPrefix(text, []byte("[")) && bytes.HasPrefix(bytes.TrimSpace(text[1:]), []byte("{"))
	nested := bytes.HasPrefix(text, []byte("[")) && bytes.HasPrefix(bytes.TrimSpace(text[1:]), []byte("["))
	switch {
	case array || nested:
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		if tensors, err := media.ParseTensors("application/json", data); err == nil {
			return tensors, true, nil
		}
		inputs, err = readItem(m, "application/json", data)
		return inputs, true, err
	case !utf8.Valid(data) || !bytes.ContainsAny(data, "\r\n"):
		return nil, false, nil
	}
	spec, err := m.Spec()
	if err != nil {
		return nil, true, err
	}
	decoder, err := media.NewDecoder(spec)
	if err != nil {
		return nil, true, err
	}
	rows, err := decoder.Rows("", data)
	if err != nil {
		return nil, true, err
	}
	return map[string]*tensor.Tensor{m.Inputs()[0].Name: rows}, true, nil
}

// readItem turns what a pipeline would take of a cache into a batch of one.
func readItem(m *model.Model, contentType string, data []byte) (map[string]*tensor.Tensor, error) {
	spec, err := m.Spec()
	if err != nil {
		return nil, err
	}
	decoder, err := media.NewDecoder(spec)
	if err != nil {
		return nil, err
	}
	item, err := decoder.Decode(contentType, data)
	if err != nil {
		return nil, err
	}
	if want := m.Inputs()[0]; len(want.Shape) != item.Rank() { // the model takes batches; this is one of one
		if item, err = item.Reshape(append([]int{1}, item.Shape()...)...); err != nil {
			return nil, err
		}
	}
	return map[string]*tensor.Tensor{m.Inputs()[0].Name: item}, nil
}

func (c *command) printTensors(s engine.Session, tensors map[string]*tensor.Tensor) error {
	names := slices.Sorted(maps.Keys(tensors))
	for _, v := range s.Outputs() { // the model's order
		line, err := media.AppendJSON(nil, v.Name, tensors[v.Name])
		if err != nil {
			return fmt.Errorf("output %q (of %d; --out FILE.npz takes any): %w", v.Name, len(names), err)
		}
		if _, err := c.Stdout.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
