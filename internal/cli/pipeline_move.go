package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
)

func (c *command) pipelinePause(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:   "pause PIPELINE",
		Short: "Stop a pipeline until it is resumed",
		Long: "Stops a pipeline on every node until it is resumed, over restarts too. What it has begun is finished. Entries that come meanwhile wait in its " +
			"source cache.",
		Example: "  millrace pipeline pause classify",
	}, "pause", func(ctx context.Context, cl *client.Client, name string) (string, error) {
		p, err := cl.Pipeline(ctx, name)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("pipeline %s is paused; `millrace pipeline resume %s` has it go on", name, name)
		if p.State == string(pipeline.Paused) {
			text = fmt.Sprintf("pipeline %s was paused already", name)
		}
		return text, cl.PausePipeline(ctx, name)
	})
}

func (c *command) pipelineResume(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:     "resume PIPELINE",
		Short:   "Have a paused pipeline go on",
		Long:    "Has a paused pipeline go on where it stood.",
		Example: "  millrace pipeline resume classify",
	}, "resume", func(ctx context.Context, cl *client.Client, name string) (string, error) {
		p, err := cl.Pipeline(ctx, name)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("pipeline %s goes on", name)
		if p.State != string(pipeline.Paused) {
			text = fmt.Sprintf("pipeline %s was not paused", name)
		}
		return text, cl.ResumePipeline(ctx, name)
	})
}

func (c *command) pipelineRemove(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:   "rm PIPELINE",
		Short: "Remove a pipeline that was made at run time",
		Long: "Removes a pipeline that was made with create, with its positions; its results stay. Where the configuration file has one of its name, that one goes on. " +
			"Of a pipeline that is not in the node's configuration file any more it removes the positions that are left: if it is configured again it begins anew.",
		Example: "  millrace pipeline rm classify",
	}, "remove", func(ctx context.Context, cl *client.Client, name string) (string, error) {
		return fmt.Sprintf("pipeline %s is removed", name), cl.DeletePipeline(ctx, name)
	})
}

// pipelineAction makes a command that does one thing with a pipeline and prints the line that do returns.
func (c *command) pipelineAction(open opener, cmd *cobra.Command, verb string, do func(context.Context, *client.Client, string) (string, error)) *cobra.Command {
	cmd.Args = args("PIPELINE")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		text, err := do(cmd.Context(), cl, given[0])
		if err != nil {
			return fmt.Errorf("%s %s: %w", verb, given[0], err)
		}
		_, err = fmt.Fprintln(c.Stdout, text)
		return err
	}
	return cmd
}

func (c *command) pipelineReplay(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay PIPELINE",
		Short: "Process again what a pipeline has read",
		Long: "Moves a pipeline to another place in its source cache. What lies after it is processed again, the newest revision of each key, with the " +
			"model that serves now; results that are there are replaced. With --from now what waits is passed over.",
		Example: "  millrace pipeline replay classify\n  millrace pipeline replay classify --from 2026-01-31T08:00:00Z",
		Args:    args("PIPELINE"),
	}
	from := cmd.Flags().String("from", "start", "where to go on from: `start`, now, or a time such as 2026-01-31T08:00:00Z")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *from != "start" && *from != "now" {
			if _, err := time.Parse(time.RFC3339, *from); err != nil {
				return usagef("--from %q is neither start, now nor a time such as 2026-01-31T08:00:00Z", *from)
			}
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if err := cl.ReplayPipeline(cmd.Context(), given[0], *from); err != nil {
			return fmt.Errorf("replay %s: %w", given[0], err)
		}
		what := map[string]string{"start": "begins again at the start of its source", "now": "passes over what waited"}[*from]
		if what == "" {
			what = "begins again with what changed since " + *from
		}
		_, err = fmt.Fprintf(c.Stdout, "pipeline %s %s\n", given[0], what)
		return err
	}
	return cmd
}
