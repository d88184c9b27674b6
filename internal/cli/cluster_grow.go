package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve/rest"
)

// envToToken is the token of the cluster's nodes, where it is not that of the node that is asked.
const envToToken = "MILLRACE_TO_TOKEN"

// growPoll is how often the node is asked how far it is.
const growPoll = 200 * time.Millisecond

var errGrow = errors.New("the grid did not go over to the cluster")

func (c *command) clusterGrow(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grow",
		Short: "Take the data of a node alone into a new cluster, while it is in use",
		Long: `Takes the whole grid of a running node without a cluster into a new cluster: entries at their revisions, with what they expire by, positions of readers, ids of
events, models. The nodes of the cluster are started before, on new folders, with cluster.grow: true and the same stores. Pipelines and models of the node's own file are no
part of its grid: the command names those that the cluster does not run, and millrace apply brings them in. Reads go on all the while, and writes wait for less than a second. Afterwards the node is a door to the cluster until it is stopped; it cannot be started again on its folder.

The node does it, and goes on when this command is stopped: run again, the command follows it. When a node was killed meanwhile, start it and run the command again. ` +
			remoteHelp + " The token of the cluster's nodes is taken from " + envToToken + ", else from " + envToken + ".",
		Example: "  millrace cluster grow --to http://n1:8080,http://n2:8080,http://n3:8080\n  millrace cluster grow --stop",
		Args:    args(),
	}
	asJSON := jsonFlag(cmd)
	to := cmd.Flags().StringSlice("to", nil, "HTTP addresses of nodes of the cluster, one at least; any one that answers is used")
	ca := cmd.Flags().String("to-ca", "", "PEM `file` of certificates of the cluster's nodes to trust beside the system's")
	stop := cmd.Flags().Bool("stop", false, "stop it, where the cluster does not have the grid yet")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, err := c.target(*to, *ca, cmp.Or(c.env(envToToken), c.env(envToken)), !*stop)
		if err != nil {
			return err
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		var g cluster.Growth
		var named []string
		if *stop {
			g, err = cl.StopGrowing(cmd.Context())
		} else if named, err = filePipelines(cmd.Context(), cl); err == nil {
			g, err = c.follow(cmd.Context(), cl, target)
		}
		if err != nil {
			return fmt.Errorf("grow: %w", err)
		}
		if g.Progress.Step == grid.GrowDone {
			c.leftBehind(cmd.Context(), target, *ca, named)
		}
		if *asJSON {
			return printJSON(c.Stdout, g)
		}
		return c.printGrowth(g)
	}
	return cmd
}

// filePipelines are the pipelines that a node's own file has: they are no part of its grid.
func filePipelines(ctx context.Context, cl *client.Client) (names []string, err error) {
	all, err := cl.Pipelines(ctx)
	for _, p := range all {
		if p.Origin == string(pipeline.File) {
			names = append(names, p.Name)
		}
	}
	return names, err
}

// growOpens is how long the cluster's nodes may take to open the grid that they have.
const growOpens = 30 * time.Second

// leftBehind warns of pipelines that the old node's file has and that the cluster does not run.
func (c *command) leftBehind(ctx context.Context, to cluster.Target, ca string, named []string) {
	if len(named) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, growOpens)
	defer cancel()
	for {
		server, all, err := pipelinesOf(ctx, to, ca)
		if err == nil {
			missing := slices.DeleteFunc(slices.Clone(named), func(name string) bool {
				return slices.ContainsFunc(all, func(p rest.Pipeline) bool { return p.Name == name && p.Origin != "" })
			})
			if len(missing) > 0 {
				c.warn(fmt.Sprintf("the cluster does not run %s, which the old node's own file has: bring it in with `millrace apply -f FILE --server %s`, with its model",
					strings.Join(missing, ", "), server))
			}
			return
		}
		select {
		case <-ctx.Done():
			c.warn(fmt.Sprintf("whether the cluster runs %s, which the old node's own file has, is not known: %v", strings.Join(named, ", "), err))
			return
		case <-time.After(growPoll):
		}
	}
}

// pipelinesOf asks the first node of the cluster that answers.
func pipelinesOf(ctx context.Context, to cluster.Target, ca string) (server string, all []rest.Pipeline, err error) {
	for _, server = range to.To {
		cl, made := client.New(client.Config{Server: server, Token: to.Token, CA: ca})
		if made != nil {
			return server, nil, made
		}
		all, err = cl.Pipelines(ctx)
		cl.Close()
		if err == nil {
			return server, all, nil
		}
	}
	return server, nil, err
}

// target is the cluster that flags name. Where needed it must be complete.
func (c *command) target(to []string, ca, token string, needed bool) (cluster.Target, error) {
	target := cluster.Target{To: to, Token: token}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return target, usage(err)
		}
		target.CA = string(pem)
	}
	if needed {
		if err := target.Validate(); err != nil {
			return target, usage(fmt.Errorf("--to: %w", err))
		}
	}
	return target, nil
}

// follow begins it and tells how far it is until it ends.
func (c *command) follow(ctx context.Context, cl *client.Client, to cluster.Target) (cluster.Growth, error) {
	g, err := cl.Grow(ctx, to)
	last := ""
	for err == nil && g.Running {
		if line := growLine(g.Progress); line != last {
			fmt.Fprintln(c.Stderr, line)
			last = line
		}
		select {
		case <-ctx.Done():
			return g, fmt.Errorf("%w; the node goes on: run this again to follow it, or with --stop", ctx.Err())
		case <-time.After(growPoll):
		}
		g, err = cl.Growth(ctx)
	}
	if err == nil && g.Progress.Step == grid.GrowDone && last != "" {
		fmt.Fprintln(c.Stderr, growLine(g.Progress))
	}
	if err == nil && g.Error != "" {
		err = fmt.Errorf("%w: %s", errGrow, g.Error)
	}
	return g, err
}

// growLine says how far it is.
func growLine(p grid.GrowProgress) string {
	var line string
	switch p.Step {
	case grid.GrowCopying:
		line = fmt.Sprintf("copying: %d of %d messages", p.Copied, p.Messages)
	case grid.GrowMoving:
		line = fmt.Sprintf("the cluster has the grid; its nodes look after %d of %d partitions", p.Moved, p.Partitions)
	case grid.GrowDone:
		line = "done: the cluster has the grid, and its nodes look after all partitions"
	default:
		line = string(p.Step)
	}
	if p.Reason != "" {
		line += ": waits: " + strings.TrimSpace(p.Reason)
	}
	return line
}

func (c *command) printGrowth(g cluster.Growth) error {
	p := g.Progress
	var err error
	switch {
	case p.Step == grid.GrowDone:
		_, err = fmt.Fprintf(c.Stdout, "the cluster %s has the grid; writes waited for %v\n", g.Cluster, p.Pause.Round(time.Millisecond))
	case g.Cluster == "":
		_, err = fmt.Fprintln(c.Stdout, "the node's grid is on its way to no cluster")
	case p.Step == grid.GrowMoving:
		_, err = fmt.Fprintf(c.Stdout, "the cluster %s has the grid already; its nodes look after %d of %d partitions\n", g.Cluster, p.Moved, p.Partitions)
	default:
		_, err = fmt.Fprintf(c.Stdout, "stopped; the node keeps its grid\n")
	}
	return err
}
