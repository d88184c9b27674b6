package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) cacheList(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [CACHE]",
		Short: "List the caches, or the keys of one",
		Example: `  millrace cache ls
  millrace cache ls digits --prefix 2024/ --limit 10`,
		Args: args("[CACHE]"),
	}
	prefix := cmd.Flags().String("prefix", "", "only keys that begin with this")
	limit := cmd.Flags().Int("limit", 0, "at most so many keys (0: all)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if len(given) == 0 {
			return c.listCaches(cmd, cl, *asJSON)
		}
		for key, err := range cl.Keys(cmd.Context(), given[0], *prefix, *limit) {
			if err != nil {
				return fmt.Errorf("list %s: %w", given[0], err)
			}
			if *asJSON {
				err = printJSON(c.Stdout, key)
			} else {
				_, err = fmt.Fprintln(c.Stdout, string(key))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func (c *command) listCaches(cmd *cobra.Command, cl *client.Client, asJSON bool) error {
	names, err := cl.Caches(cmd.Context())
	if err != nil {
		return fmt.Errorf("list the caches: %w", err)
	}
	var rows [][]string
	for _, name := range names {
		d, err := cl.Cache(cmd.Context(), name)
		if err != nil {
			return fmt.Errorf("cache %s: %w", name, err)
		}
		if asJSON {
			if err := printJSON(c.Stdout, d); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{
			name, d.Config.Class, fmt.Sprint(d.Size), sizeText(d.Stats.Bytes), fmt.Sprint(d.Stats.InMemory), inStore(d.Config.Store, d.Stats),
		})
	}
	if asJSON {
		return nil
	}
	return printTable(c.Stdout, []string{"cache", "class", "entries", "bytes", "in memory", "in the store alone"}, rows)
}

// inStore says how many entries are in a cache's store alone, and in which.
func inStore(store string, stats client.CacheStats) string {
	if store == "" {
		return "-"
	}
	return fmt.Sprintf("%d (%s)", stats.Cold, store)
}
