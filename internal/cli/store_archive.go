package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/archive"
)

func (c *command) storeVerify(open storeOpener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify STORE [CACHE]",
		Short: "Read everything in a store and check the sums",
		Long: `Reads every copy in a store, or of one cache, and holds it against its checksums. Each that is damaged is told of, with what can be
done; then the command exits with 1. ` + storeHelp,
		Example: "  millrace store verify disk:cold\n  millrace store verify cold digits -c millrace.yaml --json",
		Args:    args("STORE", "[CACHE]"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cache := ""
		if len(given) > 1 {
			cache = given[1]
			if err := store.CheckNamespace(cache); err != nil {
				return usage(err)
			}
		}
		return withStore(cmd, open, given[0], false, func(s store.Store) error { return c.verify(cmd, s, given[0], cache, *asJSON) })
	}
	return cmd
}

// damagedOut is a line of verify's JSON.
type damagedOut struct {
	Cache  string       `json:"cache"`
	Key    grid.JSONKey `json:"key"`
	Error  string       `json:"error"`
	Advice string       `json:"advice"`
}

func (c *command) verify(cmd *cobra.Command, s store.Store, name, cache string, asJSON bool) error {
	m := c.meter(asJSON)
	defer m.end()
	var printed error
	out, err := archive.Verify(cmd.Context(), s, cache, func(d archive.Damaged) {
		m.end()
		if asJSON {
			printed = errors.Join(printed, printJSON(c.Stdout, damagedOut{d.Cache, grid.JSONKey(d.Key), d.Err.Error(), d.Advice()}))
			return
		}
		_, err := fmt.Fprintf(c.Stdout, "%s/%s: %v\n  %s\n", d.Cache, d.Key, d.Err, d.Advice())
		printed = errors.Join(printed, err)
	}, func(p archive.Progress) { m.report(p.Entries, p.Bytes, 0, 0) })
	m.end()
	if err := errors.Join(err, printed); err != nil {
		return fmt.Errorf("verify store %s: %w", name, err)
	}
	if asJSON {
		err = printJSON(c.Stdout, out)
	} else {
		_, err = fmt.Fprintf(c.Stdout, "%d entries with %s are whole\n", out.Entries, sizeText(out.Bytes))
	}
	if err == nil && out.Damaged > 0 {
		err = fmt.Errorf("%d copies in store %s are damaged", out.Damaged, name)
	}
	return err
}

func (c *command) storeExport(open storeOpener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export STORE FILE.tar",
		Short: "Write everything in a store to a tar file",
		Long: `Writes the entries of a store to a tar file: the value of each, and a file of JSON beside it with what is known of it. The file is
there when it is whole. Until then it is FILE.tar.part; where the command was interrupted, the same command goes on with it. What
was removed or has expired is not in it. ` + storeHelp,
		Example: "  millrace store export cold backup.tar -c millrace.yaml\n  millrace store export disk:cold digits.tar --cache digits",
		Args:    args("STORE", "FILE.tar"),
	}
	cache := cmd.Flags().String("cache", "", "the entries of one `cache` alone")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return withStore(cmd, open, given[0], false, func(s store.Store) error {
			m := c.meter(*asJSON)
			defer m.end()
			total := int64(0)
			if m.bar { // a list costs time, and without a terminal nobody sees the bar
				var err error
				if _, total, err = archive.Count(cmd.Context(), s, *cache); err != nil {
					return fmt.Errorf("export store %s: %w", given[0], err)
				}
			}
			out, err := archive.Export(cmd.Context(), s, given[1], archive.ExportOptions{
				Cache: *cache,
				Progress: func(p archive.Progress) {
					if p.Resumed {
						m.from = p.Bytes
						fmt.Fprintf(c.Stderr, "millrace: going on behind %d entries of %s\n", p.Entries, archive.PartName(given[1]))
						return
					}
					m.report(p.Entries, p.Bytes, p.Bytes, total)
				},
				Damaged: func(cache, key string, err error) {
					m.end()
					c.warn(fmt.Sprintf("%s/%s is left out: %v", cache, key, err))
				},
			})
			m.end()
			if err != nil {
				return fmt.Errorf("export store %s: %w", given[0], err)
			}
			if *asJSON {
				err = printJSON(c.Stdout, out)
			} else {
				_, err = fmt.Fprintf(c.Stdout, "%d entries with %s are in %s\n", out.Entries, sizeText(out.Bytes), given[1])
			}
			if err == nil && out.Damaged > 0 {
				err = fmt.Errorf("%d damaged copies of store %s are not in %s", out.Damaged, given[0], given[1])
			}
			return err
		})
	}
	return cmd
}

func (c *command) storeImport(open storeOpener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import STORE FILE.tar",
		Short: "Bring what store export wrote into a store",
		Long: `Brings the entries of a tar file that store export wrote into a store, never in place of a newer revision and never in place of what was
removed. Where it was interrupted, the same command does the rest. A store takes the entries of its own grid; an empty one takes any,
and the next node that starts with it and an empty data folder takes them in, with preload: keys. ` + storeHelp,
		Example: "  millrace store import disk:cold backup.tar",
		Args:    args("STORE", "FILE.tar"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		f, err := os.Open(given[1])
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		return withStore(cmd, open, given[0], true, func(s store.Store) error {
			m := c.meter(*asJSON)
			defer m.end()
			out, err := archive.Import(cmd.Context(), s, f, func(p archive.Progress, at int64) { m.report(p.Entries, p.Bytes, at, info.Size()) })
			m.end()
			if err != nil {
				return fmt.Errorf("import %s into store %s: %w (%d entries are in the store)", given[1], given[0], err, out.Entries)
			}
			if *asJSON {
				return printJSON(c.Stdout, out)
			}
			text := fmt.Sprintf("%d entries with %s are in the store", out.Entries, sizeText(out.Bytes))
			if out.Newer > 0 {
				text += fmt.Sprintf("; of %d it has something newer, which stays", out.Newer)
			}
			if out.Expired > 0 {
				text += fmt.Sprintf("; %d have expired", out.Expired)
			}
			_, err = fmt.Fprintln(c.Stdout, text)
			return err
		})
	}
	return cmd
}
