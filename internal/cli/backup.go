package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/store"
)

// placeHelp ends the description of commands that read or write a backup.
const placeHelp = `A place is a folder, a file that ends in .tar, or store: and a name under stores: of the configuration (--config), or a store's place such as
disk:DIR, ceph:CONF or s3:URL/BUCKET. A store may have many backups.`

// withPlace runs a function with the place that an argument names.
func (c *command) withPlace(ctx context.Context, name, file, id string, write bool, run func(backup.Place) error) (err error) {
	kind, rest, _ := strings.Cut(name, ":")
	var to backup.Place
	switch {
	case kind == "store" || kind == "disk" || kind == "s3" || kind == "ceph":
		if kind == "store" {
			name = rest
		}
		config, err := c.namedStore(name, file)
		if err != nil {
			return err
		}
		s, err := app.OpenStore(ctx, config, write, newLogger(app.LogConfig{Level: "warn", Format: "text"}, c.Stderr))
		if errors.Is(err, store.ErrLocked) {
			return fmt.Errorf("open store %s: %w (a store of type disk has one user at a time: name one that no node has open)", name, err)
		}
		if err != nil {
			return fmt.Errorf("open store %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		to = backup.NewStore(s, id)
	case id != "":
		return usagef("--id chooses one of a store's backups, and %s is no store", name)
	case strings.HasSuffix(name, ".tar"):
		to = backup.NewFile(name)
	default:
		to = backup.NewDir(name)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	return run(to)
}

func (c *command) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup --to PLACE",
		Short: "Save a node's whole grid while it is in use",
		Long: `Saves the whole grid of a running node: the entries of all caches, volatile ones too, with their revisions and what is left of their lives, the models with
their versions and which one serves, the pipelines that were made at run time, the settings of the caches, and how far each pipeline has
come. Each partition is saved as it was at one moment; clients go on meanwhile. Values that are in a store alone are read from there, so that the
backup needs no store; --no-cold leaves them there, and the backup is worth something only together with that store as it is now. A
backup that is interrupted is none: make it again. ` + placeHelp + " " + remoteHelp,
		Example: `  millrace backup --to backups/monday
  millrace backup --to grid.tar --server https://n1:8080
  millrace backup --to store:safe -c millrace.yaml`,
		Args:    args(),
		GroupID: "client",
	}
	connect := c.remote(cmd)
	f := cmd.Flags()
	place := f.String("to", "", "`place` to write to")
	file := f.StringP("config", "c", "", "configuration `file` that names the store (default $"+envConfig+")")
	noCold := f.Bool("no-cold", false, "leave values that are in a store alone there")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *place == "" {
			return usagef("--to is missing")
		}
		cl, err := connect()
		if err != nil {
			return err
		}
		return c.withPlace(cmd.Context(), *place, *file, "", true, func(to backup.Place) error {
			in, err := cl.Backup(cmd.Context(), *noCold)
			if err != nil {
				return err
			}
			defer in.Close()
			meter := c.meter(*asJSON)
			defer meter.end()
			m, err := backup.Receive(cmd.Context(), in, to, func(p backup.Progress) { meter.report(p.Records, p.Bytes, p.Bytes, p.OfBytes) })
			meter.end()
			if cmd.Context().Err() != nil {
				err = cmd.Context().Err()
			}
			if err != nil {
				return fmt.Errorf("back up to %s: %w", *place, err)
			}
			return c.saved(m, *place, *asJSON)
		})
	}
	return cmd
}

// backupOut is what backup and restore --check print as JSON.
type backupOut struct {
	ID         string `json:"id"`
	Grid       string `json:"grid"`
	Partitions int    `json:"partitions"`
	Caches     int    `json:"caches"`
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"`
	Packed     int64  `json:"packed"`
	Parts      int    `json:"parts"`
	References bool   `json:"references"`
	Lost       int64  `json:"lost"`
}

func (c *command) saved(m backup.Manifest, place string, asJSON bool) error {
	records, raw, packed := m.Total()
	if m.References {
		c.warn("values that are in stores alone are not in the backup: keep the stores as they are now with it")
	}
	if m.Lost > 0 {
		c.warn(fmt.Sprintf("%d entries are not in the backup: their stores do not have their values (the node's log names them)", m.Lost))
	}
	if asJSON {
		return printJSON(c.Stdout, backupOut{m.ID, m.Grid, m.Partitions, len(m.Caches), records, raw, packed, len(m.Parts), m.References, m.Lost})
	}
	_, err := fmt.Fprintf(c.Stdout, "backup %s with %d records of %d caches, %s in %d parts of %s, is in %s\n",
		m.ID, records, len(m.Caches), sizeText(raw), len(m.Parts), sizeText(packed), place)
	return err
}

func (c *command) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore --from PLACE",
		Short: "Make a new grid of a backup",
		Long: `Makes the grid of a configuration from a backup, with as many partitions as the configuration says, or the backup has. The grid has to be new: its data
folder (node.data) empty or missing, or its name free on the NATS server (grid.url). No node runs there meanwhile. All sums are checked before the first entry is
written; --check does that alone. Revisions, and so ETags and what pipelines have done, stay as they were; removed stays removed, and what has expired since
the backup is expired. Interrupted, the same command does it again; until it is done no node opens the grid. Stores of the configuration have to be empty or new: the
values go to them anew. Entries of volatile caches live in the memory of running nodes: they are restored on a NATS server and in a cluster alone.

With --to it is the grid of a new cluster. Its nodes are started before, on new folders, with cluster.grow: true, and -c is the configuration of one of them. The backup is
restored into a folder beside that one's node.data, from where the cluster takes it over; then the folder is removed. The token of the nodes is taken from ` + envToken + `. ` + placeHelp,
		Example: `  millrace restore --from backups/monday -c millrace.yaml
  millrace restore --from backups/monday -c n1.yaml --to http://n1:8080,http://n2:8080,http://n3:8080
  millrace restore --from grid.tar --dir ./data --partitions 16
  millrace restore --from store:safe --check -c millrace.yaml`,
		Args:    args(),
		GroupID: "node",
	}
	f := cmd.Flags()
	place := f.String("from", "", "`place` of the backup")
	id := f.String("id", "", "which of a store's backups (default the newest)")
	file := f.StringP("config", "c", "", "configuration `file` of the new grid (default $"+envConfig+")")
	dir := f.String("dir", "", "`folder` of the node's data, instead of node.data")
	partitions := f.Int("partitions", 0, "`number` of partitions, instead of grid.partitions")
	check := f.Bool("check", false, "check the backup and stop")
	to := f.StringSlice("to", nil, "HTTP addresses of nodes of a new cluster that waits for its grid, one at least; any one that answers is used")
	ca := f.String("to-ca", "", "PEM `file` of certificates of those nodes to trust beside the system's")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *place == "" {
			return usagef("--from is missing")
		}
		if *file == "" {
			*file = c.env(envConfig)
		}
		target, err := c.target(*to, *ca, c.env(envToken), len(*to) > 0)
		if err != nil {
			return err
		}
		config, err := loadConfig(*file, c.Environ, func(config *app.Config) {
			setIf(&config.Node.Data, app.Path(*dir))
			setIf(&config.Grid.Partitions, *partitions)
		}, c.warn)
		if err != nil {
			return err
		}
		return c.withPlace(cmd.Context(), *place, *file, *id, false, func(from backup.Place) error {
			if err := c.restoreFrom(cmd.Context(), restoring{from, *place, config, target, *check, *asJSON}); err != nil {
				return fmt.Errorf("restore from %s: %w", *place, err)
			}
			return nil
		})
	}
	return cmd
}

// restoring is what a restore is told.
type restoring struct {
	from   backup.Place
	place  string
	config app.Config
	to     cluster.Target // of no nodes where it is not a cluster's
	check  bool
	asJSON bool
}

func (c *command) restoreFrom(ctx context.Context, r restoring) error {
	m, err := backup.Open(ctx, r.from)
	if err != nil {
		return err
	}
	meter := c.meter(r.asJSON)
	defer func() { meter.end() }()
	report := func(p backup.Progress) { meter.report(p.Records, p.Bytes, p.Bytes, p.OfBytes) }
	if err := backup.Verify(ctx, r.from, m, report); err != nil {
		return err
	}
	meter.end()
	if r.check {
		return c.saved(m, r.place, r.asJSON)
	}
	meter = c.meter(r.asJSON)
	log := newLogger(r.config.Log, c.Stderr)
	if len(r.to.To) > 0 {
		told := ""
		out, err := app.RestoreCluster(ctx, r.config, r.from, m, app.ClusterRestore{To: r.to, Progress: report, Growth: func(p grid.GrowProgress) {
			if line := growLine(p); line != told {
				meter.end()
				fmt.Fprintln(c.Stderr, line)
				told = line
			}
		}}, log)
		if err != nil {
			return err
		}
		return c.restored(m, out.Restored, out, " to the cluster "+out.Cluster, out.Before, r.asJSON)
	}
	out, err := app.RestoreInto(ctx, r.config, r.from, m, report, log)
	if err != nil {
		return err
	}
	meter.end()
	if names, _ := m.Volatile(); out.Volatile > 0 {
		c.warn(fmt.Sprintf("%d records of volatile caches (%s) are not restored: they would be gone with this process", out.Volatile, strings.Join(names, ", ")))
	}
	return c.restored(m, out, out, "", false, r.asJSON)
}

// restored says what was done. asIs is what is printed as JSON, where to for people, and before says that an earlier run did it.
func (c *command) restored(m backup.Manifest, out backup.Restored, asIs any, where string, before, asJSON bool) error {
	if asJSON {
		return printJSON(c.Stdout, asIs)
	}
	text := fmt.Sprintf("%d entries of %d caches are restored from backup %s%s", out.Entries, len(m.Caches), m.ID, where)
	if before {
		text = fmt.Sprintf("backup %s was restored%s before", m.ID, where)
	}
	if out.Expired > 0 {
		text += fmt.Sprintf("; %d have expired", out.Expired)
	}
	_, err := fmt.Fprintln(c.Stdout, text)
	return err
}
