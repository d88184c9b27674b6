package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/client"
)

func (c *command) cachePut(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put CACHE KEY [FILE]",
		Short: "Write an entry from a file, the standard input or --value, and print its revision",
		Example: `  millrace cache put digits 1 docs/seven.png
  millrace cache put notes today --value 'sunny' --lifespan 24h
  date | millrace cache put notes now -`,
		Args: args("CACHE", "KEY", "[FILE]"),
	}
	var o client.PutOptions
	f := cmd.Flags()
	value := f.String("value", "", "the value itself, instead of a file")
	f.StringVar(&o.ContentType, "type", "", "content type (default: what the value looks like)")
	f.DurationVar(&o.Lifespan, "lifespan", 0, "how long the entry lives, such as 24h")
	f.DurationVar(&o.MaxIdle, "max-idle", 0, "how long it lives without being used")
	f.Uint64Var(&o.IfRevision, "if-revision", 0, "write only over this revision")
	f.BoolVar(&o.Create, "create", false, "write only where there is no entry")
	f.StringToStringVar(&o.Labels, "label", nil, "labels, as `name=value`")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		hasValue := cmd.Flags().Changed("value")
		if hasValue == (len(given) == 3) {
			return usagef("name the FILE (- is the standard input) or give --value")
		}
		for _, d := range []time.Duration{o.Lifespan, o.MaxIdle} {
			if d < 0 {
				return usagef("a time of %v is negative", d)
			}
		}
		data := []byte(*value)
		if !hasValue {
			var err error
			if data, err = c.readInput(given[2]); err != nil {
				return err
			}
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		revision, err := cl.Put(cmd.Context(), given[0], given[1], data, o)
		if err != nil {
			return fmt.Errorf("put %s/%s: %w", given[0], given[1], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, map[string]any{"cache": given[0], "key": client.Key(given[1]), "revision": revision})
		}
		_, err = fmt.Fprintln(c.Stdout, revision)
		return err
	}
	return cmd
}

// maxInput bounds what is read of a file or the standard input for a request.
const maxInput = 2 << 30

// readInput reads a file, or the standard input for "-".
func (c *command) readInput(name string) ([]byte, error) {
	in := c.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes", name, maxInput)
	}
	return data, nil
}
