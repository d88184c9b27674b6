package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/lockfile"
)

// holdRestored is how long the nodes may take for the last of what is restored. Nobody writes meanwhile: the grid is that of this command alone.
const holdRestored = 10 * time.Second

// ClusterRestore says where a backup goes whose grid is to be a cluster's.
type ClusterRestore struct {
	To cluster.Target
	// Progress is told of what is read of the backup, Growth of how the cluster takes it over. They must not block.
	Progress func(backup.Progress)
	Growth   func(grid.GrowProgress)
}

// RestoredCluster is what it has done.
type RestoredCluster struct {
	backup.Restored
	Cluster string `json:"cluster"`
	// Before says that the cluster had the grid already, from a restore that was cut short: nothing was counted.
	Before bool `json:"before,omitempty"`
}

// restoreSuffix is behind node.data in the name of the folder where the grid of a node alone is made for a cluster. It is removed at the end.
const restoreSuffix = ".restore"

// RestoreCluster makes the grid of a cluster whose nodes wait for it (cluster.grow). cfg is the complete configuration of one of them. The backup is restored into
// a folder beside node.data, as the grid of a node alone in this process, which then goes over to the cluster. Interrupted, the same again goes on: the folder says
// as which grid. Volatile entries are restored too, since the cluster has them before this process ends.
func RestoreCluster(ctx context.Context, cfg Config, from backup.Place, m backup.Manifest, o ClusterRestore, log *slog.Logger) (out RestoredCluster, err error) {
	if !cfg.Cluster.set() || !cfg.Cluster.Grow {
		return out, fmt.Errorf("%w: a backup goes to the nodes of a cluster with the configuration of one of them, which has cluster: with grow: true", ErrMisfit)
	}
	if err := fits(cfg, m); err != nil {
		return out, err
	}
	offer, err := o.To.Offer(ctx)
	if err != nil {
		return out, fmt.Errorf("ask the cluster: %w", err)
	}
	if offer.Cluster != cfg.Cluster.Name {
		return out, fmt.Errorf("%w: the nodes are of the cluster %s, and cluster.name is %s", ErrMisfit, offer.Cluster, cfg.Cluster.Name)
	}
	out.Cluster = offer.Cluster
	w, err := openWork(string(cfg.Node.Data)+restoreSuffix, m, offer.Cluster)
	if err != nil {
		return out, err
	}
	defer func() {
		// Of what was refused at once the cluster has nothing.
		err = errors.Join(err, w.close(err == nil || !w.again && errors.Is(err, grid.ErrConfig)))
	}()
	if w.again {
		// The withdrawal of an opening that has ended: whatever it had under way does not come to pass, if it has not.
		if out.Before, err = o.To.Withdraw(ctx, cluster.Withdrawal{Source: w.note.Grid, Node: "restore"}); err != nil || out.Before {
			return out, err
		}
	}
	partitions := cmp.Or(cfg.Grid.Partitions, offer.Partitions, m.Partitions)
	cfg.Cluster, cfg.Node.Data, cfg.Grid.Partitions = Defaults().Cluster, Path(w.data()), partitions
	settings := cfg.grid(log)
	settings.Taking = m.Taking()
	settings.Taking.ID = w.note.Grid
	g, err := grid.Open(ctx, settings)
	if err != nil {
		return out, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, g.Close(ctx))
	}()
	out.Restored, err = backup.Restore(ctx, from, m, g, backup.RestoreOptions{Progress: o.Progress, Volatile: true, Skip: isStoreReader})
	if err != nil {
		return out, err
	}
	// Nobody asks later what became of it but this command, by the note.
	return out, g.Grow(ctx, grid.Growing{Offer: offer, Dial: o.To.Dial, Note: json.RawMessage("{}"), Progress: o.Growth, Hold: holdRestored})
}

// isStoreReader reports whether a reader writes a cache into a store. A store that is new has nothing, and one that is not is written nothing twice.
func isStoreReader(_, reader string) bool {
	return strings.HasPrefix(reader, cold.ReaderName(""))
}

// work is the folder where a restore to a cluster makes the grid of a node alone.
type work struct {
	dir   string
	lock  *lockfile.Lock
	note  workNote
	again bool // the note is of a restore that was cut short
}

// workNote is what the folder says of itself.
type workNote struct {
	Backup  string `json:"backup"`
	Cluster string `json:"cluster"`
	// Grid is the id of the grid. The cluster notes it when it begins to copy, and takes no other.
	Grid string `json:"grid"`
}

const workName = "RESTORE"

// errBusy says that another process has the folder.
var errBusy = errors.New("another restore is under way")

// openWork makes the folder, or takes the one of the same restore that was cut short.
func openWork(dir string, m backup.Manifest, to string) (w *work, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make a folder for the restore: %w", err)
	}
	w = &work{dir: dir}
	path := filepath.Join(dir, workName)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		have, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("look into the folder for the restore: %w", err)
		}
		for _, e := range have {
			if e.Name() != lockfile.Name {
				return nil, fmt.Errorf("%w: the folder %s, where the restore is to be made, has something else: move it away", ErrMisfit, dir)
			}
		}
	case err != nil:
		return nil, fmt.Errorf("read what was restored before: %w", err)
	default:
		w.again = true
		if err := json.Unmarshal(text, &w.note); err != nil || w.note.Grid == "" {
			return nil, fmt.Errorf("%w: %s is damaged: remove the folder, and start the nodes of the cluster on new folders", ErrMisfit, path)
		}
		if w.note.Backup != m.ID || w.note.Cluster != to {
			return nil, fmt.Errorf("%w: the folder %s is of a restore of the backup %s to the cluster %s that was cut short: go on with that one, or remove the folder, and start the nodes on new ones",
				ErrMisfit, dir, w.note.Backup, w.note.Cluster)
		}
	}
	if w.lock, err = lockfile.Take(dir, errBusy); err != nil {
		return nil, err
	}
	if err := w.begin(path, m, to); err != nil {
		return nil, errors.Join(err, w.lock.Close())
	}
	return w, nil
}

// begin removes what a restore before has left, and notes which grid this one makes.
func (w *work) begin(path string, m backup.Manifest, to string) error {
	if err := os.RemoveAll(w.data()); err != nil {
		return fmt.Errorf("remove what was restored before: %w", err)
	}
	if w.again {
		return nil
	}
	w.note = workNote{Backup: m.ID, Cluster: to, Grid: cmp.Or(m.Taking().ID, rand.Text())}
	text, err := json.Marshal(w.note)
	if err != nil {
		return fmt.Errorf("note the restore: %w", err)
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("note the restore: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("note the restore: %w", err)
	}
	return nil
}

func (w *work) data() string { return filepath.Join(w.dir, "data") }

// close gives the folder back, and removes it where all is done.
func (w *work) close(done bool) error {
	err := w.lock.Close()
	if done {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	if err != nil {
		return fmt.Errorf("end with the folder of the restore: %w", err)
	}
	return nil
}
