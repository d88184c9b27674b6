package cluster_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestDecideAtOnce: what is decided through several nodes at a time is decided one after the other, and nobody is refused for it.
func TestDecideAtOnce(t *testing.T) {
	nodes := open(t, time.Hour, configs(t, 3)...)
	var all errgroup.Group
	for _, n := range nodes {
		all.Go(func() error {
			for range 10 {
				if err := n.manager.Pause(t.Context()); err != nil {
					return err
				}
				if err := n.manager.Resume(t.Context()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}
