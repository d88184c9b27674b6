package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/client"
)

func (c *command) clusterDrain(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node give away all its replicas and leaders, so that it may be stopped",
		Long: "Moves what a node has to others, a replica at a time. It stays empty, also after a restart, until --undo gives it its share again. " +
			"It is refused where too few nodes would be left.",
		Example: "  millrace cluster drain n3 --wait\n  millrace cluster drain n3 --undo",
		Args:    args("NODE"),
	}
	wait := cmd.Flags().Bool("wait", false, "return when the node has nothing left")
	undo := cmd.Flags().Bool("undo", false, "give the node its share again")
	cmd.MarkFlagsMutuallyExclusive("wait", "undo")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.order(open, func(cl *client.Client) error {
			if err := cl.Drain(cmd.Context(), args[0], *undo); err != nil {
				return fmt.Errorf("drain %s: %w", args[0], err)
			}
			switch {
			case *undo:
				return c.begun("node %s is given its share again; `millrace cluster status` shows how far it is", args[0])
			case !*wait:
				return c.begun("node %s gives away what it has; it may be stopped when `millrace cluster status` shows it as drained", args[0])
			}
			if err := c.waitCluster(cmd.Context(), cl, func(s cluster.Status) bool {
				return slices.ContainsFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == args[0] && n.Drained && n.Leads == 0 })
			}); err != nil {
				return err
			}
			return c.begun("node %s is drained: it has nothing left, and may be stopped", args[0])
		})
	}
	return cmd
}

func (c *command) clusterRemove(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node that is gone out of the cluster",
		Long: "Builds what the node had on others at once, and then takes its voice. It is refused where the node stays connected for 5 s: drain it and stop it first. " +
			"It is refused too where too few nodes would be left.",
		Example: "  millrace cluster remove n3 --wait",
		Args:    args("NODE"),
	}
	wait := cmd.Flags().Bool("wait", false, "return when the cluster has the node no more")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.order(open, func(cl *client.Client) error {
			if err := cl.RemoveNode(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("remove %s: %w", args[0], err)
			}
			if !*wait {
				return c.begun("node %s is taken out of the cluster; `millrace cluster status` shows how far that is", args[0])
			}
			if err := c.waitCluster(cmd.Context(), cl, func(s cluster.Status) bool {
				return !slices.ContainsFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == args[0] })
			}); err != nil {
				return err
			}
			return c.begun("node %s is no part of the cluster any more", args[0])
		})
	}
	return cmd
}

func (c *command) clusterRebalance(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Look at once whether replicas are to move, or pause, resume or cancel that",
		Long: "Nodes that come and go are given even shares without being asked. --pause begins no new moves, --cancel has those under way go back too, and --resume goes on. " +
			"`millrace cluster status` says how far it is.",
		Example: "  millrace cluster rebalance\n  millrace cluster rebalance --pause\n  millrace cluster rebalance --resume",
		Args:    args(),
	}
	flags := map[string]*bool{
		"pause":  cmd.Flags().Bool("pause", false, "begin no new moves"),
		"resume": cmd.Flags().Bool("resume", false, "go on after --pause or --cancel"),
		"cancel": cmd.Flags().Bool("cancel", false, "pause, and have the moves under way go back"),
	}
	cmd.MarkFlagsMutuallyExclusive("pause", "resume", "cancel")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		action := ""
		for name, set := range flags {
			if *set {
				action = name
			}
		}
		return c.order(open, func(cl *client.Client) error {
			if err := cl.Rebalance(cmd.Context(), action); err != nil {
				return fmt.Errorf("rebalance: %w", err)
			}
			return c.begun("%s", map[string]string{
				"":       "the controller looks at once; `millrace cluster status` shows what it moves",
				"pause":  "no new moves are begun; those under way end. --resume goes on",
				"resume": "moves go on; `millrace cluster status` shows them",
				"cancel": "no new moves are begun, and those under way go back. --resume goes on",
			}[action])
		})
	}
	return cmd
}

// begun says what an order has begun or done.
func (c *command) begun(format string, a ...any) error {
	_, err := fmt.Fprintf(c.Stdout, format+"\n", a...)
	return err
}

func (c *command) order(open opener, do func(*client.Client) error) error {
	cl, err := open()
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(cl)
}

// waitCluster says on stderr how far it is, until something is so.
func (c *command) waitCluster(ctx context.Context, cl *client.Client, so func(cluster.Status) bool) error {
	said := ""
	for {
		s, err := cl.Cluster(ctx)
		if err != nil {
			return fmt.Errorf("ask for the cluster: %w", err)
		}
		if so(s) {
			return nil
		}
		if now := rebalancing(s.Rebalancing); now != said {
			said = now
			fmt.Fprintln(c.Stderr, now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// rebalancing is one line about it, and one for each move under way.
func rebalancing(r cluster.Rebalancing) string {
	text := "rebalancing: " + r.State
	if r.Total > 0 {
		text += fmt.Sprintf(", %d of %d moves done", r.Done, r.Total)
	}
	if r.Paused && r.State != cluster.Paused {
		text += ", paused"
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	for _, m := range r.Current {
		what := "the grid's description"
		if m.Class != "" {
			what = fmt.Sprintf("%s partition %d", m.Class, m.Partition)
		}
		text += fmt.Sprintf("\n  %s: %s -> %s, %d behind", what, orNobody(m.From), orNobody(m.To), m.Lag)
	}
	return text
}

// nodeState is one word for a node.
func nodeState(n cluster.Node) string {
	var words []string
	switch {
	case n.Connected:
		words = append(words, "there")
	default:
		words = append(words, "away")
	}
	switch {
	case n.Removing:
		words = append(words, "removing")
	case n.Drained:
		words = append(words, "drained")
	case n.Draining:
		words = append(words, "draining")
	}
	return strings.Join(words, ", ")
}
