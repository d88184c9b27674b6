package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) cacheWatch(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch CACHE",
		Short: "Print what happens to a cache, until interrupted",
		Long: `Prints what happens to a cache, an event a line, until interrupted. When the connection breaks it is made again, and
nothing is missed. With --json each line has an id, which --from goes on after.`,
		Example: `  millrace cache watch predictions --values
  millrace cache watch predictions --values --json --count 1
  millrace cache watch digits --current --prefix 2024/`,
		Args: args("CACHE"),
	}
	var o client.ListenOptions
	f := cmd.Flags()
	f.BoolVar(&o.Values, "values", false, "print the values too")
	f.BoolVar(&o.Current, "current", false, "begin with the entries that are there")
	f.StringVar(&o.Prefix, "prefix", "", "only keys that begin with this")
	f.StringVar(&o.From, "from", "", "go on after the event with this `id`")
	count := f.Int("count", 0, "stop after so many events (0: never)")
	limit := f.Duration("for", 0, "stop after this time, which is a failure before --count events (0: never)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		ctx := cmd.Context()
		if *limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, *limit)
			defer cancel()
		}
		o.Retry = func(err error) { c.warn(fmt.Sprintf("connection lost, trying again: %v", err)) }
		seen := 0
		for e, err := range cl.Listen(ctx, given[0], o) {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && *count == 0 {
				return nil // it was interrupted, as it was meant to be
			}
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("watch %s: %d of %d events came within %v", given[0], seen, *count, *limit)
			}
			if err != nil {
				return fmt.Errorf("watch %s: %w", given[0], err)
			}
			if err := c.printEvent(e, o.Values, *asJSON); err != nil {
				return err
			}
			if seen++; seen == *count {
				return nil
			}
		}
		return nil
	}
	return cmd
}

func (c *command) printEvent(e client.Event, values, asJSON bool) error {
	if asJSON {
		line := struct {
			ID    string `json:"id"`
			Event string `json:"event"`
			entryOut
		}{e.ID, e.Type, entryJSON(e.Entry)}
		return printJSON(c.Stdout, line)
	}
	line := fmt.Sprintf("%-8s %s", e.Type, e.Entry.Key)
	if values && e.Entry.Value != nil {
		line += fmt.Sprintf("  @%d  %s", e.Entry.Revision, valueText(e.Entry))
	}
	_, err := fmt.Fprintln(c.Stdout, line)
	return err
}

// valueText is a value for people: text as it is, on one line, and of anything else its type and size.
func valueText(e client.Entry) string {
	if utf8.Valid(e.Value) && !strings.ContainsFunc(string(e.Value), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return strings.Join(strings.Fields(string(e.Value)), " ")
	}
	return fmt.Sprintf("(%s, %s)", e.ContentType, sizeText(int64(len(e.Value))))
}
