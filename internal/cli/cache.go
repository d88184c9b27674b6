package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

// opener connects to the node that the flags name.
type opener func() (*client.Client, error)

func (c *command) cache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Read, write and watch the caches of a running node",
		Long:  "Reads, writes and watches the caches of a running node. " + remoteHelp,
		Example: `  millrace cache ls
  millrace cache put digits 1 docs/seven.png
  millrace cache watch predictions --values`,
		GroupID: "client",
	}
	open := opener(c.remote(cmd))
	cmd.AddCommand(c.cachePut(open), c.cacheGet(open), c.cacheRemove(open), c.cacheList(open), c.cacheWatch(open),
		c.cacheCreate(open), c.cacheStats(open), c.cacheEvict(open), c.cacheClear(open), c.cacheDrop(open), c.cacheImport(open), c.cacheExport(open))
	for _, sub := range cmd.Commands() {
		run, makes := sub.RunE, sub.Name() == "put" || sub.Name() == "import"
		sub.RunE = func(cmd *cobra.Command, given []string) error {
			err := run(cmd, given)
			if len(given) == 0 {
				return err
			}
			return unknownName(err, "cache_not_found", func() string {
				text := noneSuch(cmd.Context(), open, "cache", given[0], func(ctx context.Context, cl *client.Client) ([]string, error) { return cl.Caches(ctx) })
				if makes {
					text += fmt.Sprintf(", `millrace cache create %s` makes one", given[0])
				}
				return text
			})
		}
	}
	return cmd
}

// unknownName says what text says of an answer that a name is not known, and leaves other errors as they are.
func unknownName(err error, code string, text func() string) error {
	var answer *client.Error
	if !errors.As(err, &answer) || answer.Code != code {
		return err
	}
	return fmt.Errorf("%s (%s, %d)", text(), answer.Code, answer.Status)
}

// noneSuch says that the node has no cache, or another kind of thing, of a name, which is near, and where they are listed. A list that cannot be
// had leaves out what is near: that the name is not known is known.
func noneSuch(ctx context.Context, open opener, kind, name string, list func(context.Context, *client.Client) ([]string, error)) string {
	text := fmt.Sprintf("no such %s: %s", kind, name)
	near := ""
	if cl, err := open(); err == nil {
		defer cl.Close()
		if names, err := list(ctx, cl); err == nil {
			near = didYouMean(name, names)
		}
	}
	if near == "" {
		near = ";"
	}
	return text + near + fmt.Sprintf(" `millrace %s ls` lists them", kind)
}
