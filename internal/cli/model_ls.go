package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *command) modelList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the models of a running node",
		Long:    "Lists every version of every model of a running node; the one that serves where none is named has a *. " + remoteHelp,
		Example: "  millrace model ls\n  millrace model ls --json",
		Args:    args(),
	}
	open := c.remote(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		models, err := cl.Models(cmd.Context())
		if err != nil {
			return fmt.Errorf("list the models: %w", err)
		}
		var rows [][]string
		for _, m := range models {
			if *asJSON {
				if err := printJSON(c.Stdout, m.Raw()); err != nil {
					return err
				}
				continue
			}
			version := fmt.Sprint(m.Version)
			if m.Latest {
				version += "*"
			}
			rows = append(rows, []string{m.Name, version, m.State, orNone(m.Engine), sizeText(m.Bytes), m.Source, m.Reason})
		}
		if *asJSON {
			return nil
		}
		return printTable(c.Stdout, []string{"model", "version", "state", "engine", "size", "source", ""}, rows)
	}
	return cmd
}
