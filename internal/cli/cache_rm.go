package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *command) cacheRemove(open opener) *cobra.Command {
	return &cobra.Command{
		Use:     "rm CACHE KEY...",
		Short:   "Remove entries",
		Example: "  millrace cache rm digits 1 2 3",
		Args:    args("CACHE", "KEY..."),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := open()
			if err != nil {
				return err
			}
			defer cl.Close()
			for _, key := range given[1:] {
				if err := cl.Delete(cmd.Context(), given[0], key); err != nil {
					return fmt.Errorf("remove %s/%s: %w", given[0], key, err)
				}
			}
			return nil
		},
	}
}

func (c *command) cacheClear(open opener) *cobra.Command {
	return &cobra.Command{
		Use:     "clear CACHE",
		Short:   "Remove all entries of a cache",
		Example: "  millrace cache clear digits",
		Args:    args("CACHE"),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := open()
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := cl.Clear(cmd.Context(), given[0]); err != nil {
				return fmt.Errorf("clear %s: %w", given[0], err)
			}
			_, err = fmt.Fprintf(c.Stdout, "cache %s is empty\n", given[0])
			return err
		},
	}
}

func (c *command) cacheDrop(open opener) *cobra.Command {
	return &cobra.Command{
		Use:     "drop CACHE",
		Short:   "Remove a cache with its entries",
		Example: "  millrace cache drop digits",
		Args:    args("CACHE"),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := open()
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := cl.DeleteCache(cmd.Context(), given[0]); err != nil {
				return fmt.Errorf("drop %s: %w", given[0], err)
			}
			_, err = fmt.Fprintf(c.Stdout, "cache %s is removed\n", given[0])
			return err
		},
	}
}
