package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/store"
)

// storeHelp ends the description of commands that open a store.
const storeHelp = `STORE is a name under stores: of the configuration (--config), or a place: disk:DIR, ceph:CONF[,pool=P][,user=U] or
s3:URL/BUCKET[/PREFIX][,region=R], with the keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
A store of type disk is one process's alone: stop its node first. Stores of Ceph and S3 may be read while nodes use them.`

// storeOpener opens the store that an argument names. Fresh makes a folder that is not there.
type storeOpener func(ctx context.Context, name string, fresh bool) (store.Store, error)

func (c *command) store() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after what caches keep outside memory",
		Long:  "Lists, checks, saves and restores what is in a store. " + storeHelp,
		Example: `  millrace store ls disk:cold
  millrace store verify cold -c millrace.yaml
  millrace store export cold backup.tar -c millrace.yaml`,
		GroupID: "local",
	}
	file := cmd.PersistentFlags().StringP("config", "c", "", "configuration `file` that names the store (default $"+envConfig+")")
	open := func(ctx context.Context, name string, fresh bool) (store.Store, error) {
		config, err := c.namedStore(name, *file)
		if err != nil {
			return nil, err
		}
		s, err := app.OpenStore(ctx, config, fresh, newLogger(app.LogConfig{Level: "warn", Format: "text"}, c.Stderr))
		if errors.Is(err, store.ErrLocked) {
			return nil, fmt.Errorf("open store %s: %w (a store of type disk has one user at a time: stop the node first)", name, err)
		}
		if err != nil {
			return nil, fmt.Errorf("open store %s: %w", name, err)
		}
		return s, nil
	}
	cmd.AddCommand(c.storeList(open), c.storeVerify(open), c.storeExport(open), c.storeImport(open), c.storeRelease(open))
	return cmd
}

// namedStore returns the store that a place says, or a name of the configuration.
func (c *command) namedStore(name, file string) (app.StoreConfig, error) {
	if strings.Contains(name, ":") {
		s, err := demoStore(name, c.env)
		if err != nil {
			return s.StoreConfig, usagef("store %q: %v", name, err)
		}
		return s.StoreConfig, nil
	}
	if file == "" {
		file = c.env(envConfig)
	}
	config, err := loadConfig(file, c.Environ, nil, c.warn)
	if err != nil {
		return app.StoreConfig{}, err
	}
	s, ok := config.Stores[name]
	switch names := slices.Sorted(maps.Keys(config.Stores)); {
	case ok:
		return s, nil
	case len(names) > 0:
		return s, usagef("there is no store %q in the configuration; there is %s%s", name, strings.Join(names, ", "), didYouMean(name, names))
	case file == "":
		return s, usagef("store %q: name the configuration that has it by --config, or say where it is, such as disk:DIR", name)
	}
	return s, usagef("%s has no stores; say where it is, such as disk:DIR", file)
}

// withStore runs a function with a store open.
func withStore(cmd *cobra.Command, open storeOpener, name string, fresh bool, run func(s store.Store) error) (err error) {
	s, err := open(cmd.Context(), name, fresh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return run(s)
}

func (c *command) storeRelease(open storeOpener) *cobra.Command {
	return &cobra.Command{
		Use:   "release STORE",
		Short: "Give a store of a grid that is lost to the next one that is made",
		Long: `Gives up that a store belongs to its grid, where that grid's data is lost. The next node that starts with an empty data folder takes
the store, and with preload: keys its entries. No node may use the store meanwhile; the grid that it was of, if it is there
after all, cannot use it again once another has it. ` + storeHelp,
		Example: "  millrace store release cold -c millrace.yaml",
		Args:    args("STORE"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return withStore(cmd, open, given[0], false, func(s store.Store) error {
				o, err := store.Release(cmd.Context(), s)
				if err != nil {
					return err
				}
				if o.Grid == "" {
					_, err = fmt.Fprintln(c.Stdout, "the store belongs to no grid")
				} else {
					_, err = fmt.Fprintf(c.Stdout, "the store belongs to grid %s no more\n", o.Grid)
				}
				return err
			})
		},
	}
}

// meter shows how much is done: a line that is drawn anew on a terminal, a line now and then elsewhere.
type meter struct {
	c       *command
	quiet   bool
	bar     bool
	drawn   int
	started time.Time
	last    time.Time
	// from is where a call began that goes on with another.
	from int64
}

const (
	meterDraw = 100 * time.Millisecond
)

func (c *command) meter(quiet bool) *meter {
	now := time.Now()
	return &meter{c: c, quiet: quiet, bar: isTerminal(c.Stderr), started: now, last: now}
}

// report tells of entries and bytes that are done, and of a total of at where that is known.
func (m *meter) report(entries, bytes, at, total int64) {
	every := lineEvery
	if m.bar {
		every = meterDraw
	}
	now := time.Now()
	if m.quiet || now.Sub(m.last) < every {
		return
	}
	m.last = now
	text := fmt.Sprintf("%d entries, %s", entries, sizeText(bytes))
	if seconds := now.Sub(m.started).Seconds(); seconds > 0 {
		text += fmt.Sprintf(", %s/s", sizeText(int64(float64(bytes-m.from)/seconds)))
	}
	if total > 0 {
		done := min(1, float64(at)/float64(total))
		text = fmt.Sprintf("[%-*s] %3.0f %%  %s", barWidth, strings.Repeat("=", int(barWidth*done)), 100*done, text)
	}
	if !m.bar {
		fmt.Fprintln(m.c.Stderr, text)
		return
	}
	fmt.Fprintf(m.c.Stderr, "\r%-*s", m.drawn, text)
	m.drawn = len(text)
}

// end leaves the terminal clean.
func (m *meter) end() {
	if m.drawn > 0 {
		fmt.Fprintf(m.c.Stderr, "\r%*s\r", m.drawn, "")
		m.drawn = 0
	}
}
