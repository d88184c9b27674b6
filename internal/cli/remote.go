package cli

import (
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

// remote adds the flags of the commands that ask a running node, and returns how to reach it. The token comes from the
// environment alone: a flag would show in the list of processes.
func (c *command) remote(cmd *cobra.Command) func() (*client.Client, error) {
	server := cmd.PersistentFlags().String("server", "", "address of the node (default $"+envServer+", else "+client.DefaultServer+")")
	ca := cmd.PersistentFlags().String("ca", "", "PEM `file` of certificates to trust beside the system's")
	return func() (*client.Client, error) {
		config := client.Config{Server: *server, Token: c.env(envToken), CA: *ca}
		if config.Server == "" {
			config.Server = c.env(envServer)
		}
		cl, err := client.New(config)
		if err != nil {
			return nil, usage(err)
		}
		return cl, nil
	}
}

// remoteHelp ends the description of commands that ask a running node.
const remoteHelp = "The node is named by --server or " + envServer + "; a token is taken from " + envToken + "."
