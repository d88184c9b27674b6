package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// givenFile says, in a folder of a node alone, that a cluster has its grid. What is in the folder is what there was before.
const givenFile = "GIVEN"

// Given is what that file has.
type Given struct {
	Cluster string `json:"cluster"`
	// Source and Node are as the cluster notes them.
	Source string `json:"source"`
	Node   string `json:"node"`
	// Asked says that the node was about to give the grid away, and does not know what became of it.
	Asked bool `json:"asked,omitempty"`
	// Note is Growing.Note, while Asked.
	Note json.RawMessage `json:"note,omitempty"`
}

// Resolve tells whether a cluster has the grid that it was about to be given. Where it says no, the cluster will not take it.
type Resolve func(ctx context.Context, g Given) (taken bool, err error)

// resolveTime is how long that may take.
const resolveTime = 15 * time.Second

// parseGiven reads the file. Its errors do not quote it: a note may have a token.
func parseGiven(text []byte) (g Given, err error) {
	if err := json.Unmarshal(text, &g); err != nil {
		return Given{}, fmt.Errorf("%w: it says to which cluster the grid has gone, and is damaged: %w", ErrFormat, err)
	}
	if g.Cluster == "" || g.Source == "" || g.Node == "" {
		return Given{}, fmt.Errorf("%w: it says to which cluster the grid has gone, and is not complete", ErrFormat)
	}
	return g, nil
}

// settled is what the file has once the cluster has the grid: nobody is asked any more.
func (g Given) settled() Given {
	g.Asked, g.Note = false, nil
	return g
}

// writeGiven notes what becomes of the folder's grid.
func (f *folder) writeGiven(g Given) error {
	b, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("write %s: %w", givenFile, err)
	}
	path := filepath.Join(f.dir, givenFile)
	if err := writeSynced(path+".new", string(b)+"\n"); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.sync()
}

// keep removes that note: the folder's grid stays where it is.
func (f *folder) keep() error {
	if err := os.Remove(filepath.Join(f.dir, givenFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the grid of %s: %w", f.dir, err)
	}
	return nil
}

// sync makes what was renamed in the folder survive a power cut.
func (f *folder) sync() error {
	dir, err := os.Open(f.dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.dir, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", f.dir, err)
	}
	return nil
}

// checkGiven refuses a folder whose grid has gone over to a cluster: what it has is not what there is. Where the node died at that moment, it asks.
func (f *folder) checkGiven(resolve Resolve) error {
	path := filepath.Join(f.dir, givenFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	g, err := parseGiven(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if g.Asked {
		taken, err := f.resolve(g, resolve)
		if err != nil {
			return err
		}
		if !taken {
			return f.keep()
		}
		if err := f.writeGiven(g.settled()); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the grid of %s has gone over to the cluster %s, and what is in the folder is old; use a node of the cluster, and remove the folder when "+
		"you are sure", ErrConfig, f.dir, g.Cluster)
}

func (f *folder) resolve(g Given, resolve Resolve) (bool, error) {
	unknown := func(err error) error {
		return fmt.Errorf("%w: when the node of %s died, its grid was about to go over to the cluster %s, and it cannot be told whether it has: %w; start the cluster's "+
			"nodes, then this one again", ErrUnavailable, f.dir, g.Cluster, err)
	}
	if resolve == nil {
		return false, unknown(errors.New("nobody is named to ask"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	taken, err := resolve(ctx, g)
	if err != nil {
		return false, unknown(err)
	}
	return taken, nil
}
