package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) modelUse() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "use NAME [VERSION]",
		Short: "Choose the version of a model that serves",
		Long: `Chooses the version of a model that serves where none is named, on every node and over restarts: newer ones do not serve then. --newest serves the newest
again, whatever comes; --back undoes the last choice. Pipelines and clients take the version from their next run on. ` + remoteHelp,
		Example: "  millrace model use digits 3\n  millrace model use digits --back\n  millrace model use digits --newest",
		Args:    args("NAME", "[VERSION]"),
	}
	open := c.remote(cmd)
	newest := cmd.Flags().Bool("newest", false, "the newest version, whatever comes")
	back := cmd.Flags().Bool("back", false, "what served before the last choice")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		var choice string
		switch {
		case len(given) == 2 && !*newest && !*back:
			choice = given[1]
			if n, err := strconv.ParseInt(choice, 10, 64); err != nil || n < 1 {
				return usagef("VERSION %q is no positive number", choice)
			}
		case len(given) == 1 && *newest && !*back:
			choice = "newest"
		case len(given) == 1 && *back && !*newest:
			choice = "previous"
		default:
			return usagef("name a VERSION, or give --newest or --back")
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		v, err := cl.UseModel(cmd.Context(), given[0], choice)
		if err != nil {
			return fmt.Errorf("use %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, v)
		}
		return printServing(c.Stdout, given[0], v)
	}
	return cmd
}

func printServing(w io.Writer, name string, v client.ModelVersions) error {
	how := "the newest; a newer one takes its place"
	if v.Pinned {
		how = "chosen; newer ones do not serve"
	}
	if _, err := fmt.Fprintf(w, "%s version %d serves (%s)\n", name, v.Serves, how); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

func (c *command) modelVersions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "versions NAME",
		Short: "List the versions of a model, and which one serves",
		Long: "Lists the versions of a model from the newest, with where each comes from, when and by whom it was pushed and what it was trained with, as far as that is " +
			"known; the one that serves has a *. " + remoteHelp,
		Example: "  millrace model versions digits\n  millrace model versions digits --json",
		Args:    args("NAME"),
	}
	open := c.remote(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		v, err := cl.Model(cmd.Context(), given[0])
		if err != nil {
			return fmt.Errorf("versions of %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, v)
		}
		if err := printServing(c.Stdout, given[0], v); err != nil {
			return err
		}
		var rows [][]string
		for _, one := range v.Versions {
			version := fmt.Sprint(one.Version)
			if one.Version == v.Serves {
				version += "*"
			}
			rows = append(rows, []string{version, one.State, sizeText(one.Bytes), fmt.Sprintf("%.12s", one.Digest), one.Time, one.Source, orNone(one.By), one.Trained})
		}
		return printTable(c.Stdout, []string{"version", "state", "size", "sha256", "time", "source", "by", "trained with"}, rows)
	}
	return cmd
}
