package grid

import (
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// TestMembersOf: all nodes of a group are known from any of them: the leader, one that follows it, and one that knows of none.
func TestMembersOf(t *testing.T) {
	g := &Grid{ids: map[string]string{}}
	peers := func(names ...string) (list []*server.PeerInfo) {
		for _, n := range names {
			list = append(list, &server.PeerInfo{Name: n, Peer: VoiceID(n)})
		}
		return list
	}
	for name, c := range map[string]*server.ClusterInfo{
		"it leads":      {Leader: "b", Replicas: peers("a", "c")},
		"it follows":    {Leader: "a", Replicas: peers("c", "a")},
		"nobody leads":  {Replicas: peers("c", "b", "a")},
		"a former name": {Leader: "c", Replicas: []*server.PeerInfo{{Name: "Server name unknown at this time (peerID: " + VoiceID("a") + ")", Peer: VoiceID("a")}, peers("c")[0]}},
	} {
		g.ids[VoiceID("a")] = "a"
		if have := g.membersOf("b", c); !slices.Equal(have, []string{"a", "b", "c"}) {
			t.Errorf("%s: %v", name, have)
		}
	}
}

// TestStreamOf: what is written and read names its stream.
func TestStreamOf(t *testing.T) {
	for subject, want := range map[string]string{
		"$KV.millrace-d-3.digits.42": "KV_millrace-d-3", directGet + "KV_millrace-d-3.$KV.millrace-d-3.digits.42": "KV_millrace-d-3", directGet + "KV_millrace-d-3": "KV_millrace-d-3",
		leaderGet + "KV_millrace-meta": "KV_millrace-meta", "millrace.millrace.owner.durable.3": "",
	} {
		if is := streamOf(subject); is != want {
			t.Errorf("%s is of %q, not of %q", subject, is, want)
		}
	}
}
