package grid

import (
	"cmp"
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A cluster has an id, made before the first of its servers has JetStream on. A server shows it when it connects to another one, and lets nobody in that shows another: what places
// streams is one group among all servers with JetStream that are connected, and two such groups that meet become one, which removes what it does not know. A server without JetStream,
// whose node is still to learn the id, is let in by all, and lets all in: it has nothing, and what comes to it goes no further.

// shown is what a server shows to others when it connects to them.
type shown struct {
	kind shows
	id   string // for showsID
}

type shows int

const (
	// showsBare is what programs show that know no ids, and servers of a grid of such programs.
	showsBare shows = iota
	// showsGuest is what a server without JetStream shows that is to learn the id.
	showsGuest
	// showsID is what a server shows that has an id.
	showsID
)

// guestUser is the name of servers that show no id, and idUser begins the names of those that show one.
const (
	guestUser = routeUser + "-guest"
	idUser    = routeUser + "-id-"
)

// credentials are the name and the password by which a server shows something. Whoever has the secret can make all of them.
func (c *Cluster) credentials(s shown) (user, password string) {
	switch s.kind {
	case showsGuest:
		return guestUser, c.derived("millrace guest " + c.Name)
	case showsID:
		return idUser + s.id, c.derived("millrace cluster " + c.Name + " id " + s.id)
	}
	if c.Secret == "" {
		return "", ""
	}
	return routeUser, c.password()
}

// recognize says what somebody shows; false where that was not made with the secret.
func (c *Cluster) recognize(user, password string) (s shown, ok bool) {
	id, hasID := strings.CutPrefix(user, idUser)
	switch {
	case user == guestUser:
		s.kind = showsGuest
	case hasID:
		s = shown{kind: showsID, id: id}
	}
	wantUser, want := c.credentials(s)
	if c.Secret == "" && s.kind == showsBare { // the certificate is the proof
		return s, true
	}
	return s, user == wantUser && hmac.Equal([]byte(password), []byte(want))
}

// shortID is an id as people read it.
func shortID(id string) string { return cmp.Or(id[:min(8, len(id))], "without an id") }

// entrance decides for the server in this process whom it lets in. It outlives restarts of that server.
type entrance struct {
	c   *Cluster
	log *slog.Logger

	mu sync.Mutex
	// open lets in whoever has the secret: the server has no JetStream, and its node is to learn the id.
	open bool
	// id is the cluster's, "" while it is not known.
	id string
	// strict lets nobody in who shows no id: no node of this cluster does.
	strict bool
	// met is the id of another cluster that was met since the entrance was set, "" for none.
	met string
	// refused are connections that were refused though their secret is the right one, whose failure the server's log tells too.
	refused map[uint64]struct{}
	told    map[string]time.Time
	// strange are the hosts of which tellStranger has told since strangeSince, and strangers how many refusals it has not told.
	strange      map[string]struct{}
	strangeSince time.Time
	strangers    int
	// tries is how often each server was refused, by its ID; delayed is how many wait for their refusal, and quit is closed when they are to wait no more.
	tries   map[string]int
	delayed int
	quit    chan struct{}
}

const (
	// triesAtOnce is how often a server is refused at once: it learns from that. After that it waits for refuseAfter each time, since servers that others have told it of are tried again
	// within 100 ms, for ever, on several connections at a time. At most delayedMost wait.
	triesAtOnce = 8
	refuseAfter = 4 * time.Second
	delayedMost = 64
	// authTime is how long a connection may take to show who it is, in seconds: longer than refuseAfter.
	authTime = 8
)

// delay waits before the server with an ID is refused, where it has been refused often.
func (k *entrance) delay(id string) {
	k.mu.Lock()
	if len(k.tries) >= entranceMemory || k.tries == nil {
		k.tries = map[string]int{}
	}
	k.tries[id]++
	if k.tries[id] <= triesAtOnce || k.delayed >= delayedMost {
		k.mu.Unlock()
		return
	}
	k.delayed++
	if k.quit == nil {
		k.quit = make(chan struct{})
	}
	quit := k.quit
	k.mu.Unlock()
	select {
	case <-quit:
	case <-time.After(refuseAfter):
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.delayed--
}

// hurry refuses at once who waits: the server is to stop.
func (k *entrance) hurry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quit != nil {
		close(k.quit)
		k.quit = nil
	}
}

// entranceMemory is how many connections and how many others an entrance remembers.
const entranceMemory = 256

func (k *entrance) set(open bool, id string, strict bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open, k.id, k.strict, k.met = open, id, strict, ""
}

// learn notes the id of a cluster whose nodes do not show it yet.
func (k *entrance) learn(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.id = id
}

func (k *entrance) beStrict() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.strict = true
}

// knows returns the id, and whether none is let in without it.
func (k *entrance) knows() (id string, strict bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id, k.strict
}

// metOther is the first id of other clusters that wanted to come in, "" for none.
func (k *entrance) metOther() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.met
}

var _ server.Authentication = (*entrance)(nil)

// Check is called by the server for each connection from another one.
func (k *entrance) Check(conn server.ClientAuthentication) bool {
	opts := conn.GetOpts()
	s, ok := k.c.recognize(opts.Username, opts.Password)
	if !ok {
		return false // the server's log tells it
	}
	if k.admits(s, conn) {
		return true
	}
	k.delay(opts.Name)
	return false
}

// admits reports whether somebody who has the secret is let in, and has the log say why not.
func (k *entrance) admits(s shown, conn server.ClientAuthentication) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open || s.kind == showsGuest || s.kind == showsID && s.id == k.id || s.kind == showsBare && !k.strict {
		return true
	}
	if len(k.refused) >= entranceMemory || k.refused == nil {
		k.refused = map[uint64]struct{}{}
	}
	k.refused[conn.GetID()] = struct{}{}
	if s.kind == showsID {
		if k.met == "" || s.id < k.met {
			k.met = s.id
		}
	}
	k.tell(s, conn.RemoteAddress())
	return false
}

// tell has the log say who is refused and why, each now and then. Lock is held.
func (k *entrance) tell(s shown, from net.Addr) {
	host := "an unknown address"
	if from != nil {
		host = from.String()
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	if !k.now(host + " " + s.id) {
		return
	}
	if s.kind == showsBare {
		k.log.Warn("a node is refused that shows no id of a cluster. It has a program that knows none, which is to be replaced by this one, or this one and a folder of such a program: then it "+
			"tries again by itself", "from", host, "cluster", k.c.Name, "id", shortID(k.id))
		return
	}
	k.log.Error("a node of another cluster with the same name and secret is refused; both would lose data. Take the addresses of this cluster out of its cluster.seeds, "+
		"or, where it is to join this cluster, start it on an empty folder (node.data)",
		"from", host, "cluster", k.c.Name, "id", shortID(k.id), "its_id", shortID(s.id))
}

// strangersFor is the time in which the log tells of one refusal of a stranger from each host, and of strangersMost in all: anybody can connect as often as they like.
const (
	strangersFor  = time.Minute
	strangersMost = 16
)

// tellStranger has the log say that somebody is refused who has not shown that they have the secret, and why; and how many were since the last line that it had no line for.
func (k *entrance) tellStranger(address, why string, now time.Time) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.strange == nil || now.Sub(k.strangeSince) >= strangersFor {
		k.strange, k.strangeSince = map[string]struct{}{}, now
	}
	if _, ok := k.strange[host]; ok || len(k.strange) >= strangersMost {
		k.strangers++
		return
	}
	k.strange[host] = struct{}{}
	k.log.Warn("a connection between nodes is refused: "+why+". Where it is one of a node that wants to join, cluster.secret and cluster.tls have to be the same on all nodes; where it is a port scan or a "+
		"program that is no node, let nobody but the nodes reach cluster.listen", "from", host, "address", address, "cluster", k.c.Name, "refused_without_a_line", k.strangers)
	k.strangers = 0
}

// isOpen reports whether whoever has the secret is let in; false without an entrance.
func (k *entrance) isOpen() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open
}

// now reports whether something is to be told, which is not told again for a while. Lock is held.
func (k *entrance) now(what string) bool {
	if len(k.told) >= entranceMemory || k.told == nil {
		k.told = map[string]time.Time{}
	}
	if time.Since(k.told[what]) < time.Minute {
		return false
	}
	k.told[what] = time.Now()
	return true
}

// hasTold reports whether a failure in the server's log is one of which this entrance has told why.
func (k *entrance) hasTold(text string) bool {
	_, rest, _ := strings.Cut(text, "rid:")
	digits, _, _ := strings.Cut(rest, " ")
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.refused[id]
	delete(k.refused, id)
	return ok
}

// turnedAway has the log say that another node does not let this one in, which has its place with others.
func (k *entrance) turnedAway(at string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.id == "" || k.open || !k.now("away "+at) {
		return
	}
	k.log.Error("a node does not let this one in: it is of another cluster with the same name, or has another cluster.secret (its log says which). "+
		"Take its address out of cluster.seeds here, or this node's out of those there", "at", at, "cluster", k.c.Name, "id", shortID(k.id))
}

// identity is what a node's folder says of its cluster.
type identity struct {
	ID string `json:"id,omitempty"`
	// Sure says that no node of the cluster is without the id.
	Sure bool `json:"sure,omitempty"`
}

// adopt makes the folder that of a cluster with an id, before the server has JetStream on. What a folder without replicas knows of votes in another cluster is removed: it would
// be taken for knowledge of this one.
func (e *embedded) adopt(is identity) error {
	have := e.lock.is
	if have == is {
		return nil
	}
	if have.ID != is.ID && !e.hadData {
		meta := filepath.Join(e.dir, "jetstream", server.DEFAULT_SYSTEM_ACCOUNT, "_js_", "_meta_")
		if err := os.RemoveAll(meta); err != nil {
			return fmt.Errorf("forget another cluster: %w", err)
		}
	}
	return e.lock.setIdentity(e.cfg.Cluster, is)
}

// setIdentity writes the folder's mark.
func (f *folder) setIdentity(c *Cluster, is identity) error {
	if err := f.mark(belongs{Cluster: c.Name, Node: c.Node, identity: is}); err != nil {
		return err
	}
	f.is = is
	return nil
}

// made are the moments in which the streams were made of which this node has replicas, by their names, from the server's files. Each is the same on all
// nodes, and another one in another cluster.
func (e *embedded) made() (map[string]int64, error) {
	dir := filepath.Join(e.dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for replicas: %w", err)
	}
	out := map[string]int64{}
	for _, entry := range entries[:min(len(entries), madeMost)] {
		at, err := streamMade(filepath.Join(dir, entry.Name(), server.JetStreamMetaFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being made or removed
		}
		if err != nil {
			return nil, err
		}
		out[entry.Name()] = at
	}
	return out, nil
}

// madeMost is how many streams of a folder are looked at.
const madeMost = 1024

// saidCluster is what a node has said of the id of its cluster: which it is, and whether it shows it.
type saidCluster struct {
	id    string
	shows bool
	at    time.Time
}

func (m *members) hasCluster(name, text string, now time.Time) {
	id, how, _ := strings.Cut(text, " ")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clusters == nil || len(m.clusters) >= madeMost {
		m.clusters = map[string]saidCluster{}
	}
	m.clusters[name] = saidCluster{id: id, shows: how == "shown", at: now}
}

// inCluster reports whether all of these have said lately that they are of the cluster, and whether all show its id.
func (m *members) inCluster(names []string, id string, now time.Time) (all, show bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, show = true, true
	for _, name := range names {
		said := m.clusters[name]
		all = all && said.id == id && now.Sub(said.at) <= memberFor
		show = show && said.shows
	}
	return all, show
}

// tellCluster tells the others of which cluster this node is, and writes that into its folder when all nodes that are there know it: until then some have a program that lets nobody in who
// shows an id. When all show it, nobody is let in without.
func (o *owners) tellCluster() {
	g := o.g
	if g.cfg.Cluster == nil || g.clusterID == "" {
		return
	}
	e, how := g.server, "known"
	if e.shows.kind == showsID {
		how = "shown"
	}
	o.publish("cluster " + g.node + " " + g.clusterID + " " + how)
	is := e.lock.is
	if is.ID == g.clusterID && is.Sure {
		return
	}
	others := e.others()
	all, show := o.members.inCluster(others, g.clusterID, time.Now())
	next := identity{ID: g.clusterID, Sure: show && how == "shown"}
	if len(others) == 0 || !all || is == next {
		return
	}
	if err := e.lock.setIdentity(g.cfg.Cluster, next); err != nil {
		g.cfg.Logger.Warn("the id of the cluster cannot be noted in the node's folder; it is tried again", "error", err)
		return
	}
	if next.Sure {
		e.entrance.beStrict()
	}
}
