package natstest

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster is NATS servers with JetStream that are one cluster, on loopback ports.
type Cluster struct {
	t       testing.TB
	Servers []*Server
}

// clusterWait is how long a cluster may take to elect who leads it: on a busy machine an election is made several times.
const clusterWait = time.Minute

// StartCluster starts n servers until the test ends, and waits until they have a leader. Adjust, where it is not nil, changes the options of each before it
// is started.
func StartCluster(t testing.TB, n int, adjust func(*server.Options)) *Cluster {
	t.Helper()
	routes := make([]*url.URL, n)
	for i := range routes {
		routes[i] = &url.URL{Scheme: "nats", Host: freeAddr(t)}
	}
	c := &Cluster{t: t}
	for i := range n {
		host, port := hostPort(t, routes[i].Host)
		s := &Server{t: t, options: server.Options{
			ServerName: fmt.Sprint("s", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: MaxPayload,
			Cluster: server.ClusterOpts{Name: "test", Host: host, Port: port}, Routes: routes,
		}}
		if adjust != nil {
			adjust(&s.options)
		}
		c.Servers = append(c.Servers, s)
	}
	// They need one another to be ready.
	var starting sync.WaitGroup
	for _, s := range c.Servers {
		s.start()
		t.Cleanup(s.Stop)
		starting.Go(func() { s.running.ReadyForConnections(clusterWait) })
	}
	starting.Wait()
	for _, s := range c.Servers {
		s.keepPort()
	}
	c.Await("the cluster has a leader and all its servers", func() bool {
		return slices.ContainsFunc(c.Servers, func(s *Server) bool {
			return s.running.JetStreamIsLeader() && len(s.running.JetStreamClusterPeers()) == n
		})
	})
	return c
}

// Await waits until something of the cluster is so.
func (c *Cluster) Await(what string, is func() bool) {
	c.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(clusterWait); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %v: %s", clusterWait, what)
		}
	}
}

// URLs returns the addresses of all servers, with commas between.
func (c *Cluster) URLs() (all string) {
	for i, s := range c.Servers {
		if i > 0 {
			all += ","
		}
		all += s.URL()
	}
	return all
}

// replica is what a server says of a stream that it has.
func (s *Server) replica(stream string) (d server.StreamDetail, ok bool) {
	info, err := s.running.Jsz(&server.JSzOptions{Streams: true, Config: true, Consumer: true, RaftGroups: true})
	if err != nil {
		return d, false
	}
	for _, account := range info.AccountDetails {
		for _, d := range account.Streams {
			if d.Name == stream {
				return d, true
			}
		}
	}
	return d, false
}

// Leader returns the server that leads a stream, once there is one.
func (c *Cluster) Leader(stream string) (leader *Server) {
	c.t.Helper()
	c.Await("stream "+stream+" has a leader", func() bool {
		for _, s := range c.Servers {
			if s.stopped {
				continue
			}
			if d, ok := s.replica(stream); ok && d.Cluster != nil && d.Cluster.Leader == s.options.ServerName {
				leader = s
				return true
			}
		}
		return false
	})
	return leader
}

// Follower returns a server that has a stream, neither leads it nor has a consumer of it; nil for none.
func (c *Cluster) Follower(stream string) *Server {
	c.t.Helper()
	leader := c.Leader(stream)
	for _, s := range c.Servers {
		if d, ok := s.replica(stream); ok && s != leader && len(d.Consumer) == 0 {
			return s
		}
	}
	return nil
}

// Has returns the last sequence that a server has of a stream.
func (s *Server) Has(stream string) uint64 {
	d, _ := s.replica(stream)
	return d.State.LastSeq
}

// Answers reports whether a server takes part in answering direct reads of a stream, which a follower does some seconds after it has its replica.
func (s *Server) Answers(stream string) bool {
	subject := "$JS.API.DIRECT.GET." + stream
	subs, err := s.running.Subsz(&server.SubszOptions{Subscriptions: true, Limit: 1 << 20, Test: subject})
	return err == nil && slices.ContainsFunc(subs.Subs, func(d server.SubDetail) bool { return d.Subject == subject })
}

// Lag makes a server that follows a stream fall behind: what it is sent is acknowledged and kept, but not applied, and it answers reads from
// what it has. The function that is returned lets it catch up; it is called at the end of the test in any case.
func (s *Server) Lag(stream string) (resume func()) {
	s.t.Helper()
	d, ok := s.replica(stream)
	node := s.raftNode(d.RaftGroup)
	if !ok || node == nil {
		s.t.Fatalf("server %s has no replica of stream %s", s.options.ServerName, stream)
	}
	if err := node.PauseApply(); err != nil {
		s.t.Fatal(err)
	}
	resume = sync.OnceFunc(node.ResumeApply)
	s.t.Cleanup(resume)
	return resume
}

// raftNode returns a group's node. The server exports what it can do, but not the way to it.
func (s *Server) raftNode(group string) server.RaftNode {
	fields := reflect.ValueOf(s.running).Elem()
	lock := (*sync.RWMutex)(unsafe.Pointer(fields.FieldByName("rnMu").UnsafeAddr()))
	nodes := (*map[string]server.RaftNode)(unsafe.Pointer(fields.FieldByName("raftNodes").UnsafeAddr()))
	lock.RLock()
	defer lock.RUnlock()
	return (*nodes)[group]
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func hostPort(t testing.TB, addr string) (host string, port int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.IP.String(), a.Port
}
