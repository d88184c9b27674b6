package grid

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A node that had a voice and replicas, and is started on an empty folder, has forgotten what it had voted for and acknowledged. It gets its voice back from those that have not, once most of them
// are there: until then its being connected helps nobody, and who says what is missing must not count it.

// emptiedFor is how long a node is taken for one without voice that has asked for the terms of the others: it asks more often.
const emptiedFor = 5 * time.Second

// emptied are the nodes that are there and have no voice yet, by their names: when they asked last for the terms of the others.
type emptied struct {
	mu    sync.Mutex
	asked map[string]time.Time

	// Of this node, while it has no voice: the streams that others were seen to lead without it, and why it waits for the rest.
	led map[string]bool
	why string
}

func newEmptied() *emptied { return &emptied{asked: map[string]time.Time{}, led: map[string]bool{}} }

// hear notes the terms of a node that asks for those of the others, and returns them. An older program asks with none. id is that of this node's cluster, "" where it is not known.
func (e *emptied) hear(data []byte, id string, now time.Time) (t terms) {
	if len(data) == 0 || json.Unmarshal(data, &t) != nil || t.Node == "" {
		return terms{}
	}
	if t.Data || t.voiceIn(id) || t.Guest {
		return t
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.asked, func(_ string, at time.Time) bool { return now.Sub(at) >= emptiedFor })
	e.asked[t.Node] = now
	return t
}

// has reports whether a node has no voice yet.
func (e *emptied) has(node string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.asked[node]
	return ok && now.Sub(at) < emptiedFor
}

// waits returns what this node waits for, where that is known better than by the terms of the others.
func (e *emptied) waits(terms string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.why == "" || terms == "" {
		return e.why + terms
	}
	return e.why + "; it " + terms
}

// ledWithout reports whether each stream in files that is to have a replica on this node, whose folder is empty, was seen to be led by others, and followed by so many that they are most of its replicas. Till then
// this node's vote could make one lead that lacks what this one had acknowledged. What it alone had replicas of nobody tells of.
func (g *Grid) ledWithout(ctx context.Context) bool {
	led := g.emptied.led // nobody else uses it
	self := VoiceID(g.cfg.Cluster.Node)
	// Those in memory begin empty on all nodes after a stop of all, and need each vote then.
	volatile := strings.TrimSuffix(newPartition(g.cfg.Name, Volatile, 0).stream, "0")
	own := map[string]bool{}
	complete, err := g.askServers(ctx, g.server.others(), server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true}, func(a serverAnswer) {
		for _, s := range a.streams() {
			c := s.Cluster
			if c == nil || !strings.HasPrefix(s.Name, "KV_"+g.cfg.Name+"-") || strings.HasPrefix(s.Name, volatile) || !slices.ContainsFunc(c.Replicas, func(r *server.PeerInfo) bool { return r.Peer == self }) {
				continue
			}
			members := len(c.Replicas)
			if c.Leader != "" {
				members++ // who leads is not in the list
			}
			if c.Desired != nil && members%2 == 0 {
				continue // it moves: any two majorities of so many have two members in common, of which one remembers; and it may need this one
			}
			own[s.Name] = true
			follow := 0
			for _, r := range c.Replicas {
				if r.Peer != self && r.Current && !r.Offline && r.Active < lackingFor {
					follow++
				}
			}
			if c.Leader == a.Server.Name && follow+1 >= members/2+1 {
				led[s.Name] = true
			}
		}
	})
	maps.DeleteFunc(own, func(name string, _ bool) bool { return led[name] })
	if err == nil && complete && len(own) == 0 {
		return true
	}
	why := "waits until all nodes that are there say which partitions they lead"
	if err != nil {
		g.cfg.Logger.Debug("ask who leads what this node had replicas of", "error", err)
	} else if complete {
		why = fmt.Sprintf("waits until other nodes lead the %d streams that it had replicas of and has forgotten, since its folder is empty: %s", len(own), strings.Join(slices.Sorted(maps.Keys(own)), ", "))
	}
	g.emptied.mu.Lock()
	defer g.emptied.mu.Unlock()
	g.emptied.why = why
	return false
}

// NoLeader says, where the cluster has no leader, how many voices it needs for one, whose are missing, and what is to be done; "" where it has one, or nothing is known.
func (g *Grid) NoLeader() string {
	if g.cfg.Cluster == nil || g.guest() {
		return ""
	}
	srv := g.server.running()
	if srv == nil {
		return ""
	}
	info, err := srv.Jsz(nil)
	if err != nil || info.Meta == nil || info.Meta.Leader != "" {
		return "" // it is being started or stopped, or all is well
	}
	there := append(g.server.others(), g.cfg.Cluster.Node)
	now := time.Now()
	var have, missing, empty []string
	for _, r := range info.Meta.Replicas {
		name := g.peerName(r.Name, r.Peer)
		i := slices.IndexFunc(there, func(n string) bool { return VoiceID(n) == r.Peer })
		switch {
		case i < 0:
			missing = append(missing, name)
		case g.emptied.has(there[i], now):
			empty = append(empty, there[i])
		default:
			have = append(have, there[i])
		}
	}
	size := max(info.Meta.Size, len(info.Meta.Replicas)) // a server that was just started counts its seeds alone
	quorum := size/2 + 1
	if len(have) >= quorum || len(missing)+len(empty) == 0 {
		return ""
	}
	slices.Sort(missing)
	slices.Sort(empty)
	out := fmt.Sprintf("no node leads the cluster: %d of %d nodes with a voice have to be there, and %d are", quorum, size, len(have))
	switch len(missing) {
	case 0:
	case 1:
		out += "; missing is " + missing[0] + ": start it"
	default:
		out += "; missing are " + strings.Join(missing, ", ") + ": start as many of them as are needed"
	}
	if len(empty) > 0 {
		out += "; " + onEmptyFolders(empty)
	}
	if len(have)+len(missing) < quorum {
		out += "; too many folders are empty: start as many nodes as are needed on the folders that they had, or, where those are lost, fill a new cluster from a backup (`millrace restore`)"
	}
	return out
}

const (
	// awayFor is how long nobody has led the grid's description, in a cluster that has a leader, when descriptionAway is said.
	awayFor         = 10 * time.Second
	descriptionAway = "no node leads the grid's description: most of those that keep it, which is one alone with cluster.replicas: 1, are away or were started on empty folders; " +
		"start all nodes, on the folders that they had, or, where those are lost, fill a new cluster from a backup (`millrace restore`)"
)

// descriptionAway adds to what this node waits for that nobody leads the grid's description, where others have replicas and a leader.
func (g *Grid) descriptionAway(waits string, others []terms, age time.Duration) string {
	has := func(o terms) bool { return o.Data && !o.Guest }
	lacks := func(o terms) bool { return o.Lacks != "" }
	if waits == "" || age < awayFor || !slices.ContainsFunc(others, has) || slices.ContainsFunc(others, lacks) {
		return waits
	}
	return waits + "; " + descriptionAway
}

// onEmptyFolders says that nodes are there and have lost their folders.
func onEmptyFolders(names []string) string {
	if len(names) == 1 {
		return names[0] + " is there with an empty folder and has no voice: what it had acknowledged it does not know any more, so most of the other nodes have to be there first"
	}
	return strings.Join(names, ", ") + " are there with empty folders and have no voice: what they had acknowledged they do not know any more, so most of the other nodes have to be there first"
}
