package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
)

// engineTest is `engine test`; a file named engine_test.go would not be part of the program.
func (c *command) engineTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run a folder of test cases in ONNX's layout on an engine",
		Long: `Runs every test case in a folder and those below it, in the layout that ONNX's own cases have (model.onnx beside
test_data_set_0/input_0.pb and so on). It prints what did not pass, and the totals as the last line. It fails where a case
was wrong or crashed; one that was refused with its reason is no failure.`,
		Example: `  millrace engine test /usr/share/libonnx-testdata/data --engine native
  millrace engine test cases/ --json | jq 'select(.verdict == "refused")'`,
		Args: args("DIR"),
	}
	engines := c.engineFlag(cmd)
	options := deviceFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print every case as JSON, a line each")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		opts, err := options()
		if err != nil {
			return err
		}
		all, name, err := engines()
		if err != nil {
			return err
		}
		e := all.Auto()
		if name != "auto" {
			if e, err = all.Get(name); err != nil {
				return err
			}
		}
		e = engine.With(e, all.Options(e.Name(), opts))
		fsys := os.DirFS(given[0])
		cases, err := conformance.Find(fsys)
		if err != nil {
			return fmt.Errorf("%s: %w", given[0], err)
		}
		var report conformance.Report
		for _, dir := range cases {
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			done := conformance.RunCase(cmd.Context(), fsys, dir, e)
			report.Add(done)
			switch {
			case *asJSON:
				err = printJSON(c.Stdout, done)
			case done.Verdict != conformance.Passed:
				_, err = fmt.Fprintf(c.Stdout, "%-8s %s: %s\n", done.Verdict, done.Name, done.Reason)
			}
			if err != nil {
				return err
			}
		}
		if err := printJSON(c.Stdout, report.Totals); err != nil {
			return err
		}
		if bad := report.Wrong + report.Crashed; bad > 0 {
			return fmt.Errorf("engine %s: %d of %d cases are wrong or crashed", e.Name(), bad, report.Total)
		}
		return nil
	}
	return cmd
}
