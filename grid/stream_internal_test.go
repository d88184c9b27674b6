package grid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

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
	if ofLeader(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Leader: "a"}}) {
		t.Error("a server that is being started counts as the leader of a stream with three replicas")
	}
}

// TestAskOfLeader: in a cluster a question about a stream is put again while nobody answers it, or another replica does, within the caller's time; any failure else is the caller's.
func TestAskOfLeader(t *testing.T) {
	leader := &jetstream.StreamInfo{Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b"}}}}
	replica := &jetstream.StreamInfo{Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "a"}}}}
	says := func(info *jetstream.StreamInfo) func(context.Context) (*jetstream.StreamInfo, error) {
		return func(context.Context) (*jetstream.StreamInfo, error) { return info, nil }
	}
	silent := func(ctx context.Context) (*jetstream.StreamInfo, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		answers []func(context.Context) (*jetstream.StreamInfo, error) // the last one stays
		want    error
		calls   int // 0 for several
	}{
		"the leader at once":           {answers: []func(context.Context) (*jetstream.StreamInfo, error){says(leader)}, calls: 1},
		"nobody, then the leader":      {answers: []func(context.Context) (*jetstream.StreamInfo, error){silent, silent, says(leader)}, calls: 3},
		"a replica, then the leader":   {answers: []func(context.Context) (*jetstream.StreamInfo, error){says(replica), says(replica), says(leader)}, calls: 3},
		"a replica, nobody, an error":  {answers: []func(context.Context) (*jetstream.StreamInfo, error){says(replica), silent, func(context.Context) (*jetstream.StreamInfo, error) { return nil, broken }}, want: broken, calls: 3},
		"nobody until the time is up":  {answers: []func(context.Context) (*jetstream.StreamInfo, error){silent}, want: ErrUnavailable, calls: 6}, // in 5.5 s
		"replicas until the time's up": {answers: []func(context.Context) (*jetstream.StreamInfo, error){says(replica)}, want: ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &Grid{cfg: Config{Cluster: &Cluster{}}, done: make(chan struct{})}
				ctx, cancel := context.WithTimeout(t.Context(), 5*leaderTry+leaderTry/2)
				defer cancel()
				calls := 0
				err := g.askOfLeader(ctx, "KV_s", func(ctx context.Context) (*jetstream.StreamInfo, error) {
					calls++
					return c.answers[min(calls, len(c.answers))-1](ctx)
				})
				if !errors.Is(err, c.want) || c.calls != 0 && calls != c.calls || calls < len(c.answers) {
					t.Errorf("%v after %d questions, not %v after %d", err, calls, c.want, c.calls)
				}
				if err != nil && !strings.Contains(err.Error(), "KV_s") {
					t.Errorf("the error does not name the stream: %v", err)
				}
			})
		})
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
