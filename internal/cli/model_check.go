package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// checked is what an engine makes of one output.
type checked struct {
	Engine string `json:"engine"`
	Output string `json:"output,omitempty"` // empty where the engine did not run the model
	OK     bool   `json:"ok"`
	// Reason is how the output differs, or why the engine did not run the model.
	Reason string `json:"reason,omitempty"`
	// Cost is what float16 costs the output in exactness, where that is asked for.
	Cost *cost `json:"float16,omitempty"`
}

func (c *command) modelCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE --in FILE",
		Short: "Compare what a model gives with what it should",
		Long: `Runs a model on an .npz whose arrays are named as its inputs, and compares each output with the array that has its name. Numbers in floating point may differ by what engines owe each
other, or by --rtol and --atol where these are set: |got - want| <= atol + rtol * |want|. Everything else must be the same. It fails where something differs, or an engine does not run the model.
With --precision float16 the model runs in float32 too, and it prints how far the two are apart; outputs that the file does not have are compared with those of float32, and without
--rtol and --atol they only have to be finite where those of float32 are.`,
		Example: `  millrace model check digits.onnx --in case.npz --engine all
  millrace model check digits.onnx --in case.npz --rtol 1e-3 --atol 1e-5
  millrace model check digits.onnx --in inputs.npz --precision float16`,
		Args: args("FILE"),
	}
	name := cmd.Flags().String("engine", "auto", "engine that runs it: auto, native, onnxruntime, or all")
	in := cmd.Flags().String("in", "", ".npz `file` with the inputs and the outputs that are expected (- is the standard input)")
	rtol := cmd.Flags().Float64("rtol", 0, "relative `tolerance`")
	atol := cmd.Flags().Float64("atol", 0, "absolute `tolerance`")
	options := deviceFlags(cmd)
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *in == "" {
			return usagef("--in is missing")
		}
		if err := oneOf("engine", *name, "auto", "native", "onnxruntime", "all"); err != nil {
			return err
		}
		if !(*rtol >= 0 && *atol >= 0) {
			return usagef("--rtol and --atol must be at least 0")
		}
		how, err := options()
		if err != nil {
			return err
		}
		var tolerance *conformance.Tolerance
		if cmd.Flags().Changed("rtol") || cmd.Flags().Changed("atol") {
			tolerance = &conformance.Tolerance{Abs: *atol, Rel: *rtol}
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
		arrays, err := media.ParseTensors("", data)
		if err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
		inputs, want, err := sortArrays(m, arrays)
		if err == nil && len(want) == 0 && how.Precision != engine.Float16 {
			err = fmt.Errorf("none of its arrays is named as an output (%s): there is nothing to compare with", names(m.Outputs()))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", *in, err)
		}
		engines, err := c.enginesToCheck(*name, how)
		if err != nil {
			return err
		}
		bad := 0
		for _, e := range engines {
			for _, r := range c.checkOn(cmd.Context(), e, m, inputs, want, tolerance, how.Precision == engine.Float16) {
				if !r.OK {
					bad++
				}
				if *asJSON {
					err = printJSON(c.Stdout, r)
				} else {
					_, err = fmt.Fprintln(c.Stdout, r)
				}
				if err != nil {
					return err
				}
			}
		}
		if bad > 0 {
			return fmt.Errorf("%s is not what %s says", given[0], *in)
		}
		return nil
	}
	return cmd
}

// String is the line for people.
func (r checked) String() string {
	switch {
	case r.Cost != nil && r.OK:
		return fmt.Sprintf("%-12s %s: %v", r.Engine, r.Output, r.Cost)
	case r.Cost != nil:
		return fmt.Sprintf("%-12s %s: %s; %v", r.Engine, r.Output, r.Reason, r.Cost)
	case r.OK:
		return fmt.Sprintf("%-12s %s: alike", r.Engine, r.Output)
	case r.Output == "":
		return fmt.Sprintf("%-12s did not run it: %s", r.Engine, r.Reason)
	}
	return fmt.Sprintf("%-12s %s: %s", r.Engine, r.Output, r.Reason)
}

// sortArrays tells the inputs of a model from its outputs.
func sortArrays(m *model.Model, arrays map[string]*tensor.Tensor) (inputs, outputs map[string]*tensor.Tensor, err error) {
	inputs, outputs = map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}
	has := func(all []graph.Value, name string) bool {
		return slices.ContainsFunc(all, func(v graph.Value) bool { return v.Name == name })
	}
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		switch {
		case has(m.Inputs(), name):
			inputs[name] = arrays[name]
		case has(m.Outputs(), name):
			outputs[name] = arrays[name]
		default:
			return nil, nil, fmt.Errorf("%q is no input (%s) and no output (%s) of the model", name, names(m.Inputs()), names(m.Outputs()))
		}
	}
	return inputs, outputs, nil
}

func names(values []graph.Value) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = v.Name
	}
	return strings.Join(all, ", ")
}

// enginesToCheck returns the engines that a name stands for, with the options that they open with.
func (c *command) enginesToCheck(name string, how engine.Options) ([]engine.Engine, error) {
	config, err := loadConfig("", c.Environ, nil, c.warn)
	if err != nil {
		return nil, err
	}
	all := app.OpenEngines(config, slog.New(slog.DiscardHandler))
	if name == "auto" {
		return []engine.Engine{engine.With(all.Auto(), how)}, nil
	}
	names := []string{name}
	if name == "all" {
		names = []string{"native", "onnxruntime"}
	}
	var out []engine.Engine
	for _, name := range names {
		e, err := all.Get(name)
		if err != nil {
			return nil, err
		}
		out = append(out, engine.With(e, all.Options(name, how)))
	}
	return out, nil
}

// checkOn compares the outputs that are wanted, in the model's order. With half the engine computes in float16, and each output is held against float32's.
func (c *command) checkOn(ctx context.Context, e engine.Engine, m *model.Model, inputs, want map[string]*tensor.Tensor, tolerance *conformance.Tolerance, half bool) []checked {
	got, err := c.runOnce(ctx, e, m, inputs, engine.Options{})
	var exact map[string]*tensor.Tensor
	if err == nil && half {
		exact, err = c.runOnce(ctx, e, m, inputs, engine.Options{Precision: engine.Float32})
	}
	if err != nil {
		return []checked{{Engine: e.Name(), Reason: err.Error()}}
	}
	var out []checked
	for _, v := range m.Outputs() {
		w := want[v.Name]
		r := checked{Engine: e.Name(), Output: v.Name}
		if half {
			if w == nil {
				w = exact[v.Name]
			}
			r.Cost, err = costOf(got[v.Name], exact[v.Name])
			if err == nil && (tolerance != nil || r.Cost == nil) {
				err = compared(got[v.Name], w, tolerance)
			}
		} else if w == nil {
			continue
		} else {
			err = compared(got[v.Name], w, tolerance)
		}
		if r.OK = err == nil; !r.OK {
			r.Reason = err.Error()
		}
		out = append(out, r)
	}
	return out
}

// compared compares with what engines owe each other where there is no tolerance.
func compared(got, want *tensor.Tensor, tolerance *conformance.Tolerance) error {
	if tolerance == nil {
		return conformance.Alike(got, want)
	}
	return conformance.Within(got, want, *tolerance)
}

func (c *command) runOnce(ctx context.Context, e engine.Engine, m *model.Model, inputs map[string]*tensor.Tensor, o engine.Options) (_ map[string]*tensor.Tensor, err error) {
	s, err := e.Open(ctx, m.Graph, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if n, ok := s.(engine.Noter); ok {
		for _, note := range n.Notes() {
			c.notice(e.Name()+": "+note, false)
		}
	}
	return engine.Run(ctx, s, inputs)
}
