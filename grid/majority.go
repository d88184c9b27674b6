package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A partition takes writes while most of its replicas are there, and has no leader otherwise. JetStream says of such a partition nothing at all, or that the last leader has the write. What is
// missing the nodes that are there know: their servers tell which replicas each of their streams has.

const (
	// lookFor is how old what is known of the replicas may be when something has failed.
	lookFor = time.Second
	// lackingFor is how long most of a partition's replicas must have been away before who waits for it is told: nodes that are started again come back within that time.
	lackingFor = 3 * time.Second
)

// majority is what this node knows of the partitions of a cluster that have no majority.
type majority struct {
	turn chan struct{} // taken by whoever looks

	mu     sync.Mutex
	looked time.Time
	// of are the nodes with replicas, by stream, as they were told last.
	of map[string][]string
	// lacking are the streams of which most replicas are away.
	lacking map[string]lack
}

// lack is what a stream lacks.
type lack struct {
	since  time.Time
	reason string
	// nodes have replicas, of which those that are there are in there too.
	nodes, there []string
}

func newMajority() *majority {
	return &majority{turn: make(chan struct{}, 1), of: map[string][]string{}, lacking: map[string]lack{}}
}

// lacks says why nothing can be written to a stream, nil where most of its replicas are there, or that is not known, or has been so for lackingFor only. It is for who has failed: it may ask
// the other nodes.
func (g *Grid) lacks(ctx context.Context, stream string) error {
	l, ok := g.lackOf(ctx, stream)
	if !ok || time.Since(l.since) < lackingFor {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, l.reason)
}

func (g *Grid) lackOf(ctx context.Context, stream string) (lack, bool) {
	if g.cfg.Cluster == nil || g.owners == nil || ctx.Err() != nil {
		return lack{}, false
	}
	g.lookForReplicas(ctx)
	m := g.majority
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.lacking[stream]
	return l, ok
}

// knownLack says what a stream lacks as it was seen last, "" for nothing; it asks nobody.
func (g *Grid) knownLack(stream string) string {
	m := g.majority
	if m == nil {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.looked) >= lackingFor {
		return ""
	}
	return m.lacking[stream].reason
}

// streamOf is the stream that a subject of an entry is of, or a request for what it has; "" for another subject.
func streamOf(subject string) string {
	for _, before := range []string{"$KV.", directGet + "KV_", leaderGet + "KV_"} {
		if rest, ok := strings.CutPrefix(subject, before); ok {
			bucket, _, _ := strings.Cut(rest, ".")
			return "KV_" + bucket
		}
	}
	return ""
}

// lackingNow says of the partitions that lack a majority what they lack: those of the first of them, and how many more there are. It is "" for none.
func (g *Grid) lackingNow(ctx context.Context) string {
	if g.cfg.Cluster == nil || g.owners == nil {
		return ""
	}
	g.lookForReplicas(ctx)
	m := g.majority
	m.mu.Lock()
	defer m.mu.Unlock()
	streams := slices.Sorted(maps.Keys(m.lacking))
	switch len(streams) {
	case 0:
		return ""
	case 1:
		return m.lacking[streams[0]].reason
	}
	return fmt.Sprintf("%d of %d streams have no leader, among them: %s", len(streams), len(m.of), m.lacking[streams[0]].reason)
}

// lookForReplicas asks the nodes that are there for their replicas, where the last look is older than lookFor. Who comes while another one looks goes by what is known.
func (g *Grid) lookForReplicas(ctx context.Context) {
	m := g.majority
	select {
	case m.turn <- struct{}{}:
	default:
		return
	}
	defer func() { <-m.turn }()
	m.mu.Lock()
	age := time.Since(m.looked)
	if age >= lackingFor { // nobody has failed for a while: what was then says nothing of what lasts
		clear(m.lacking)
	}
	m.mu.Unlock()
	if age < lookFor {
		return
	}
	told := map[string][]string{}
	moving := map[string]bool{}
	var there []string
	// A node that is being started keeps its replicas too, before it says that it is there.
	nodes := append(g.NodesWith(RoleGrid), g.server.others()...)
	complete, err := g.askServers(ctx, nodes, server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true}, func(a serverAnswer) {
		if a.Data.Disabled {
			return // a door, or a node that has no voice yet
		}
		there = append(there, a.Server.Name)
		for _, s := range a.streams() {
			if _, _, ok := g.groupOf(s.Name); !ok || s.Cluster == nil {
				continue
			}
			moving[s.Name] = moving[s.Name] || s.Cluster.Desired != nil
			for _, name := range g.membersOf(a.Server.Name, s.Cluster) {
				if !slices.Contains(told[s.Name], name) {
					told[s.Name] = append(told[s.Name], name)
				}
			}
		}
	})
	if err != nil {
		g.cfg.Logger.Debug("look for the replicas of all partitions", "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looked = time.Now()
	if err != nil || !complete || ctx.Err() != nil { // a node that is there may yet say that it has a replica
		clear(m.lacking)
		return
	}
	maps.Copy(m.of, told)
	slices.Sort(there)
	for stream, nodes := range m.of {
		reason := ""
		if !moving[stream] {
			reason = g.whatLacks(stream, nodes, there)
		}
		was, had := m.lacking[stream]
		since := m.looked
		if had {
			since = was.since
		}
		if reason == "" {
			delete(m.lacking, stream)
		} else {
			m.lacking[stream] = lack{since: since, reason: reason, nodes: nodes, there: there}
		}
	}
}

// membersOf are the nodes of a group, as one of them tells: it is not in its own list while it knows of a leader, be that itself or another one.
func (g *Grid) membersOf(teller string, c *server.ClusterInfo) []string {
	names := []string{teller}
	for _, r := range c.Replicas {
		if name := g.peerName(r.Name, r.Peer); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// whatLacks says which of a stream's nodes are to be started, "" where most of them are there.
func (g *Grid) whatLacks(stream string, nodes, there []string) string {
	var have, away []string
	for _, name := range nodes {
		if slices.Contains(there, name) {
			have = append(have, name)
		} else {
			away = append(away, name)
		}
	}
	need := len(nodes)/2 + 1
	if len(have) >= need {
		return ""
	}
	what := "the grid's description"
	if class, number, ok := g.groupOf(stream); ok && class != "" {
		what = fmt.Sprintf("%s partition %d", class, number)
	}
	of := "only " + strings.Join(have, ", ") + " is there"
	switch len(have) {
	case 0:
		of = "none is there"
	case 1:
	default:
		of = "only " + strings.Join(have, ", ") + " are there"
	}
	var empty []string
	now := time.Now()
	away = slices.DeleteFunc(away, func(name string) bool {
		is := g.emptied.has(name, now)
		if is {
			empty = append(empty, name)
		}
		return is
	})
	start := "start " + strings.Join(away, " or ")
	switch more := need - len(have); {
	case more > len(away):
		start = startOnFolders(more, slices.Sorted(slices.Values(append(away, empty...))))
	case more > 1:
		start = fmt.Sprintf("start %d of %s", more, strings.Join(away, ", "))
	}
	if len(empty) > 0 {
		start += "; " + onEmptyFolders(empty)
	}
	return fmt.Sprintf("%s has no leader: of its replicas, on %s, %s, and it needs %d: %s", what, strings.Join(nodes, ", "), of, need, start)
}

// startOnFolders says that so many of these nodes have to be started on what they had, and what to do where that is lost.
func startOnFolders(more int, of []string) string {
	names, folders := strings.Join(of, ", "), "the folders that they had, or, where those are"
	switch {
	case len(of) == 1:
		folders = "the folder that it had, or, where that is"
	case more < len(of):
		names = fmt.Sprintf("%d of %s", more, names)
	}
	return fmt.Sprintf("start %s on %s lost, fill a new cluster from a backup (`millrace restore`)", names, folders)
}

// serverAnswer is what a node's server says of its streams.
type serverAnswer struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		// Disabled says that it has no JetStream.
		Disabled bool `json:"disabled"`
		Accounts []struct {
			Streams []toldStream `json:"stream_detail"`
		} `json:"account_details"`
	} `json:"data"`
}

// toldStream is what a server says of one of its streams.
type toldStream struct {
	Name    string              `json:"name"`
	Cluster *server.ClusterInfo `json:"cluster"`
}

func (a serverAnswer) streams() (all []toldStream) {
	for _, account := range a.Data.Accounts {
		all = append(all, account.Streams...)
	}
	return all
}

// streamsOfAll asks all servers of the cluster about their streams.
const streamsOfAll = "$SYS.REQ.SERVER.PING.JSZ"

// askServers asks the servers of all nodes for their streams, and calls a function with each answer that has come by the time all nodes have answered that are named, or within
// leaderTry. complete says that they all have.
func (g *Grid) askServers(ctx context.Context, nodes []string, what server.JSzOptions, answered func(serverAnswer)) (complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTry)
	defer cancel()
	request, err := json.Marshal(what)
	if err != nil {
		return false, fmt.Errorf("ask the nodes for their streams: %w", err)
	}
	missing := map[string]bool{}
	for _, name := range nodes {
		missing[name] = true
	}
	err = g.asSystem(func(nc *nats.Conn) error {
		answers, err := nc.SubscribeSync(nc.NewInbox())
		if err == nil {
			err = nc.PublishRequest(streamsOfAll, answers.Subject, request)
		}
		for err == nil && len(missing) > 0 {
			var m *nats.Msg
			if m, err = answers.NextMsgWithContext(ctx); err != nil {
				break
			}
			var a serverAnswer
			if err = json.Unmarshal(m.Data, &a); err != nil {
				return fmt.Errorf("%w: %d bytes of a node about its streams: %w", ErrUnavailable, len(m.Data), err)
			}
			delete(missing, a.Server.Name)
			answered(a)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ask the nodes for their streams: %w", connError(err))
		}
		return nil
	})
	return err == nil && len(missing) == 0, err
}
