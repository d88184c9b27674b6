package grid

import (
	"testing"
	"time"
)

// TestSessionReached: a server that may lag has come to the end when it was there; that it has nothing more to push says so only of one that has everything.
func TestSessionReached(t *testing.T) {
	for _, test := range []struct {
		name     string
		cluster  *Cluster
		replicas int32
		lags     bool
	}{{name: "alone"}, {name: "cluster", cluster: &Cluster{}, lags: true}, {name: "replicas elsewhere", replicas: 3, lags: true}} {
		t.Run(test.name, func(t *testing.T) {
			p := newPartition("test", Durable, 0)
			p.replicas.Store(test.replicas)
			x := newIndex(time.Hour, nil, nil)
			f := newFeed(&tenure{g: &Grid{cfg: Config{Cluster: test.cluster}}, p: p, index: x})
			s := &session{f: f, last: 10}
			ready := func() bool {
				select {
				case <-f.ready:
					return true
				default:
					return false
				}
			}
			s.reached(5, true)
			if ready() == test.lags || test.lags && f.at() != 0 {
				t.Errorf("after 5 of 10 and nothing more: ready is %t, the index is at %d", ready(), f.at())
			}
			s.reached(10, false)
			if !ready() || f.at() != 10 {
				t.Errorf("after 10 of 10: ready is %t, the index is at %d", ready(), f.at())
			}
		})
	}
}
