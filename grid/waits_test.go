package grid_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/grid"
)

// awayAttic is an attic whose store is away until somebody was told so.
type awayAttic struct {
	*attic
	told  atomic.Bool
	asked atomic.Int64
}

func (a *awayAttic) Apart(context.Context, string) (bool, error) {
	if a.told.Load() || a.asked.Add(1) > 100 {
		return false, nil
	}
	return false, fmt.Errorf("%w: the store is away", grid.ErrUnavailable)
}

// TestClusterWaitsForStore: a cluster that cannot be made since a store is away says that it waits for the store, and for no leader.
func TestClusterWaitsForStore(t *testing.T) {
	t.Parallel()
	away := &awayAttic{attic: newAttic()}
	configs := clusterConfigs(t, 3)
	for i := range configs {
		configs[i].Tiers = away
		configs[i].Cluster.Waiting = func(reason string) {
			if strings.Contains(reason, "the store is away") {
				away.told.Store(true)
			}
		}
	}
	openAll(t, configs)
	if !away.told.Load() {
		t.Errorf("asked %d times: nobody was told", away.asked.Load())
	}
}
