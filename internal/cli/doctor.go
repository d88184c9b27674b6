package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/grid"
)

func (c *command) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor DIR",
		Short: "Say what is wrong in a stopped node's folder, and what can be saved",
		Long: `Reads every record in the data folder of a node that is stopped, holds it against its checksum, and says which entries are damaged or
missing. It changes nothing. A start of the node saves all that is whole, and keeps the damaged files as they are in DIR/damaged. Where
something is wrong the command exits with 1.`,
		Example: "  millrace doctor data\n  millrace doctor /var/lib/millrace --json",
		Args:    args("DIR"),
		GroupID: "local",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		found, err := grid.Examine(given[0])
		if err != nil {
			return fmt.Errorf("look at %s: %w", given[0], err)
		}
		if *asJSON {
			err = printJSON(c.Stdout, found)
		} else {
			_, err = fmt.Fprint(c.Stdout, diagnosis(found))
		}
		if wrong := len(found.Damages) + len(found.Faults); err == nil && wrong > 0 {
			err = fmt.Errorf("%s: %d things are wrong", given[0], wrong)
		}
		return err
	}
	return cmd
}

// diagnosis is what was found, for people.
func diagnosis(e grid.Examined) string {
	var b strings.Builder
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "%s\n", f)
	}
	for _, d := range e.Damages {
		where := "the grid's description"
		if d.Class != "" {
			where = fmt.Sprintf("%s partition %d", d.Class, d.Partition)
		}
		if d.Everything {
			fmt.Fprintf(&b, "%s: all files of %s are missing: everything in it is lost\n  restore the folder from a backup; a start makes it anew, and empty\n", where, d.Stream)
			continue
		}
		what := "is damaged"
		if d.Missing {
			what = "is missing"
		}
		fmt.Fprintf(&b, "%s: %s of %s %s\n", where, d.File, d.Stream, what)
		if d.Records == 0 {
			b.WriteString("  nothing is lost: only what had been overwritten is damaged\n")
		} else {
			fmt.Fprintf(&b, "  lost: %d records, sequences %d to %d; of %d it is not known whose they are\n", d.Records, d.From, d.To, d.Unknown)
		}
		for _, k := range d.Keys {
			fmt.Fprintf(&b, "  lost: %s\n", k)
		}
		if len(d.Keys) > 0 {
			b.WriteString("  put these again, or restore them from a backup; until then they are answered with 410 entry_damaged\n")
		}
	}
	fmt.Fprintf(&b, "%d records in %d blocks of %d streams are whole", e.Records, e.Blocks, e.Streams)
	if e.Killed > 0 {
		fmt.Fprintf(&b, "; %d streams were not stopped in order", e.Killed)
	}
	if e.Torn > 0 {
		fmt.Fprintf(&b, ", %d of them with a last write that was never answered", e.Torn)
	}
	b.WriteString("\n")
	if len(e.Damages) > 0 {
		fmt.Fprintf(&b, "A start of the node saves what is whole and loses %d records", e.Lost())
		if n := e.Gone(); n > 0 {
			fmt.Fprintf(&b, ", and all that was in %d streams", n)
		}
		b.WriteString(".\n")
	}
	return b.String()
}
