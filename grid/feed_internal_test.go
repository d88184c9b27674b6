package grid

import "testing"

// TestFeedBegins: a partition whose feed is still to be made hears nothing of what is written. Its node is not ready.
func TestFeedBegins(t *testing.T) {
	if newFeed(nil).trouble() == nil {
		t.Error("a feed without a connection has no trouble")
	}
}
