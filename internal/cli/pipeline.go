package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve/rest"
)

func (c *command) pipeline() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pipeline",
		Short:   "Make, look at, pause, move and try the pipelines of a running node",
		Long:    "Makes pipelines on a running node, looks at them, pauses them, moves them in the changes that they read, and tries what they do. " + remoteHelp,
		Example: "  millrace pipeline ls\n  millrace pipeline create classify --from digits --model digits --to predictions\n  millrace pipeline try classify seven.png",
		GroupID: "client",
	}
	open := opener(c.remote(cmd))
	cmd.AddCommand(c.pipelineCreate(open), c.pipelineList(open), c.pipelineShow(open), c.pipelineTry(open), c.pipelinePause(open), c.pipelineResume(open),
		c.pipelineReplay(open), c.pipelineRemove(open))
	for _, sub := range cmd.Commands() {
		run := sub.RunE
		sub.RunE = func(cmd *cobra.Command, given []string) error {
			err := run(cmd, given)
			if len(given) == 0 {
				return err
			}
			return unknownName(err, "pipeline_not_found", func() string {
				return noneSuch(cmd.Context(), open, "pipeline", given[0], pipelineNames)
			})
		}
	}
	return cmd
}

func pipelineNames(ctx context.Context, cl *client.Client) ([]string, error) {
	all, err := cl.Pipelines(ctx)
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names, err
}

func (c *command) pipelineList(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [PIPELINE]",
		Short: "List pipelines and where they stand",
		Long: "Lists the pipelines with what waits for them. With a PIPELINE, or --json, their positions too: one a partition, the sequence up to " +
			"which everything is done. A pipeline that is configured no more is listed while it has positions.",
		Example: "  millrace pipeline ls\n  millrace pipeline ls classify\n  millrace pipeline ls --json",
		Args:    args("[PIPELINE]"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		all, err := cl.Pipelines(cmd.Context())
		if err != nil {
			return fmt.Errorf("list the pipelines: %w", err)
		}
		var rows [][]string
		for _, p := range all {
			switch {
			case len(given) > 0 && p.Name != given[0]:
			case *asJSON:
				if err := printJSON(c.Stdout, p); err != nil {
					return err
				}
			case len(given) > 0:
				for _, at := range p.Positions {
					rows = append(rows, []string{fmt.Sprint(at.Partition), fmt.Sprint(at.Sequence), fmt.Sprint(at.End), fmt.Sprint(at.Lag)})
				}
				return printTable(c.Stdout, []string{"partition", "done up to", "end", "waiting"}, rows)
			default:
				age := (time.Duration(p.LagSeconds * float64(time.Second))).Round(time.Millisecond)
				rows = append(rows, []string{p.Name, p.From, orNone(p.To), orNone(p.Model), stateText(p), fmt.Sprint(p.Lag), age.String(), remark(p)})
			}
		}
		switch {
		case *asJSON:
			return nil
		case len(given) > 0:
			return &client.Error{Status: http.StatusNotFound, Code: "pipeline_not_found"}
		}
		return printTable(c.Stdout, []string{"pipeline", "from", "to", "model", "state", "inputs", "for", ""}, rows)
	}
	return cmd
}

// remark is for what a pipeline waits or what blocks it, and whether it hides another.
func remark(p rest.Pipeline) string {
	if !p.Hides {
		return p.Reason
	}
	return strings.TrimPrefix(p.Reason+"; ", "; ") + "hides one that the grid keeps (rm removes that)"
}

// stateText is a pipeline's state, with how long the run under way takes where it takes long.
func stateText(p rest.Pipeline) string {
	if p.State == string(pipeline.Running) && p.RunningSeconds >= 1 {
		return fmt.Sprintf("running for %s", time.Duration(p.RunningSeconds*float64(time.Second)).Round(time.Second))
	}
	if p.Origin == "" {
		return "not in the configuration"
	}
	return p.State
}
