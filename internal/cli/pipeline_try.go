package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/pipeline"
)

func (c *command) pipelineTry(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "try PIPELINE [FILE]",
		Short: "Run one entry through a pipeline, and store nothing",
		Long: "Runs one entry through a pipeline and prints each step with its time, and the result or the error entry that it would store; with an error entry the exit " +
			"code is 1. Nothing is stored; a paused pipeline can be tried too. With --key it is the entry of the pipeline's source under that key, such as one that failed.",
		Example: "  millrace pipeline try classify seven.png\n  millrace pipeline try power --value '{\"temperature\": 31.5}'\n  millrace pipeline try power --key r17",
		Args:    args("PIPELINE", "[FILE]"),
	}
	value := cmd.Flags().String("value", "", "the entry itself, instead of a file")
	key := cmd.Flags().String("key", "", "the key of an entry of the source cache, instead of a file")
	kind := cmd.Flags().String("type", "", "content type (default: what the entry looks like, or its file is called)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		hasValue, hasKey := cmd.Flags().Changed("value"), cmd.Flags().Changed("key")
		ways := 0
		for _, given := range []bool{hasValue, hasKey, len(given) == 2} {
			if given {
				ways++
			}
		}
		if ways != 1 {
			return usagef("name the FILE (- is the standard input), or give --value, or --key: one of them")
		}
		data := []byte(*value)
		if len(given) == 2 {
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
		if hasKey {
			p, err := cl.Pipeline(cmd.Context(), given[0])
			if err != nil {
				return fmt.Errorf("try %s: %w", given[0], err)
			}
			e, err := cl.Get(cmd.Context(), p.From, *key)
			if err != nil {
				return fmt.Errorf("try %s: get %s/%s: %w", given[0], p.From, *key, err)
			}
			if data = e.Value; *kind == "" {
				*kind = e.ContentType
			}
		}
		t, err := cl.TryPipeline(cmd.Context(), given[0], *kind, data)
		if err != nil {
			return fmt.Errorf("try %s: %w", given[0], err)
		}
		if *asJSON {
			if err := printJSON(c.Stdout, t); err != nil {
				return err
			}
			return failed(given[0], t)
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
		if _, err = fmt.Fprintln(c.Stdout, result.String()); err != nil {
			return err
		}
		return failed(given[0], t)
	}
	return cmd
}

// failed is the error of a trial whose result is an error entry; nil of any other.
func failed(name string, t pipeline.Trial) error {
	var result pipeline.Result
	if err := json.Unmarshal(t.Result, &result); err != nil {
		return fmt.Errorf("read the result: %w", err)
	}
	if result.Error == "" {
		return nil
	}
	return fmt.Errorf("try %s: the entry fails with %s: %s", name, result.Code, result.Error)
}
