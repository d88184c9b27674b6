package wire_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/grid/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const maxPayload = 8<<20 + 64<<10

// serve starts a server as the grid embeds it.
func serve(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		ServerName: "wire", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		MaxPayload: maxPayload, MaxPending: 256 << 20, NoSystemAccount: true,
	}
	if change != nil {
		change(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return srv
}

// dial connects to it. Without onClose, an end that the test did not make fails it.
func dial(t testing.TB, srv *server.Server, onClose func(error)) *wire.Conn {
	t.Helper()
	if onClose == nil {
		onClose = func(err error) { t.Errorf("the connection ended: %v", err) }
	}
	c, err := wire.Dial(t.Context(), pipe(t, srv), "test", onClose)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func pipe(t testing.TB, srv *server.Server) net.Conn {
	t.Helper()
	conn, err := srv.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// other is a connection of nats.go to the same server.
func other(t testing.TB, srv *server.Server) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// stream makes a stream, and says how to reach it.
func stream(t testing.TB, srv *server.Server, cfg jetstream.StreamConfig) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(other(t, srv), jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return js
}

func subscribe(t testing.TB, c *wire.Conn, subject string, handle func(*wire.Msg)) uint64 {
	t.Helper()
	sid, err := c.Subscribe(subject, handle)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sid
}

func add(t testing.TB, b *wire.Batch, subject, reply string, h wire.Header, data []byte) {
	t.Helper()
	if err := b.Publish(subject, []byte(reply), h, data); err != nil {
		t.Fatal(err)
	}
}

func send(t testing.TB, c *wire.Conn, b *wire.Batch) {
	t.Helper()
	if err := c.Send(b); err != nil {
		t.Fatal(err)
	}
	b.Reset()
}

// within waits for what a test expects to come.
func within[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30s")
	}
	panic("unreachable")
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// says is a server's side that says one thing, reads what comes, and ends with the test.
func says(t testing.TB, text string) net.Conn {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := theirs.Write([]byte(text)); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, theirs)
	}()
	t.Cleanup(func() {
		_ = theirs.Close()
		<-done
	})
	return ours
}
