package cli

import (
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
	return cmd
}
