package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// stepOut is a step of a profile. Share is of the whole run.
type stepOut struct {
	Op    string   `json:"op"`
	Us    float64  `json:"us"`
	Share float64  `json:"share"`
	Nodes []string `json:"nodes"`
}

// profileOut is what profile says of a model.
type profileOut struct {
	Path    string    `json:"path"`
	Engine  string    `json:"engine"`
	Runs    int       `json:"runs"`
	TotalUs float64   `json:"total_us"`
	Note    string    `json:"note,omitempty"`
	Steps   []stepOut `json:"steps"`
}

func (c *command) modelProfile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile FILE",
		Short: "Measure how long each node of a model takes",
		Long: `Runs a model some times and prints how long each step takes, the longest first. Nodes that the engine joined or computes together are one step. Without --in it runs on inputs that
are made up: numbers from 0 to 1, and 0 in other types. The engine onnxruntime does not tell, so this is the native one.`,
		Example: "  millrace model profile digits.onnx\n  millrace model profile lstm.onnx --rows 8 --length 100 --top 5\n  millrace model profile digits.onnx --in docs/seven.png --json",
		Args:    args("FILE"),
	}
	f := cmd.Flags()
	in := f.String("in", "", "`file` to run it on, as of model run; - is the standard input")
	runs := f.Int("runs", 10, "how `often` it runs, after a run to warm up")
	rows := f.Int("rows", 1, "without --in: the first dimension where the model leaves it open")
	length := f.Int("length", 16, "without --in: other dimensions that the model leaves open")
	top := f.Int("top", 20, "how many `steps` to print (0: all)")
	limit := f.Duration("time", time.Minute, "the most `time` that it may take")
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) (err error) {
		if *runs < 1 || *rows < 1 || *length < 1 || *top < 0 {
			return usagef("--runs, --rows and --length must be at least 1, and --top at least 0")
		}
		if *limit <= 0 {
			return usagef("--time %v must be more than 0", *limit)
		}
		splitInputs(opts)
		m, notes, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		c.note(notes)
		config, err := loadConfig("", c.Environ, nil, c.warn)
		if err != nil {
			return err
		}
		session, used, err := app.OpenEngines(config, slog.New(slog.DiscardHandler)).Open(cmd.Context(), m, app.ModelConfig{Engine: "native"})
		if err != nil {
			return fmt.Errorf("open %s: %w", given[0], err)
		}
		defer func() { err = errors.Join(err, session.Close()) }()
		tensors, err := c.profileInputs(m, session, *in, *rows, *length)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *limit)
		defer cancel()
		p, done, err := engine.ProfileRuns(ctx, session, tensors, *runs)
		if err != nil {
			return fmt.Errorf("run %s: %w", given[0], err)
		}
		o := profileOut{Path: given[0], Engine: used, Runs: done, TotalUs: micros(p.Total), Note: p.Note, Steps: stepsOut(m, p)}
		if *asJSON {
			return printJSON(c.Stdout, o)
		}
		return c.printProfile(o, *top)
	}
	return cmd
}

// profileInputs reads a session's inputs, or makes them up where there is no file.
func (c *command) profileInputs(m *model.Model, s engine.Session, path string, rows, length int) ([]*tensor.Tensor, error) {
	if path == "" {
		return engine.Example(s.Inputs(), rows, length)
	}
	data, err := c.readInput(path)
	if err != nil {
		return nil, err
	}
	named, err := readInputs(m, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	in := make([]*tensor.Tensor, len(s.Inputs()))
	for i, v := range s.Inputs() {
		if in[i] = named[v.Name]; in[i] == nil {
			return nil, fmt.Errorf("%s: input %q is missing", path, v.Name)
		}
	}
	return in, nil
}

// stepsOut are the steps, the longest first.
func stepsOut(m *model.Model, p engine.Profile) []stepOut {
	out := make([]stepOut, len(p.Steps))
	for i, nodes := range engine.StepNodes(m.Graph, p.Steps) {
		out[i] = stepOut{Op: p.Steps[i].Op, Us: micros(p.Steps[i].Time), Nodes: []string{}}
		if p.Total > 0 {
			out[i].Share = float64(p.Steps[i].Time) / float64(p.Total)
		}
		for _, k := range nodes {
			n := m.Graph.Nodes[k]
			name := n.Name
			if name == "" {
				name = n.Output(0)
			}
			out[i].Nodes = append(out[i].Nodes, name)
		}
	}
	slices.SortStableFunc(out, func(a, b stepOut) int {
		switch {
		case a.Us > b.Us:
			return -1
		case a.Us < b.Us:
			return 1
		}
		return 0
	})
	return out
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (c *command) printProfile(o profileOut, top int) error {
	rows := make([][]string, 0, len(o.Steps)+1)
	for i, s := range o.Steps {
		if top > 0 && i == top {
			rest := 0.0
			for _, s := range o.Steps[i:] {
				rest += s.Us
			}
			rows = append(rows, []string{fmt.Sprintf("%.1f", rest), fmt.Sprintf("%.1f %%", 100*rest/max(o.TotalUs, 1e-3)), "", fmt.Sprintf("%d steps more", len(o.Steps)-i)})
			break
		}
		rows = append(rows, []string{fmt.Sprintf("%.1f", s.Us), fmt.Sprintf("%.1f %%", 100*s.Share), s.Op, strings.Join(s.Nodes, ", ")})
	}
	if err := printTable(c.Stdout, []string{"us", "share", "op", "nodes"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.Stdout, "%.1f us a run on %s, the mean of %d\n", o.TotalUs, o.Engine, o.Runs)
	if err == nil && o.Note != "" {
		c.warn("mind that " + o.Note)
	}
	return err
}
