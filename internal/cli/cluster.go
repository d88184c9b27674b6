package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cluster"
)

func (c *command) cluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cluster",
		Short:   "Look at the cluster that a running node is one of, have nodes leave it, or make one of a node alone",
		Long:    "Says which nodes keep the grid together, and who looks after which partition. docs/config.md says how nodes become a cluster. " + remoteHelp,
		Example: "  millrace cluster status\n  millrace cluster status --server http://127.0.0.1:8082 --json",
		GroupID: "client",
	}
	open := opener(c.remote(cmd))
	cmd.AddCommand(c.clusterStatus(open), c.clusterGrow(open), c.clusterDrain(open), c.clusterRemove(open), c.clusterRebalance(open))
	return cmd
}

func (c *command) clusterStatus(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print the nodes, and the partitions with their leaders, owners and replicas",
		Long: "Says which nodes are there, who leads, owns and keeps each partition, and what is being moved. --wait prints it once the cluster is even: all nodes are there, each " +
			"partition has a leader, an owner and replicas that are up to date, and nothing is to be moved, all that for 3 s. Until then stderr says what is missing.",
		Example: "  millrace cluster status\n  millrace cluster status --json\n  millrace cluster status --wait --timeout 2m",
		Args:    args(),
	}
	asJSON := jsonFlag(cmd)
	wait := cmd.Flags().Bool("wait", false, "print it once the cluster is even")
	limit := cmd.Flags().Duration("timeout", 10*time.Minute, "how long that may take, which is a failure then (0: for ever)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("timeout") && !*wait {
			return usagef("--timeout is for --wait")
		}
		if *limit < 0 {
			return usagef("--timeout %v: it must not be below 0", *limit)
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		var s cluster.Status
		if *wait {
			if s, err = c.waitEven(cmd.Context(), cl, *limit); err != nil {
				return err
			}
		} else if s, err = cl.Cluster(cmd.Context()); err != nil {
			return fmt.Errorf("ask for the cluster: %w", err)
		}
		if *asJSON {
			return printJSON(c.Stdout, s)
		}
		if s.Cluster == "" {
			_, err := fmt.Fprintf(c.Stdout, "node %s is alone: its configuration has no cluster\n", s.Node)
			return err
		}
		return c.printCluster(s)
	}
	return cmd
}

func (c *command) printCluster(s cluster.Status) error {
	name := s.Cluster
	if s.ID != "" { // as messages of nodes have it
		name += fmt.Sprintf(" (id %s)", s.ID[:min(8, len(s.ID))])
	}
	fmt.Fprintf(c.Stdout, "cluster %s, as node %s sees it\n\n", name, s.Node)
	var rows [][]string
	for _, n := range s.Nodes {
		rows = append(rows, []string{n.Name, nodeState(n), n.Version, strings.Join(n.Roles, " "), fmt.Sprint(n.Leads), fmt.Sprint(n.Owns), fmt.Sprint(n.Replicas)})
	}
	if err := printTable(c.Stdout, []string{"node", "state", "version", "roles", "leads", "owns", "replicas"}, rows); err != nil {
		return err
	}
	fmt.Fprintf(c.Stdout, "\n%s\n\n", rebalancing(s.Rebalancing))
	rows = nil
	for _, p := range s.Partitions {
		var replicas []string
		for _, r := range p.Replicas {
			text := r.Node
			if r.State != "current" {
				text += fmt.Sprintf(" (%s, %d behind)", r.State, r.Lag)
			}
			replicas = append(replicas, text)
		}
		if p.Error != "" {
			replicas = []string{p.Error}
		}
		rows = append(rows, []string{p.Class, fmt.Sprint(p.Partition), orNobody(p.Leader), orNobody(p.Owner), strings.Join(replicas, ", ")})
	}
	return printTable(c.Stdout, []string{"class", "partition", "leader", "owner", "replicas"}, rows)
}

func orNobody(node string) string {
	if node == "" {
		return "-"
	}
	return node
}
