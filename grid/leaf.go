package grid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// leafAgain is the pause before the server of a node alone looks for the cluster again.
	leafAgain = 100 * time.Millisecond
	// leafTime is how long a connection to the cluster may take, and leafTry after what time it is begun anew: where the cluster still knows the one before, the server waits for 30 s
	// before it tries again by itself.
	leafTime = 20 * time.Second
	leafTry  = 3 * time.Second
)

// bridge is a listener on loopback. What the server in this process sends there goes to the cluster, whichever way leads to it.
type bridge struct {
	listener net.Listener
	dial     func(ctx context.Context) (io.ReadWriteCloser, error)
	running  sync.WaitGroup
	done     chan struct{}

	mu     sync.Mutex
	conns  map[io.Closer]struct{}
	failed error // why the last connection was not made
}

func newBridge(dial func(ctx context.Context) (io.ReadWriteCloser, error)) (*bridge, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the server in this process: %w", err)
	}
	b := &bridge{listener: l, dial: dial, done: make(chan struct{}), conns: map[io.Closer]struct{}{}}
	b.running.Go(b.run)
	return b, nil
}

func (b *bridge) run() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return // it is closed
		}
		b.running.Go(func() { b.carry(conn) })
	}
}

// carry copies between a connection and a new one to the cluster until one of them ends.
func (b *bridge) carry(near net.Conn) {
	defer near.Close()
	ctx, cancel := context.WithTimeout(until(b.done), leafTime)
	far, err := b.dial(ctx)
	cancel()
	b.mu.Lock()
	b.failed = err
	b.mu.Unlock()
	if err != nil {
		return
	}
	defer far.Close()
	if !b.hold(near, far) {
		return
	}
	defer b.letGo(near, far)
	var copying sync.WaitGroup
	for _, way := range [][2]io.ReadWriter{{near, far}, {far, near}} {
		copying.Go(func() {
			// How it ended is no matter: the server makes the connection again.
			_, _ = io.Copy(way[0], way[1])
			_ = near.Close()
			_ = far.Close()
		})
	}
	copying.Wait()
}

// hold notes connections that close ends; false once it is closed.
func (b *bridge) hold(conns ...io.Closer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isDone(b.done) {
		return false
	}
	for _, c := range conns {
		b.conns[c] = struct{}{}
	}
	return true
}

func (b *bridge) letGo(conns ...io.Closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		delete(b.conns, c)
	}
}

// trouble is why the cluster was not reached lately.
func (b *bridge) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

func (b *bridge) close() {
	b.mu.Lock()
	close(b.done)
	for c := range b.conns {
		_ = c.Close() // both ends of what it carried
	}
	b.mu.Unlock()
	_ = b.listener.Close()
	b.running.Wait()
}

// join has the server in this process connect to a cluster over a bridge, beside what it does.
func (e *embedded) join(b *bridge, password string) error {
	e.mu.Lock()
	e.leaf = &server.RemoteLeafOpts{
		URLs: []*url.URL{{Scheme: "nats-leaf", Host: b.listener.Addr().String(), User: url.UserPassword(routeUser, password)}}, LocalAccount: server.DEFAULT_GLOBAL_ACCOUNT,
	}
	e.mu.Unlock()
	return e.reload()
}

// leave ends that connection, and returns when it is over, or leafTry later: the next one would be taken for it.
func (e *embedded) leave() error {
	e.mu.Lock()
	e.leaf = nil
	e.mu.Unlock()
	err := e.reload()
	for began := time.Now(); err == nil && time.Since(began) < leafTry; time.Sleep(time.Millisecond) {
		if srv := e.running(); srv == nil || srv.NumLeafNodes() == 0 {
			break
		}
	}
	return err
}

func (e *embedded) reload() error {
	srv := e.running()
	if srv == nil {
		return fmt.Errorf("%w: the embedded server is not running", ErrUnavailable)
	}
	opts, err := e.options()
	if err != nil {
		return err
	}
	if err := srv.ReloadOptions(opts); err != nil {
		return fmt.Errorf("connect the embedded server to the cluster: %w", err)
	}
	return nil
}

// joined waits until the server has a connection to the cluster.
func (e *embedded) joined(ctx context.Context, b *bridge) error {
	for {
		if srv := e.running(); srv != nil && srv.NumLeafNodes() > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the cluster is not reached: %w", ErrUnavailable, errors.Join(b.trouble(), ctx.Err()))
		case <-time.After(joinEvery):
		}
	}
}

// remap has what clients in this process publish go elsewhere. Both are subjects that end in ">".
func (e *embedded) remap(from, to string) error {
	srv := e.running()
	if srv == nil {
		return fmt.Errorf("%w: the embedded server is not running", ErrUnavailable)
	}
	if err := srv.GlobalAccount().AddMapping(from, to); err != nil {
		return fmt.Errorf("have %s go to %s: %w", from, to, err)
	}
	return nil
}

// unmap undoes remap.
func (e *embedded) unmap(from string) {
	if srv := e.running(); srv != nil {
		srv.GlobalAccount().RemoveMapping(from)
	}
}
