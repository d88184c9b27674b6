package cold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store"
)

// ErrOtherStore says that a store is not the one that the grid has under this name.
var ErrOtherStore = errors.New("another store than the grid has under this name")

const (
	// lookEverySoOften is how often a store is asked whether it is still the same, and lookTime how long that may take.
	lookEverySoOften, lookTime = 10 * time.Second, 10 * time.Second
)

// identity is which store has a name here, and whether it is the one that the grid has under it. A bucket or pool may be made anew while a node has it
// open, and another node may take in a copy in its place.
type identity struct {
	name  string
	store store.Store
	grid  *grid.Grid
	tell  func(wrong error) // when that changes; nil for right again

	mu sync.Mutex
	// wrong is why the store is not used; nil where it is the grid's.
	wrong error
}

// claim makes a store the grid's, and the one that the grid has under this name; or says that it is another's, or another one.
func (i *identity) claim(ctx context.Context) error {
	o, err := store.ReadOwner(ctx, i.store)
	if err != nil {
		return err
	}
	id, noted, err := i.look(ctx)
	if err != nil {
		return err
	}
	// What was imported from this grid's own store, or released by it, is there in place of that.
	own := o.Grid == "" && o.From == i.grid.ID()
	if o.Grid == "" && !own {
		if err := isFormer(ctx, i.store, i.grid.First(), o); err != nil {
			return err
		}
	}
	if (o.Grid == "" || o.Grid == i.grid.ID()) && noted != "" && id != noted && !own {
		return i.other(id, noted)
	}
	if o.Grid == "" {
		if o, err = store.Claim(ctx, i.store, i.grid.ID()); err != nil { // somebody else may have been faster
			return err
		}
	}
	if o.Grid != i.grid.ID() {
		return fmt.Errorf("%w: %s, and this is %s; use another store, or the data folder of that grid; where that is lost, millrace store release gives the store to a new one",
			ErrForeign, o.Grid, i.grid.ID())
	}
	if id, err = store.MakeID(ctx, i.store); err != nil || id == noted {
		return err
	}
	if noted, err = i.grid.NoteStore(ctx, i.name, id, noted); err != nil {
		return err
	}
	if noted != id {
		return i.other(id, noted)
	}
	return nil
}

// look returns which store it is, and which one the grid has under its name.
func (i *identity) look(ctx context.Context) (id, noted string, err error) {
	if id, err = store.ReadID(ctx, i.store); err != nil {
		return "", "", err
	}
	noted, err = i.grid.StoreID(ctx, i.name)
	return id, noted, err
}

func (i *identity) other(id, noted string) error {
	return fmt.Errorf("%w: the grid has %s, and this is %s; give stores.%s the settings that it has on the other nodes, or had before. To use another store, give it a name of its own; "+
		"to replace one that is lost, import an export of it into an empty one (millrace store import)", ErrOtherStore, noted, cmp.Or(id, "one without an id"), i.name)
}

// check looks whether the store is the one that the grid has. It is an ErrOtherStore where it is not, and another error where nobody answers.
func (i *identity) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	id, noted, err := i.look(ctx)
	if err != nil {
		return err
	}
	var wrong error
	if id != noted {
		wrong = fmt.Errorf("store %s: %w", i.name, i.other(id, noted))
	}
	i.mu.Lock()
	news := (wrong == nil) != (i.wrong == nil)
	i.wrong = wrong
	i.mu.Unlock()
	if news {
		i.tell(wrong)
	}
	return wrong
}

// known is what the last check found.
func (i *identity) known() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wrong
}

// Foreign says which stores are not those that the grid has under their names: nothing is written to them or read from them.
func (c *Cold) Foreign() (reasons []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.identities {
		if err := i.known(); err != nil {
			reasons = append(reasons, err.Error())
		}
	}
	slices.Sort(reasons)
	return reasons
}

// identify makes the stores the grid's, and begins to watch them.
func (c *Cold) identify(ctx context.Context, g *grid.Grid) error {
	all := make(map[string]*identity, len(c.cfg.Stores))
	for name, s := range c.cfg.Stores {
		i := &identity{name: name, store: s.Store, grid: g, tell: func(wrong error) {
			if wrong != nil {
				c.cfg.Logger.Error("a store is not used any more", "store", name, "error", wrong)
			} else {
				c.cfg.Logger.Info("a store is used again", "store", name)
			}
		}}
		if err := i.claim(ctx); err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
		all[name] = i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identities = all
	for name, i := range all {
		c.running.Go(func() {
			for pause(c.ctx, c.lookEvery) {
				if err := i.check(c.ctx); err != nil && !errors.Is(err, ErrOtherStore) && c.ctx.Err() == nil {
					c.cfg.Logger.Debug("look which store it is", "store", name, "error", err)
				}
			}
		})
	}
	return nil
}

// rightStore returns nil where the tier's store is the one that the grid has, by the last look, or by one now.
func (t *tier) rightStore(ctx context.Context, now bool) error {
	t.cold.mu.Lock()
	i := t.cold.identities[t.config.Load().Store]
	t.cold.mu.Unlock()
	if i == nil {
		return nil // before Start
	}
	if now {
		return i.check(ctx)
	}
	return i.known()
}
