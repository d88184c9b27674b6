package grid

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestOfLeader: an answer of the leader lists the others, one of another replica lists the leader, and one of a group without a leader names none.
func TestOfLeader(t *testing.T) {
	peers := func(names ...string) (list []*jetstream.PeerInfo) {
		for _, n := range names {
			list = append(list, &jetstream.PeerInfo{Name: n})
		}
		return list
	}
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		is      bool
	}{
		"a server alone":    {nil, true},
		"one replica":       {&jetstream.ClusterInfo{Leader: "a"}, true},
		"the leader":        {&jetstream.ClusterInfo{Leader: "a", Replicas: peers("b", "c")}, true},
		"another replica":   {&jetstream.ClusterInfo{Leader: "a", Replicas: peers("a", "c")}, false},
		"none has a leader": {&jetstream.ClusterInfo{Replicas: peers("a", "b", "c")}, false},
	} {
		if is := ofLeader(&jetstream.StreamInfo{Cluster: c.cluster}); is != c.is {
			t.Errorf("%s: %t", name, is)
		}
	}
}

// TestUnavailable: a cluster that elects is unavailable, by whichever client it says so.
func TestUnavailable(t *testing.T) {
	for _, said := range []error{&jetstream.APIError{Code: 503, ErrorCode: 10008}, &nats.APIError{Code: 503, ErrorCode: 10008}} {
		if err := apiError(fmt.Errorf("list keys: %w", said)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, said) {
			t.Errorf("%T: %v", said, err)
		}
	}
	if err := apiError(&nats.APIError{Code: 400, ErrorCode: 10054}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
