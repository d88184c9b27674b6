package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/grid"
)

// TestHealth: what has no leader is counted once, with the replicas that are known to be away; what nobody could look at is not called healthy.
func TestHealth(t *testing.T) {
	current, behind, away := grid.Replica{Node: "n0", Current: true}, grid.Replica{Node: "n1"}, grid.Replica{Node: "n2", Offline: true}
	missed := grid.Replica{Node: "n3", Current: true}
	for name, c := range map[string]struct {
		groups []grid.Group
		want   *Health
	}{
		"nothing was seen": {nil, nil},
		"all is well":      {[]grid.Group{{Leader: "n0", Replicas: []grid.Replica{current, current}}}, &Health{}},
		"some are behind":  {[]grid.Group{{Leader: "n0", Replicas: []grid.Replica{current, behind, away}}, {Leader: "n0", Replicas: []grid.Replica{current, behind}}}, &Health{Behind: 2, Offline: 1}},
		"a node is missed": {[]grid.Group{{Leader: "n0", Replicas: []grid.Replica{current, missed}}}, &Health{Offline: 1}},
		"nobody leads":     {[]grid.Group{{}, {Replicas: []grid.Replica{behind, away, missed}}}, &Health{Leaderless: 2, Offline: 1}},
	} {
		if diff := cmp.Diff(c.want, healthOf(c.groups, map[string]bool{"n0": true, "n1": true, "n2": true})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
