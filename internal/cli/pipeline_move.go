package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) pipelinePause(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:   "pause PIPELINE",
		Short: "Stop a pipeline until it is resumed",
		Long: "Stops a pipeline on every node until it is resumed, over restarts too. What it has begun is finished. Entries that come meanwhile wait in its " +
			"source cache.",
		Example: "  millrace pipeline pause classify",
	}, "pause", (*client.Client).PausePipeline)
}

func (c *command) pipelineResume(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:     "resume PIPELINE",
		Short:   "Have a paused pipeline go on",
		Long:    "Has a paused pipeline go on where it stood.",
		Example: "  millrace pipeline resume classify",
	}, "resume", (*client.Client).ResumePipeline)
}

func (c *command) pipelineRemove(open opener) *cobra.Command {
	return c.pipelineAction(open, &cobra.Command{
		Use:   "rm PIPELINE",
		Short: "Remove a pipeline that was made at run time",
		Long: "Removes a pipeline that was made with create, with its positions; its results stay. Where the configuration file has one of its name, that one goes on. " +
			"Of a pipeline that is not in the node's configuration file any more it removes the positions that are left: if it is configured again it begins anew.",
		Example: "  millrace pipeline rm classify",
	}, "remove", (*client.Client).DeletePipeline)
}

// pipelineAction makes a command that does one thing with a pipeline and prints nothing.
func (c *command) pipelineAction(open opener, cmd *cobra.Command, verb string, do func(*client.Client, context.Context, string) error) *cobra.Command {
	cmd.Args = args("PIPELINE")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if err := do(cl, cmd.Context(), given[0]); err != nil {
			return fmt.Errorf("%s %s: %w", verb, given[0], err)
		}
		return nil
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
		return nil
	}
	return cmd
}
