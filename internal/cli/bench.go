package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/bench"
)

func (c *command) bench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a whole node on this machine",
		Long: `Measures nodes of its own, one with durable and one with volatile caches: the time from a put until the event of its result, one at a
time, and the results a second for a flood of distinct keys. The network is dense, 784-128-32-10. docs/benchmarks.md says what the
numbers mean.`,
		Example: "  millrace bench --short\n  millrace bench --engine native --out results.json",
		GroupID: "other",
		Args:    args(),
	}
	var o bench.Options
	f := cmd.Flags()
	f.BoolVar(&o.Short, "short", false, "take fewer samples: seconds, not minutes")
	f.StringVar(&o.Engine, "engine", "auto", "engine that runs the network: auto, native or onnxruntime")
	f.StringVar(&o.Dir, "dir", "", "`folder` for the nodes' data (default: a temporary one)")
	options := deviceFlags(cmd)
	out := f.String("out", "", "write the rows as JSON to this `file` too")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("engine", o.Engine, "auto", "native", "onnxruntime"); err != nil {
			return err
		}
		var err error
		if o.EngineOptions, err = options(); err != nil {
			return err
		}
		if err := checkOut(*out); err != nil {
			return err
		}
		var rows []bench.Row
		for row, err := range bench.Run(cmd.Context(), o) {
			if err != nil {
				return err
			}
			rows = append(rows, row)
			if *asJSON {
				err = printJSON(c.Stdout, row)
			} else {
				_, err = fmt.Fprintf(c.Stdout, "%-52s %12.1f %s\n", row.Name, row.Value, row.Unit)
			}
			if err != nil {
				return err
			}
		}
		if *out == "" {
			return nil
		}
		data, err := json.MarshalIndent(rows, "", "  ")
		if err != nil {
			return err
		}
		return writeBytes(*out, append(data, '\n'))
	}
	return cmd
}
