package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bulk"
)

func (c *command) pipelineTry(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "try PIPELINE [FILE]",
		Short: "Run one entry through a pipeline, and store nothing",
		Long: "Runs one entry through a pipeline and prints each step with its time, and the result or the error entry that it would store. Nothing is stored; a paused " +
			"pipeline can be tried too.",
		Example: "  millrace pipeline try classify seven.png\n  millrace pipeline try power --value '{\"temperature\": 31.5}'",
		Args:    args("PIPELINE", "[FILE]"),
	}
	value := cmd.Flags().String("value", "", "the entry itself, instead of a file")
	kind := cmd.Flags().String("type", "", "content type (default: what the entry looks like, or its file is called)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		hasValue := cmd.Flags().Changed("value")
		if hasValue == (len(given) == 2) {
			return usagef("name the FILE (- is the standard input) or give --value")
		}
		data := []byte(*value)
		if !hasValue {
			var err error
			if data, err = c.readInput(given[1]); err != nil {
				return err
			}
			if *kind == "" {
				*kind = bulk.TypeOf(given[1], data)
			}
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		t, err := cl.TryPipeline(cmd.Context(), given[0], *kind, data)
		if err != nil {
			return fmt.Errorf("try %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, t)
		}
		var rows [][]string
		for _, s := range t.Steps {
			rows = append(rows, []string{s.Name, time.Duration(s.US * float64(time.Microsecond)).Round(100 * time.Nanosecond).String(), s.Detail})
		}
		if err := printTable(c.Stdout, nil, rows); err != nil {
			return err
		}
		var result bytes.Buffer
		if err := json.Compact(&result, t.Result); err != nil {
			return fmt.Errorf("read the result: %w", err)
		}
		_, err = fmt.Fprintln(c.Stdout, result.String())
		return err
	}
	return cmd
}
