package cli

import "github.com/spf13/cobra"

func (c *command) engine() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "engine",
		Short:   "List, install and test what runs models on this machine",
		Example: "  millrace engine ls\n  millrace engine install onnxruntime\n  millrace engine test cases/ --engine native",
		GroupID: "local",
	}
	cmd.AddCommand(c.engineList(), c.engineInstall(), c.engineTest())
	return cmd
}
