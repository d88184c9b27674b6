package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/outfile"
)

// jsonFlag adds --json to a command and returns its value.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON for other programs")
}

// printJSON prints v as one line of JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// checkOut finds before the work what would keep the result from being written, where --out names a file.
func checkOut(name string) error {
	if name == "" {
		return nil
	}
	return outfile.Check(name)
}

// writeBytes writes a result to a file.
func writeBytes(name string, data []byte) error {
	return outfile.Write(name, func(w io.Writer) error { _, err := w.Write(data); return err })
}

// printTable prints rows in aligned columns below a heading in capitals; without a heading the first column names the others.
func printTable(w io.Writer, heading []string, rows [][]string) error {
	if len(heading) == 0 {
		return printRows(w, rows)
	}
	return printRows(w, append([][]string{strings.Split(strings.ToUpper(strings.Join(heading, "\t")), "\t")}, rows...))
}

// printRows prints rows in aligned columns as they are: names of a user's own, such as labels and files, keep their letters.
func printRows(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}
