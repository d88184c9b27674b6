package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve/rest"
)

func (c *command) pipelineCreate(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create PIPELINE",
		Short: "Make a pipeline on a running node",
		Long: `Makes a pipeline on a running node, with the caches that it names and that are not there. It begins at once, is kept in the grid, and every node has
it. With --replace one that was made so before is changed; one of the configuration file is changed there alone.`,
		Example: "  millrace pipeline create classify --from digits --model digits --to predictions\n" +
			"  millrace pipeline create classify --from digits --model digits --to predictions --max-batch 16 --replace",
		Args: args("PIPELINE"),
	}
	var d pipeline.Definition
	f := cmd.Flags()
	f.StringVar(&d.From, "from", "", "cache whose entries are the inputs")
	f.StringVar(&d.Model, "model", "", "model that they run through")
	f.StringVar(&d.To, "to", "", "cache that gets the results")
	f.StringVar(&d.Errors, "errors", "", "cache that gets the errors (default: PIPELINE-errors)")
	f.Int64Var(&d.ModelVersion, "version", 0, "the model's version (default: the one that serves)")
	f.IntVar(&d.MaxBatch, "max-batch", 0, fmt.Sprintf("most entries in one run of the model (default %d)", pipeline.DefaultBatch))
	f.StringVar(&d.Start, "start", "", "where it begins: all entries that are there (the default), or new ones only")
	f.StringVar(&d.OnRemove, "on-remove", "", "what becomes of a result when its source is removed: remove (the default) or keep")
	f.IntVar(&d.Top, "top", 0, fmt.Sprintf("how many scores a result has at most (default %d)", pipeline.DefaultTop))
	f.StringSliceVar(&d.Carry, "carry", nil, "fields of the input that its result has too, as `id,time`")
	limit := f.Duration("run-timeout", 0, fmt.Sprintf("how long the model may run on a batch (default %v)", pipeline.DefaultRunTimeout))
	f.BoolVar(&d.SharesTarget, "shares-target", false, "other pipelines that say so too may write the same caches: their keys are never the same")
	f.StringVar(&d.Spread, "spread", "", "whether other nodes that have time run batches of it: auto (the default) or never")
	replace := f.Bool("replace", false, "change the pipeline where it is there")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		d.RunTimeout = durationText(*limit)
		if _, err := d.Config(given[0]); err != nil {
			return flagFaults(err)
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if !*replace {
			_, err := cl.Pipeline(cmd.Context(), given[0])
			var answer *client.Error
			switch {
			case err == nil:
				return fmt.Errorf("create %s: there is a pipeline of this name; --replace changes it", given[0])
			case !errors.As(err, &answer) || answer.Code != "pipeline_not_found":
				return fmt.Errorf("create %s: %w", given[0], err)
			}
		}
		p, err := cl.PutPipeline(cmd.Context(), given[0], d)
		if err != nil {
			return fmt.Errorf("create %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, p)
		}
		_, err = fmt.Fprintf(c.Stdout, "pipeline %s: %s -> model %s -> %s, errors to %s\n", p.Name, p.From, p.Model, p.To, p.ErrorsTo)
		return err
	}
	return cmd
}

func (c *command) pipelineShow(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show PIPELINE",
		Short:   "Show what a pipeline does, and its settings",
		Long:    "Shows the state of a pipeline, for what it waits or what blocks it, where it is defined, and its settings.",
		Example: "  millrace pipeline show classify\n  millrace pipeline show classify --json",
		Args:    args("PIPELINE"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		p, err := cl.Pipeline(cmd.Context(), given[0])
		if err != nil {
			return fmt.Errorf("show %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, p)
		}
		return printTable(c.Stdout, nil, pipelineRows(p))
	}
	return cmd
}

// pipelineRows are what show prints: names and values, those that there are.
func pipelineRows(p rest.Pipeline) [][]string {
	state := stateText(p)
	if p.Reason != "" {
		state += ": " + p.Reason
	}
	origin := map[string]string{"file": "in the configuration file", "grid": "made at run time, kept in the grid"}[p.Origin]
	rows := [][]string{{"state", state}}
	add := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "0" && text != "false" && text != "[]" {
			rows = append(rows, []string{name, text})
		}
	}
	add("defined", origin)
	add("from", p.From)
	add("model", p.Model)
	add("version in use", p.Version)
	add("version", p.FixedVersion)
	add("to", p.To)
	add("errors", p.ErrorsTo)
	add("max_batch", p.MaxBatch)
	add("start", p.Start)
	add("on_remove", p.OnRemove)
	add("top", p.Top)
	add("carry", p.Carry)
	add("run_timeout", p.RunTimeout)
	add("shares_target", p.SharesTarget)
	add("spread", p.Spread)
	rows = append(rows, []string{"inputs that wait", fmt.Sprintf("%d, for %s", p.Lag, time.Duration(p.LagSeconds*float64(time.Second)).Round(time.Millisecond))})
	return rows
}
