package grid

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/grid/internal/blocks"
	"github.com/millrace/millrace/internal/lockfile"
)

// unlimited keeps the server from its default limit of 75 % of the disk at its start, which would
// never follow what becomes free later.
const unlimited = 1 << 50

// embedded is the NATS server in this process. Its clients come through pipes; it listens for the other nodes of a cluster alone.
type embedded struct {
	cfg  Config
	dir  string
	temp bool
	lock *folder

	mu    sync.Mutex // guards srv, restarts, found and partitions
	srv   *server.Server
	found []Damage
	// partitions of each grid that the folder had when it was opened, by its name.
	partitions map[string]int
	// frozen is set when a write to a file failed: that stream takes no write until a restart.
	frozen   atomic.Pointer[string]
	onFrozen func(why string)
	// system is the password of systemUser, in a cluster.
	system string
	// leaf is the cluster that the server has a connection to, which takes its streams over; nil for none.
	leaf *server.RemoteLeafOpts
	// refused is the last reason for which another node of the cluster did not have this one.
	refused atomic.Pointer[string]
	// fatal is the last reason for which the server could not be started, nil for none.
	fatal atomic.Pointer[string]
	// voiceless starts the server without JetStream, until it is known that the others would have this node.
	voiceless bool
	// hadData says that the folder had replicas when it was opened, or this node agreed with others last.
	hadData bool
	// shows is what the server shows to other nodes from its next start on; in a cluster entrance says whom it lets in.
	shows    shown
	entrance *entrance
	// away is set when a node did not let this one in since the last start.
	away atomic.Bool
}

const (
	// startFor is how long the server may take to be ready, and startLook how often that is looked at.
	startFor  = 30 * time.Second
	startLook = 50 * time.Millisecond
)

// startEmbedded opens the folder and starts the server, which has no voice in the cluster yet where the folder has nothing of it (see agree).
func startEmbedded(ctx context.Context, cfg Config, onFrozen func(string)) (*embedded, error) {
	e := &embedded{cfg: cfg, dir: cfg.Dir, onFrozen: onFrozen}
	if cfg.InMemory {
		dir, err := os.MkdirTemp("", "millrace-grid-")
		if err != nil {
			return nil, fmt.Errorf("make the server's temporary folder: %w", err)
		}
		e.dir, e.temp = dir, true
	} else {
		lock, err := openFolder(cfg.Dir, cfg.Cluster, cfg.Resolve)
		if err != nil {
			return nil, err
		}
		e.lock = lock
	}
	if c := cfg.Cluster; c != nil {
		data, err := hasData(e.dir)
		if err != nil {
			e.release()
			return nil, err
		}
		e.hadData, e.entrance = data, &entrance{c: c, log: cfg.Logger}
		if is := e.lock.is; data && is.ID != "" {
			e.show(shown{kind: showsID, id: is.ID}, is)
		} else if data { // of a program that knew no ids, as the others may be
			e.ask(shown{kind: showsBare})
		} else {
			e.ask(shown{kind: showsGuest})
		}
	}
	if err := e.start(ctx); err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

// ask has the next start be one without JetStream, which lets everybody in who has the secret: the node is to learn who it is among the others.
func (e *embedded) ask(as shown) {
	e.voiceless, e.shows = true, as
	e.refused.Store(nil)
	e.away.Store(false)
	e.entrance.set(true, "", false)
}

// show has the next start be one of a node that knows its cluster.
func (e *embedded) show(as shown, is identity) {
	e.voiceless, e.shows = false, as
	e.refused.Store(nil)
	e.away.Store(false)
	e.entrance.set(false, is.ID, is.Sure)
}

// askOtherwise starts the server again with the other of the two things that may be shown before an id is known: what programs know that know no ids, or what those know that do.
func (e *embedded) askOtherwise(ctx context.Context) error {
	as := shown{kind: showsGuest}
	if e.shows.kind == showsGuest {
		as.kind = showsBare
	}
	e.ask(as)
	return e.restart(ctx)
}

// damages returns what was wrong with the files.
func (e *embedded) damages() []Damage {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.found)
}

// lost reports whether all of a stream was gone when the folder was opened.
func (e *embedded) lost(stream string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.found, func(d Damage) bool { return d.Everything && d.Stream == stream })
}

// begun is the first sequence that a stream's files have, 0 where there are none: its description was lost, and the server is to drop nothing of it.
func (e *embedded) begun(stream string) (uint64, error) {
	if e == nil {
		return 0, nil
	}
	return blocks.First(filepath.Join(e.dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", stream), stream)
}

// known is how many partitions a grid has by its files, 0 for none that is there.
func (e *embedded) known(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.partitions[name]
}

func (e *embedded) start(ctx context.Context) error {
	var found []Damage
	var partitions map[string]int
	var err error
	if e.cfg.Cluster == nil { // in a cluster the others have what is damaged here, and what this node made of it would differ from theirs
		if found, partitions, err = mend(e.dir, e.cfg.Logger); err != nil {
			return fmt.Errorf("look through %s: %w", e.dir, err)
		}
	}
	e.mu.Lock()
	e.found, e.partitions = append(e.found, found...), partitions
	e.mu.Unlock()
	if e.cfg.Cluster != nil {
		electSooner()
	}
	opts, err := e.options()
	if err != nil {
		return err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("make the embedded server: %w", err)
	}
	srv.SetLoggerV2(&serverLog{log: e.cfg.Logger, e: e}, false, false, false)
	e.fatal.Store(nil)
	srv.Start()
	if err := e.awaitStart(ctx, srv); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return err
	}
	if opts.JetStream && !srv.JetStreamEnabled() {
		srv.Shutdown()
		return fmt.Errorf("%w: the embedded server could not use %s (its log says why)", ErrUnavailable, e.dir)
	}
	e.mu.Lock()
	e.srv = srv
	e.mu.Unlock()
	return nil
}

// awaitStart returns when the server takes connections, or why it does not.
func (e *embedded) awaitStart(ctx context.Context, srv *server.Server) error {
	for began := time.Now(); !srv.ReadyForConnections(startLook); {
		if why := e.fatal.Load(); why != nil {
			return e.cannotStart(*why)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("start the embedded server: %w", contextError(ctx))
		}
		if time.Since(began) > startFor {
			return fmt.Errorf("%w: the embedded server was not ready within %v", ErrUnavailable, startFor)
		}
	}
	return nil
}

// cannotStart is the error for what the server says before it gives up.
func (e *embedded) cannotStart(why string) error {
	if strings.Contains(why, "router port") {
		_, why, _ = strings.Cut(why, " - ")
		return fmt.Errorf("%w: cluster.listen: %s: %s; end what listens there, or give this node another cluster.listen, which the seeds of the others then have to name",
			ErrConfig, e.cfg.Cluster.Listen, why)
	}
	return fmt.Errorf("%w: the embedded server cannot start: %s", ErrUnavailable, why)
}

// options are those of the server.
func (e *embedded) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName:         e.cfg.Name,
		DontListen:         true,
		NoSigs:             true,
		JetStream:          e.cfg.Cluster == nil || e.cfg.Cluster.has(RoleGrid) && !e.voiceless,
		StoreDir:           e.dir,
		MaxPayload:         maxPayload,
		MaxPending:         256 << 20,
		JetStreamMaxMemory: limitWithSlack(e.cfg.MaxMemory),
		JetStreamMaxStore:  limitWithSlack(e.cfg.MaxBytes),
		SyncAlways:         e.cfg.SyncAlways,
		NoSystemAccount:    e.cfg.Cluster == nil,
	}
	if c := e.cfg.Cluster; c != nil {
		var err error
		opts.JetStreamDomain = clusterDomain
		if e.system, err = c.apply(opts, e.shows); err != nil {
			return nil, err
		}
		opts.CustomRouterAuthentication = e.entrance
		return opts, nil
	}
	// What a cluster needs to take the streams over while the server runs.
	opts.JetStreamDomain = aloneDomain
	opts.LeafNode.ReconnectInterval = leafAgain
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaf != nil {
		opts.LeafNode.Remotes = []*server.RemoteLeafOpts{e.leaf}
	}
	return opts, nil
}

// limitWithSlack is the server's own limit behind ours. Ours is lower, since the server's refuses
// removals too.
func limitWithSlack(n int64) int64 {
	if n == 0 {
		return unlimited
	}
	return n + n/8 + 64<<20
}

// present says that the folder, or the files of one of these partitions, are there no more: removed or replaced by somebody while the server has them
// open. What it writes then is lost, and it does not notice.
func (e *embedded) present(parts []*partition) error {
	if e.lock == nil {
		return nil
	}
	err := e.lock.lock.Check()
	// In a cluster a node has the streams that the cluster gives it.
	for i := 0; err == nil && e.cfg.Cluster == nil && i < len(parts); i++ {
		dir := filepath.Join(e.dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", parts[i].stream, "msgs")
		if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s was removed", lockfile.ErrGone, dir)
		}
	}
	return err
}

// running is the server while it runs, else nil.
func (e *embedded) running() *server.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.srv
}

// id is the running server's, another after each start.
func (e *embedded) id() string {
	if srv := e.running(); srv != nil {
		return srv.ID()
	}
	return ""
}

// metaLeader is the node that places the cluster's streams, "" while there is none.
func (e *embedded) metaLeader() string {
	srv := e.running()
	if srv == nil {
		return ""
	}
	info, err := srv.Jsz(nil)
	if err != nil || info.Meta == nil {
		return "" // it is being started or stopped
	}
	return info.Meta.Leader
}

// InProcessConn makes a connection; it is how nats.go reaches the server, also after a restart.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, fmt.Errorf("%w: the embedded server is not running", ErrUnavailable)
	}
	return srv.InProcessConn()
}

func (e *embedded) stop() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		if e.entrance != nil {
			e.entrance.hurry()
		}
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// restart is what ends a frozen stream: nothing else clears a file store's write error.
func (e *embedded) restart(ctx context.Context) error {
	e.stop()
	e.frozen.Store(nil)
	return e.start(ctx)
}

func (e *embedded) release() {
	if e.temp {
		if err := os.RemoveAll(e.dir); err != nil {
			e.cfg.Logger.Warn("the temporary folder stays", "dir", e.dir, "error", err)
		}
		return
	}
	if err := e.lock.close(); err != nil {
		e.cfg.Logger.Warn("the folder's lock was not released", "dir", e.dir, "error", err)
	}
}

func (e *embedded) close() {
	e.stop()
	e.release()
}

// serverLog passes the server's log on, and hears of write errors: the server answers the failed
// write with silence, so its log is the only word of it.
type serverLog struct {
	log  *slog.Logger
	e    *embedded
	once sync.Once // tells of a crash
}

func (l *serverLog) Noticef(format string, v ...any) { l.out(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.out(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  {}

// Fatalf notes why the server gives up. Whoever starts it tells that.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.e.fatal.Store(&text)
	l.out(slog.LevelDebug, format, v)
}

func (l *serverLog) Warnf(format string, v ...any) {
	level := slog.LevelWarn
	text := fmt.Sprintf(format, v...) // some formats are "%s"
	begins := func(with string) bool { return strings.HasPrefix(text, with) }
	switch {
	case l.e.cfg.Cluster != nil && strings.Contains(text, " - Readloop processing time: "): // a connection that was refused late
		level = slog.LevelDebug
	case begins("Maximum payloads over"), begins("Plaintext passwords"), begins("Waiting for routing"), begins("JetStream has not established contact"):
		level = slog.LevelDebug // ours are, by design; what the node waits for it says itself
	case l.e.cfg.Cluster != nil && l.e.cfg.Cluster.Grow && strings.Contains(text, "TTL state is outdated;"):
		level = slog.LevelDebug // a mirror was promoted: what it has is looked through for what expires
	case afterCrash(text):
		level = slog.LevelDebug // several for each stream
		l.once.Do(func() {
			l.log.Warn("the last run was not stopped in order: the streams are read through")
		})
	}
	l.out(level, format, v)
}

// afterCrash tells the warnings that any crash leaves, for each stream, from those of damage: the server wrote more than
// its summary knows, which it therefore makes again.
func afterCrash(text string) bool {
	return strings.HasPrefix(text, "Filestore [") &&
		(strings.Contains(text, "state is outdated;") || strings.Contains(text, "Stream state outdated,") || strings.HasSuffix(text, "from index errored: prior state file"))
}

func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if why := refusal(text); why != "" {
		l.e.refused.Store(&why)
		if at, ok := turnedAway(text); ok {
			l.e.away.Store(true)
			l.e.entrance.turnedAway(at)
		}
		l.out(slog.LevelDebug, format, v) // whoever opens the grid tells it
		return
	}
	if at, why, ok := stranger(text); ok && l.e.entrance != nil {
		if !l.e.entrance.hasTold(text) {
			l.e.entrance.tellStranger(at, why, time.Now())
		}
		return
	}
	l.out(l.level(text), format, v)
	if strings.Contains(strings.ToLower(text), "critical write error") {
		if l.e.frozen.CompareAndSwap(nil, &text) {
			l.e.onFrozen(text)
		}
	}
}

// level is less for what is no fault of this node: others that are not there yet, or no more.
func (l *serverLog) level(text string) slog.Level {
	switch {
	case strings.HasPrefix(text, "Error trying to connect to route"), strings.Contains(text, " - Error flushing: "):
		return slog.LevelDebug
	case strings.Contains(text, " - processRemoteSub Parse Error: ") && l.e.entrance.isOpen(): // of a node that does not let this one in, as where the name is taken; that is told
		return slog.LevelDebug
	}
	return slog.LevelError
}

func (l *serverLog) out(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "nats: "+fmt.Sprintf(format, v...))
	}
}
