package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *command) cacheStats(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stats CACHE",
		Short:   "Print the settings and the numbers of a cache",
		Example: "  millrace cache stats digits\n  millrace cache stats digits --json",
		Args:    args("CACHE"),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		d, err := cl.Cache(cmd.Context(), given[0])
		if err != nil {
			return fmt.Errorf("cache %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, d)
		}
		limit := func(n int64, text func(int64) string) string {
			switch {
			case n == 0:
				return "no limit"
			case d.Config.Store != "":
				return "at most " + text(n) + " in memory"
			}
			return "at most " + text(n)
		}
		plain := func(n int64) string { return fmt.Sprint(n) }
		span := func(text string) string {
			if text == "0s" {
				return "no limit"
			}
			return text
		}
		rows := [][]string{
			{"cache", d.Name},
			{"class", d.Config.Class},
			{"entries", fmt.Sprintf("%d (%s)", d.Size, limit(d.Config.MaxEntries, plain))},
			{"bytes", fmt.Sprintf("%s (%s)", sizeText(d.Stats.Bytes), limit(d.Config.MaxBytes, sizeText))},
			{"largest value", "at most " + sizeText(d.Config.MaxEntryBytes)},
			{"lifespan", span(d.Config.Lifespan)},
			{"max idle", span(d.Config.MaxIdle)},
			{"puts", fmt.Sprint(d.Stats.Stores)},
			{"hits", fmt.Sprint(d.Stats.Hits)},
			{"misses", fmt.Sprint(d.Stats.Misses)},
			{"hit rate", share(d.Stats.HitRate)},
			{"removes", fmt.Sprint(d.Stats.Removes)},
			{"expired", fmt.Sprint(d.Stats.Expired)},
		}
		if d.Config.Store != "" {
			rows = append(rows, [][]string{
				{"store", d.Config.Store},
				{"in memory", fmt.Sprint(d.Stats.InMemory)},
				{"in the store alone", fmt.Sprint(d.Stats.Cold)},
				{"evictions", fmt.Sprint(d.Stats.Evictions)},
				{"loads", fmt.Sprint(d.Stats.Loads)},
				{"not stored yet", fmt.Sprintf("%d (%s, for %.1f s)", d.Stats.LagEntries, sizeText(d.Stats.LagBytes), d.Stats.Lag)},
			}...)
		}
		if n := d.Stats.Near; n != nil {
			rows = append(rows, []string{"near", fmt.Sprintf("%d entries (%s), %d hits, %d misses", n.Entries, sizeText(n.Bytes), n.Hits, n.Misses)})
		}
		return printTable(c.Stdout, nil, rows)
	}
	return cmd
}

// share writes a part of one; nil is none of nothing.
func share(part *float64) string {
	if part == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %% from memory", 100**part)
}
