package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/train"
	runreport "github.com/millrace/millrace/train/report"
)

// defaultRuns is the folder of runs where none is named.
const defaultRuns = "runs"

func (c *command) runs() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "Look at training runs, and compare them",
		Long:    "Looks at the folders that `millrace train --run` made: settings, metrics, checkpoints, models and a report.",
		Example: "  millrace runs ls\n  millrace runs compare runs/first runs/second",
		GroupID: "local",
	}
	cmd.AddCommand(c.runsList(), c.runsShow(), c.runsCompare(), c.runsReport(), c.runsRemove())
	return cmd
}

// runOut is a run in JSON.
type runOut struct {
	Dir string `json:"dir"`
	train.About
}

func (c *command) runsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls [FOLDER]",
		Short:   "List the runs in a folder, the newest first",
		Long:    "Lists the runs among the folders of a folder (" + defaultRuns + " where none is named), the newest first.",
		Example: "  millrace runs ls\n  millrace runs ls /data/runs --json",
		Args:    cobra.MaximumNArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		folder := defaultRuns
		if len(given) > 0 {
			folder = given[0]
		}
		runs, faults, err := train.Runs(folder)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no folder %s; `millrace train --run %s ...` begins a run", folder, filepath.Join(folder, "NAME"))
		}
		if err != nil {
			return err
		}
		for _, fault := range faults {
			c.warn(fault.Error())
		}
		if *asJSON {
			out := make([]runOut, len(runs))
			for i, r := range runs {
				out[i] = runOut{r.Dir, r.About}
			}
			return printJSON(c.Stdout, out)
		}
		rows := [][]string{{"RUN", "STATE", "STARTED", "EPOCH", "LAST", "BEST", "NET"}}
		for _, r := range runs {
			a := r.About
			rows = append(rows, []string{filepath.Base(r.Dir), string(a.State), a.Started.Local().Format("2006-01-02 15:04"), epochOf(a), qualityOf(a.Last), qualityOf(a.Best), filepath.Base(a.Settings.Arch)})
		}
		return printRows(c.Stdout, rows)
	}
	return cmd
}

func epochOf(a train.About) string {
	done := 0
	if a.Last != nil {
		done = a.Last.Epoch
	}
	return fmt.Sprintf("%d/%d", done, a.Epochs)
}

// qualityOf says in a few words how good a model was at a point.
func qualityOf(p *train.Point) string {
	switch {
	case p == nil:
		return "-"
	case p.EvalAccuracy != nil:
		return fmt.Sprintf("%.2f %%", 100**p.EvalAccuracy)
	case p.EvalRMSE != nil:
		return fmt.Sprintf("error %.4g", *p.EvalRMSE)
	}
	return fmt.Sprintf("loss %.4g", p.Loss)
}

func (c *command) runsShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show RUN",
		Short:   "Show a run: settings, versions, metrics",
		Example: "  millrace runs show runs/first",
		Args:    args("RUN"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		r, err := train.OpenRun(given[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(c.Stdout, struct {
				runOut
				Points     []train.Point  `json:"points"`
				Evaluation *train.Metrics `json:"evaluation,omitempty"`
			}{runOut{r.Dir, r.About}, r.Points, r.Evaluation})
		}
		if err := printRows(c.Stdout, aboutRows(r)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.Stdout); err != nil {
			return err
		}
		return printRows(c.Stdout, epochRows(r))
	}
	return cmd
}

func aboutRows(r *train.RunInfo) [][]string {
	a := r.About
	rows := [][]string{{"run", r.Dir}, {"state", string(a.State)}}
	if a.Reason != "" {
		rows = append(rows, []string{"reason", a.Reason})
	}
	rows = append(rows, []string{"started", a.Started.Local().Format(time.DateTime)}, []string{"time spent", seconds(a.Seconds)}, []string{"data", a.Data},
		[]string{"examples", fmt.Sprintf("%d, and %d kept", a.Examples, a.Kept)}, []string{"epochs", epochOf(a)})
	rows = append(rows, settingRows(a)...)
	for _, k := range []string{"millrace", "go", "engine", "platform"} {
		if v := a.Versions[k]; v != "" {
			rows = append(rows, []string{k, v})
		}
	}
	return append(rows, []string{"best", qualityOf(a.Best)})
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// settingRows are a run's settings, those left at nothing apart.
func settingRows(a train.About) [][]string {
	s := a.Settings
	var rows [][]string
	add := func(name, value string) {
		if value != "" && value != "0" && value != "false" {
			rows = append(rows, []string{name, value})
		}
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	add("net", s.Arch)
	add("parameters", strconv.Itoa(a.Parameters))
	add("batch", strconv.Itoa(s.Batch))
	add("loss", s.Loss)
	add("optimizer", s.Optimizer)
	add("learning rate", number(s.LearningRate))
	add("schedule", s.Schedule)
	add("momentum", number(s.Momentum))
	add("weight decay", number(s.WeightDecay))
	add("no decay", s.NoDecay)
	add("average", number(s.Average))
	add("label smoothing", number(s.LabelSmoothing))
	add("balanced", strconv.FormatBool(s.Balanced))
	add("max value", number(s.MaxValue))
	add("max norm", number(s.MaxNorm))
	add("augmentation", s.Augment)
	add("seed", strconv.FormatUint(s.Seed, 10))
	add("data's digest", s.Data)
	return rows
}

func epochRows(r *train.RunInfo) [][]string {
	optional := func(v *float64, factor float64, format string) string {
		if v == nil || math.IsNaN(*v) {
			return "-"
		}
		return fmt.Sprintf(format, *v*factor)
	}
	rows := [][]string{{"EPOCH", "STEP", "RATE", "LOSS", "KEPT LOSS", "KEPT"}}
	for i := range r.Points {
		p := &r.Points[i]
		if i+1 < len(r.Points) && r.Points[i+1].Epoch == p.Epoch {
			continue // within an epoch
		}
		kept := "-"
		if p.EvalLoss != nil {
			kept = qualityOf(p)
		}
		rows = append(rows, []string{strconv.Itoa(p.Epoch), strconv.Itoa(p.Step), fmt.Sprintf("%.3g", p.Rate), fmt.Sprintf("%.4f", p.Loss), optional(p.EvalLoss, 1, "%.4f"), kept})
	}
	return rows
}

func (c *command) runsCompare() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare RUN RUN...",
		Short: "Compare runs: what differs, and how good they are",
		Long: `Prints what differs in the settings of runs, and how good each became. Runs on different data are compared too, and a warning
says so.`,
		Example: "  millrace runs compare runs/adam runs/lion",
		Args:    cobra.MinimumNArgs(2),
	}
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		header, all := []string{""}, make([]*train.RunInfo, len(given))
		for i, dir := range given {
			r, err := train.OpenRun(dir)
			if err != nil {
				return err
			}
			all[i] = r
			header = append(header, filepath.Base(filepath.Clean(dir)))
			if r.About.Settings.Data != all[0].About.Settings.Data {
				c.warn(fmt.Sprintf("%s and %s were trained on different data", given[0], dir))
			}
		}
		return printRows(c.Stdout, append([][]string{header}, comparedRuns(all)...))
	}
	return cmd
}

// comparedRuns are rows of what differs between runs, and of how good they are.
func comparedRuns(all []*train.RunInfo) [][]string {
	var names []string
	values := make([]map[string]string, len(all))
	for i, r := range all {
		values[i] = map[string]string{}
		for _, row := range append(settingRows(r.About), []string{"engine", r.About.Versions["engine"]}, []string{"millrace", r.About.Versions["millrace"]}) {
			if _, known := values[i][row[0]]; !known && !slices.Contains(names, row[0]) {
				names = append(names, row[0])
			}
			values[i][row[0]] = row[1]
		}
	}
	var rows [][]string
	for _, name := range names {
		row, differs := []string{name}, false
		for i := range all {
			v := values[i][name]
			differs = differs || v != values[0][name]
			if v == "" {
				v = "-"
			}
			row = append(row, v)
		}
		if differs {
			rows = append(rows, row)
		}
	}
	for _, of := range []struct {
		name string
		get  func(*train.RunInfo) string
	}{
		{"state", func(r *train.RunInfo) string { return string(r.About.State) }},
		{"epochs", func(r *train.RunInfo) string { return epochOf(r.About) }},
		{"time spent", func(r *train.RunInfo) string { return seconds(r.About.Seconds) }},
		{"last", func(r *train.RunInfo) string { return qualityOf(r.About.Last) }},
		{"best", func(r *train.RunInfo) string { return qualityOf(r.About.Best) }},
	} {
		row := []string{of.name}
		for _, r := range all {
			row = append(row, of.get(r))
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *command) runsReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "report RUN",
		Short:   "Write a run's report and plots anew",
		Long:    "Writes " + runreport.Page + " and the plots of a run anew from what is in its folder, also while it runs. train writes them at its end.",
		Example: "  millrace runs report runs/first",
		Args:    args("RUN"),
	}
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		if err := runreport.Write(given[0]); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.Stdout, filepath.Join(given[0], runreport.Page))
		return err
	}
	return cmd
}

func (c *command) runsRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm RUN...",
		Short:   "Remove runs with all that is in their folders",
		Example: "  millrace runs rm runs/first",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		var gone []string
		for _, dir := range given {
			if err := train.RemoveRun(dir); err != nil {
				return err
			}
			gone = append(gone, dir)
		}
		_, err := fmt.Fprintf(c.Stdout, "%s removed\n", strings.Join(gone, ", "))
		return err
	}
	return cmd
}
