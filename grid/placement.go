package grid

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What follows moves the replicas of a cluster's streams between its nodes, one request a time. Who is to have what is package cluster's to decide.

// Group is a stream of the grid with its replicas: a partition of a class, or the grid's description, which has no class.
type Group struct {
	Stream string
	Class  Class
	Number int
	// Leader is "" where nobody decides at the moment: then nothing else is known.
	Leader string
	// Replicas are those that the group has now, in the order of their nodes; while it moves, the old and the new ones.
	Replicas []Replica
	// Wanted are the nodes that it moves to, nil where it does not move, and Doing is what its leader says of that.
	Wanted []string
	Doing  string
	// Entries and Bytes are what the leader has.
	Entries, Bytes uint64
}

const (
	streamList    = "$JS.API.STREAM.LIST"
	streamMove    = "$JS.API.ACCOUNT.STREAM.MOVE." + server.DEFAULT_GLOBAL_ACCOUNT + "."
	cancelMove    = "$JS.API.ACCOUNT.STREAM.CANCEL_MOVE." + server.DEFAULT_GLOBAL_ACCOUNT + "."
	replicaRemove = "$JS.API.STREAM.PEER.REMOVE."
	serverRemove  = "$JS.API.SERVER.REMOVE"
	// listFor is how long a list of streams may take: NATS waits 4 s for leaders that do not answer.
	listFor = 6 * time.Second
	// moveFor is how long one request for a move may take.
	moveFor = 3 * time.Second
)

// tagOf is the tag of a node's server, by which a move names where it goes to. Tags have no capitals.
func tagOf(node string) string { return "millrace-node-" + hex.EncodeToString([]byte(node)) }

// groupOf returns the class and number of a stream, ok where it is one of this grid.
func (g *Grid) groupOf(stream string) (class Class, number int, ok bool) {
	if stream == "KV_"+g.metaBucket() {
		return "", 0, true
	}
	for _, class := range []Class{Durable, Volatile} {
		begin, found := strings.CutSuffix(newPartition(g.cfg.Name, class, 0).stream, "0")
		rest, has := strings.CutPrefix(stream, begin)
		if !found || !has {
			continue
		}
		if n, err := strconv.Atoi(rest); err == nil && n >= 0 && n < g.partitions && newPartition(g.cfg.Name, class, n).stream == stream {
			return class, n, true
		}
	}
	return "", 0, false
}

// Groups asks for all streams of the grid, in the order of their names. Those that have no leader are there without replicas.
func (g *Grid) Groups(ctx context.Context) ([]Group, error) {
	if g.cfg.Cluster == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listFor)
	defer cancel()
	var out []Group
	var streams []*server.StreamInfo
	for seen := 0; ; {
		request, err := json.Marshal(map[string]int{"offset": seen})
		if err != nil {
			return nil, fmt.Errorf("ask for the streams: %w", err)
		}
		m, err := g.reads.RequestWithContext(ctx, streamList, request)
		if err != nil {
			return nil, fmt.Errorf("ask for the streams: %w", connError(err))
		}
		var answer struct {
			Error   *jetstream.APIError  `json:"error"`
			Total   int                  `json:"total"`
			Streams []*server.StreamInfo `json:"streams"`
			Missing []string             `json:"missing"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return nil, fmt.Errorf("%w: an answer of %d bytes to a request for the streams: %w", ErrUnavailable, len(m.Data), err)
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("ask for the streams: %w", apiError(answer.Error))
		}
		streams = append(streams, answer.Streams...)
		for _, name := range answer.Missing {
			if class, number, ok := g.groupOf(name); ok {
				out = append(out, Group{Stream: name, Class: class, Number: number})
			}
		}
		got := len(answer.Streams) + len(answer.Missing)
		if seen += got; got == 0 || seen >= answer.Total {
			break
		}
	}
	unknown := len(out)
	for range 2 { // what one says of a node names it for the others
		out = out[:unknown]
		for _, s := range streams {
			if group, ok := g.newGroup(s); ok {
				out = append(out, group)
			}
		}
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(a.Stream, b.Stream) })
	return out, nil
}

func (g *Grid) newGroup(s *server.StreamInfo) (Group, bool) {
	class, number, ok := g.groupOf(s.Config.Name)
	if !ok {
		return Group{}, false
	}
	out := Group{Stream: s.Config.Name, Class: class, Number: number, Entries: s.State.Msgs, Bytes: s.State.Bytes}
	c := s.Cluster
	if c == nil || c.Leader == "" {
		return out, true
	}
	out.Leader, out.Replicas = c.Leader, g.replicasOf(c)
	if d := c.Desired; d != nil {
		out.Wanted = []string{}
		for _, r := range d.Replicas {
			out.Wanted = append(out.Wanted, g.peerName(r.Name, r.Peer))
		}
		slices.Sort(out.Wanted)
		if d.Status != nil {
			out.Doing = d.Status.Description
		}
	}
	return out, true
}

// replicasOf returns the replicas of a group that has a leader, in the order of their nodes.
func (g *Grid) replicasOf(c *server.ClusterInfo) []Replica {
	out := []Replica{{Node: c.Leader, Current: true}}
	for _, r := range c.Replicas {
		out = append(out, Replica{Node: g.peerName(r.Name, r.Peer), Current: r.Current && !r.Pending, Offline: r.Offline, Lag: r.Lag})
	}
	slices.SortFunc(out, func(a, b Replica) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// peerName is a node's name. A server that has not seen it since its own start knows no name but the id alone; then it is what others said, or the id.
func (g *Grid) peerName(name, id string) string {
	if id == "" {
		return name
	}
	g.idsMu.Lock()
	defer g.idsMu.Unlock()
	if !strings.Contains(name, id) {
		g.ids[id] = name
	} else if name = g.ids[id]; name == "" {
		return id
	}
	return name
}

// Peer is a node that has a voice in the cluster, whether it is there or not.
type Peer struct {
	Name    string
	Offline bool
	// Seen is how long ago the leader of the cluster heard of it.
	Seen time.Duration
	id   string
}

// Peers returns the nodes that have a voice. Only the node that leads the cluster knows them: ok says that this one does.
func (g *Grid) Peers() (peers []Peer, ok bool) {
	srv := g.server.running()
	if g.cfg.Cluster == nil || srv == nil || !srv.JetStreamIsLeader() {
		return nil, false
	}
	info, err := srv.Jsz(nil)
	if err != nil || info.Meta == nil || info.Meta.Leader != g.cfg.Cluster.Node {
		return nil, false // it is being started or stopped, or leads no more
	}
	peers = []Peer{{Name: g.cfg.Cluster.Node, id: info.Meta.Peer}}
	for _, r := range info.Meta.Replicas {
		peers = append(peers, Peer{Name: g.peerName(r.Name, r.Peer), Offline: r.Offline, Seen: r.Active, id: r.Peer})
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return peers, true
}

// VoiceID is what servers call a node by that they know no name of.
func VoiceID(node string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(node))
	id := make([]byte, 8)
	for i := range id {
		id[i] = digits[int(sum[i])%len(digits)]
	}
	return string(id)
}

// Leader is the node that leads the cluster, "" for none at the moment.
func (g *Grid) Leader() string {
	if g.cfg.Cluster == nil {
		return ""
	}
	return g.server.metaLeader()
}

// MoveReplica has a stream's replica go from one node, which is there, to another. It returns when the move has begun: the old replica
// stays until the new one has everything.
func (g *Grid) MoveReplica(ctx context.Context, stream, from, to string) error {
	return g.systemRequest(ctx, streamMove+stream, map[string]any{"server": from, "tags": []string{tagOf(to)}})
}

// CancelMove has a stream stay where it was before its move.
func (g *Grid) CancelMove(ctx context.Context, stream string) error {
	return g.systemRequest(ctx, cancelMove+stream, struct{}{})
}

// RebuildReplica takes a stream's replica from a node that is gone, and has another node make one, which the cluster chooses. The stream must have a leader: else
// what only that node has would be lost.
func (g *Grid) RebuildReplica(ctx context.Context, stream, from string) error {
	return request(ctx, g.writes, replicaRemove+stream, moveFor, map[string]string{"peer": from})
}

// RemovePeer takes from a node that is gone its voice in the cluster.
func (g *Grid) RemovePeer(ctx context.Context, name string) error {
	peers, ok := g.Peers()
	if !ok {
		return fmt.Errorf("%w: this node does not lead the cluster", ErrUnavailable)
	}
	for _, p := range peers {
		if p.Name == name {
			return g.systemRequest(ctx, serverRemove, map[string]string{"peer_id": p.id})
		}
	}
	return fmt.Errorf("%w: node %s", ErrNotFound, name)
}

// LeadStream makes another node lead a stream, which has a replica that is up to date. The lease of a durable partition follows. It is not for a stream that moves
// (Group.Wanted): a new replica that leads before it has everything has nobody to get that from, and without the old one's vote no other can lead.
func (g *Grid) LeadStream(ctx context.Context, stream, to string) error {
	return stepDown(ctx, g.writes, stepDownSubject+stream, to)
}

// LeadCluster makes another node lead the cluster, which this one does; any if to is "".
func (g *Grid) LeadCluster(ctx context.Context, to string) error {
	return g.asSystem(func(nc *nats.Conn) error { return stepDown(ctx, nc, metaStepDown, to) })
}

// Avoid names the nodes that are to be given no partition: they are being emptied.
func (g *Grid) Avoid(nodes []string) {
	if g.owners != nil {
		g.owners.members.avoid(nodes)
	}
}

// Stored returns what this node's server has of all streams.
func (g *Grid) Stored() (file, memory uint64) {
	u, err := g.server.usage()
	if err != nil {
		return 0, 0 // it is being started or stopped
	}
	return u.Store, u.Memory
}

// Tell sends all nodes of the grid, this one too, something about a subject, which is one word. Who is not there does not hear of it.
func (g *Grid) Tell(about string, data []byte) error {
	if err := g.reads.Publish(g.told(about), data); err != nil {
		return fmt.Errorf("tell the nodes of %s: %w", about, connError(err))
	}
	return nil
}

// Hear calls a function with what nodes tell about a subject, one after another, until it is stopped.
func (g *Grid) Hear(about string, heard func(data []byte)) (stop func(), err error) {
	sub, err := g.reads.Subscribe(g.told(about), func(m *nats.Msg) { heard(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("hear of %s: %w", about, connError(err))
	}
	return func() {
		// The connection may be closed by now, and what Unsubscribe says of it does not matter.
		_ = sub.Unsubscribe()
	}, nil
}

func (g *Grid) told(about string) string {
	return fmt.Sprintf("millrace.%s.tell.%s", g.cfg.Name, about)
}

// decisionPrefix begins the keys of what nodes have decided together.
const decisionPrefix = "decided."

// Decision returns what was decided about something, nil for nothing yet, and the number to replace it by.
func (g *Grid) Decision(ctx context.Context, about string) (value []byte, number uint64, err error) {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	value, number, err = g.metaGet(ctx, decisionPrefix+about)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read what was decided about %s: %w", about, apiError(err))
	}
	return value, number, nil
}

// Decide replaces what was decided when it had a number; ErrRevision says that it has another one.
func (g *Grid) Decide(ctx context.Context, about string, value []byte, number uint64) error {
	ctx, cancel := g.limited(ctx)
	defer cancel()
	_, err := g.meta.Update(ctx, decisionPrefix+about, value, number)
	if isReplaced(err) {
		return fmt.Errorf("%w: what was decided about %s was replaced", ErrRevision, about)
	}
	if err != nil {
		return fmt.Errorf("decide about %s: %w", about, g.metaError(err))
	}
	return nil
}

// asSystem does something on a connection of the system's account.
func (g *Grid) asSystem(do func(*nats.Conn) error) error {
	nc, err := nats.Connect("", nats.InProcessServer(g.server), nats.UserInfo(systemUser, g.server.system), nats.Name(g.cfg.Name+" system"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer nc.Close()
	return do(nc)
}

func (g *Grid) systemRequest(ctx context.Context, subject string, body any) error {
	return g.asSystem(func(nc *nats.Conn) error { return request(ctx, nc, subject, moveFor, body) })
}

// request asks the servers' API for something, and returns what it says against it.
func request(ctx context.Context, nc *nats.Conn, subject string, limit time.Duration, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("%s: %w", subject, connError(err))
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("%w: %s: an answer %q", ErrUnavailable, subject, m.Data)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %w", subject, apiError(answer.Error))
	}
	return nil
}
