package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/train/mnist"
)

func (c *command) data() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "data",
		Short:   "Fetch data sets",
		Example: "  millrace data mnist --out mnist",
		GroupID: "local",
	}
	cmd.AddCommand(c.dataMNIST())
	return cmd
}

func (c *command) dataMNIST() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mnist --out DIR",
		Short: "Fetch MNIST's 60,000 training images and check their sums",
		Long: `Fetches MNIST's 60,000 training images and their labels into a folder, from the internet or from --from, and checks their sums.
Files that are there already are only checked.`,
		Example: "  millrace data mnist --out mnist\n  millrace data mnist --out mnist --from https://example.com/mnist/",
		Args:    args(),
	}
	out := cmd.Flags().String("out", "", "`folder` to put the files into")
	from := cmd.Flags().StringSlice("from", nil, "`URLs` of folders to look in, instead of the usual ones")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *out == "" {
			return usagef("--out is missing")
		}
		log := newLogger(app.LogConfig{Level: "info", Format: "text"}, c.Stderr)
		if err := mnist.Fetch(cmd.Context(), *out, mnist.Options{URLs: *from, Log: log}); err != nil {
			if errors.Is(err, mnist.ErrDownload) {
				err = fmt.Errorf("%w\n--from names a folder that has the files %s and %s", err, mnist.Files[0].Name, mnist.Files[1].Name)
			}
			return err
		}
		for _, f := range mnist.Files {
			if _, err := fmt.Fprintln(c.Stdout, filepath.Join(*out, f.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
