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

// TestStartOnFolders: the words are those for one node, for all, and for some of several.
func TestStartOnFolders(t *testing.T) {
	const restore = " lost, fill a new cluster from a backup (`millrace restore`)"
	for want, have := range map[string]string{
		"start n3 on the folder that it had, or, where that is":               startOnFolders(1, []string{"n3"}),
		"start n2, n3 on the folders that they had, or, where those are":      startOnFolders(2, []string{"n2", "n3"}),
		"start 1 of n2, n3 on the folders that they had, or, where those are": startOnFolders(1, []string{"n2", "n3"}),
	} {
		if have != want+restore {
			t.Errorf("%q, not %q", have, want+restore)
		}
	}
}
