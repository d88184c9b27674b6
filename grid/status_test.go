package grid_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrace/millrace/grid"
)

// TestPartitionStates: every node, one without partitions too, says of each partition what the cluster's list of streams does, and asks JetStream's API nothing for it.
func TestPartitionStates(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	configs := clusterConfigs(t, 4)
	configs[3].Cluster.Roles = []grid.Role{grid.RoleDoor}
	all := openAll(t, configs)
	cache(t, all[3], grid.CacheConfig{Name: "v", Class: grid.Volatile})
	even(t, all[:3])
	for i, g := range all {
		if _, err := g.Cache(ctx, "v"); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint("node ", i, " says what the list does"), func() bool {
			groups, err := g.Groups(ctx)
			if err != nil {
				return false
			}
			states := g.PartitionStates(ctx)
			if len(states) != 16 {
				return false
			}
			for _, s := range states {
				k := slices.IndexFunc(groups, func(g grid.Group) bool { return g.Class == s.Class && g.Number == s.Number })
				if k < 0 || s.Error != nil || s.Leader == "" || s.Leader != groups[k].Leader || s.Owner != s.Leader || len(s.Replicas) != 3 {
					return false
				}
				for j, r := range s.Replicas {
					if r.Node != groups[k].Replicas[j].Node || !r.Current {
						return false
					}
				}
			}
			return true
		})
	}
	requests := func() (n uint64) {
		for _, g := range all[:3] {
			n += grid.Requests(t, g)
		}
		return n
	}
	const looks = 100
	began := requests()
	for range looks {
		all[0].PartitionStates(ctx)
	}
	if n := requests() - began; n > looks { // what else the nodes ask meanwhile
		t.Errorf("%d looks at 16 partitions made %d requests", looks, n)
	} else {
		t.Logf("%d looks at 16 partitions made %d requests", looks, n)
	}
}
