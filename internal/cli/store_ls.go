package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/archive"
)

// storedCache is what ls says of a cache.
type storedCache struct {
	Cache      string `json:"cache"`
	Entries    int64  `json:"entries"`
	Bytes      int64  `json:"bytes"`
	Tombstones int64  `json:"tombstones"`
	Damaged    int64  `json:"damaged"`
}

// storedEntry is what ls says of an entry.
type storedEntry struct {
	Key         grid.JSONKey      `json:"key"`
	Revision    uint64            `json:"revision,omitempty"`
	Size        int64             `json:"size"`
	ContentType string            `json:"content_type,omitempty"`
	Created     *time.Time        `json:"created,omitempty"`
	Expires     *time.Time        `json:"expires,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Error       string            `json:"error,omitempty"`
}

func (c *command) storeList(open storeOpener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls STORE [CACHE]",
		Short: "List the caches that have entries in a store, or the entries of one",
		Long:  "Lists the caches that have entries in a store, or the entries of one in the order of their keys. " + storeHelp,
		Example: `  millrace store ls disk:cold
  millrace store ls cold digits -c millrace.yaml --prefix 2024/ --json`,
		Args: args("STORE", "[CACHE]"),
	}
	prefix := cmd.Flags().String("prefix", "", "only keys that begin with this")
	limit := cmd.Flags().Int("limit", 0, "at most so many entries (0: all)")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		return withStore(cmd, open, given[0], false, func(s store.Store) error {
			if len(given) == 1 {
				return c.listStored(cmd.Context(), s, *asJSON)
			}
			return c.listEntries(cmd.Context(), s, given[1], *prefix, *limit, *asJSON)
		})
	}
	return cmd
}

func (c *command) listStored(ctx context.Context, s store.Store, asJSON bool) error {
	all, err := s.Namespaces(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	damaged := int64(0)
	for _, cache := range archive.Caches(all) {
		out := storedCache{Cache: cache}
		for info, err := range s.List(ctx, cache, store.ListOptions{Deleted: true}) {
			switch {
			case errors.Is(err, store.ErrCorrupt):
				out.Damaged++
			case err != nil:
				return fmt.Errorf("list %s: %w", cache, err)
			case info.Deleted:
				out.Tombstones++
			default:
				out.Entries, out.Bytes = out.Entries+1, out.Bytes+info.Size
			}
		}
		damaged += out.Damaged
		if asJSON {
			if err := printJSON(c.Stdout, out); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []string{cache, fmt.Sprint(out.Entries), sizeText(out.Bytes), fmt.Sprint(out.Tombstones)})
	}
	if !asJSON {
		err = printTable(c.Stdout, []string{"cache", "entries", "bytes", "removed"}, rows)
	}
	return errors.Join(err, damagedCopies(damaged))
}

// damagedCopies is the error of a list with such; nil for none.
func damagedCopies(n int64) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d copies in the store are damaged: millrace store verify names them", n)
}

func (c *command) listEntries(ctx context.Context, s store.Store, cache, prefix string, limit int, asJSON bool) error {
	if err := store.CheckNamespace(cache); err != nil {
		return usage(err)
	}
	var damaged int64
	n := 0
	for info, err := range s.List(ctx, cache, store.ListOptions{Prefix: prefix}) {
		if limit > 0 && n == limit {
			break
		}
		n++
		out := storedEntry{Key: grid.JSONKey(info.Key), Revision: info.Revision, Size: info.Size, ContentType: info.ContentType, Labels: info.Labels}
		switch {
		case errors.Is(err, store.ErrCorrupt):
			damaged++
			out = storedEntry{Key: out.Key, Error: err.Error()}
		case err != nil:
			return fmt.Errorf("list %s: %w", cache, err)
		}
		if !info.Created.IsZero() {
			out.Created = &info.Created
		}
		if !info.Expires.IsZero() {
			out.Expires = &info.Expires
		}
		if asJSON {
			err = printJSON(c.Stdout, out)
		} else {
			_, err = fmt.Fprintln(c.Stdout, entryLine(out))
		}
		if err != nil {
			return err
		}
	}
	return damagedCopies(damaged)
}

// entryLine is one entry for people: key, revision, size and age.
func entryLine(e storedEntry) string {
	if e.Error != "" {
		return fmt.Sprintf("%-24s damaged", string(e.Key))
	}
	age := "-"
	if e.Created != nil {
		age = ageText(time.Since(*e.Created))
	}
	return fmt.Sprintf("%-24s @%-10d %10s  %s", string(e.Key), e.Revision, sizeText(e.Size), age)
}

// ageText is a time for people, in its largest unit.
func ageText(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= unit.d {
			return fmt.Sprintf("%d%s", d/unit.d, unit.name)
		}
	}
	return fmt.Sprintf("%ds", max(0, d)/time.Second)
}
