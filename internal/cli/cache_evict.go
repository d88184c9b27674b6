package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) cacheEvict(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evict CACHE [KEY...]",
		Short: "Have values leave memory for the cache's store",
		Long: `Has the values of some keys, or with --all of all, leave memory. They stay in the cache, and come back from its store when they are
asked for. A value leaves only when the store has it and every reader of the cache has passed it. Where one cannot, the command says
what stands in the way, and exits with 1.`,
		Example: "  millrace cache evict digits 1 2 3\n  millrace cache evict digits --all",
		Args:    args("CACHE", "[KEY...]"),
	}
	all := cmd.Flags().Bool("all", false, "every value of the cache")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		keys := given[1:]
		switch {
		case len(keys) == 0 && !*all:
			return usagef("%s: name keys, or say --all", cmd.CommandPath())
		case len(keys) > 0 && *all:
			return usagef("%s: --all is every value; leave out the keys, or --all", cmd.CommandPath())
		case *all:
			keys = nil
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		out, err := cl.Evict(cmd.Context(), given[0], keys)
		if err != nil {
			return fmt.Errorf("evict from %s: %w", given[0], err)
		}
		if *asJSON {
			err = printJSON(c.Stdout, out)
		} else {
			_, err = fmt.Fprintln(c.Stdout, evictedText(out))
		}
		if err != nil {
			return err
		}
		return stayed(given[0], out)
	}
	return cmd
}

func evictedText(e client.Evicted) string {
	text := fmt.Sprintf("%d left memory", e.Evicted)
	for _, part := range []struct {
		n    int
		what string
	}{{e.Cold, "were not in it"}, {e.Missing, "have no entry"}, {e.Staying, "stay"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

// stayed is the error of values that did not leave; nil where all did.
func stayed(cache string, e client.Evicted) error {
	if e.Staying == 0 {
		if e.Missing > 0 {
			return fmt.Errorf("cache %s has no entry for %d of the keys", cache, e.Missing)
		}
		return nil
	}
	why := "the node does not say why"
	if len(e.Reasons) > 0 {
		why = e.Reasons[0].Error
	}
	if e.Staying == 1 {
		return fmt.Errorf("%s", why)
	}
	return fmt.Errorf("%d values of %s stay in memory; the first: %s", e.Staying, cache, why)
}
