package wire_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/millrace/millrace/grid/internal/wire"
)

func TestServerEnds(t *testing.T) {
	srv := serve(t, nil)
	ended := make(chan error, 10)
	c := dial(t, srv, func(err error) { ended <- err })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		var b wire.Batch
		for failed == nil {
			_ = b.Publish("x", nil, nil, make([]byte, 1000))
			failed = c.Send(&b)
			b.Reset()
		}
		close(stop)
	})
	srv.Shutdown()
	why := within(t, ended)
	within(t, stop)
	wg.Wait()
	if why == nil || failed == nil {
		t.Fatalf("onClose got %v, Send %v", why, failed)
	}
	if _, err := c.Subscribe("x", func(*wire.Msg) {}); err == nil {
		t.Fatal("subscribed after the end")
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Fatal("pinged after the end")
	}
	c.Close()
	c.Close()
	if len(ended) > 0 {
		t.Fatalf("onClose was called again: %v", <-ended)
	}
}

func TestClose(t *testing.T) {
	srv := serve(t, nil)
	var c *wire.Conn
	c = dial(t, srv, nil) // fails where onClose is called
	within(t, closed(c))
	wantErr(t, c.Ping(t.Context()), wire.ErrClosed)
	_, err := c.Subscribe("x", func(*wire.Msg) {})
	wantErr(t, err, wire.ErrClosed)
	var b wire.Batch
	add(t, &b, "x", "", nil, nil)
	wantErr(t, c.Send(&b), wire.ErrClosed)

	// It waits for the handler.
	c = dial(t, srv, nil)
	began, leave := make(chan struct{}), make(chan struct{})
	finished := false
	subscribe(t, c, "x", func(*wire.Msg) {
		close(began)
		<-leave
		finished = true
	})
	send(t, c, &b)
	within(t, began)
	done := closed(c)
	select {
	case <-done:
		t.Fatal("closed while a handler ran")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	within(t, done)
	if !finished {
		t.Fatal("the handler was not waited for")
	}
}

func closed(c *wire.Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		c.Close()
		close(done)
	}()
	return done
}

// A handler that is busy loses nothing as long as the server's MaxPending holds what comes.
func TestSlowHandlerWithinThePending(t *testing.T) {
	srv := serve(t, nil)
	c, from := dial(t, srv, nil), dial(t, srv, nil)
	const messages, size = 100, 1 << 20 // 100 MiB, of 256
	leave, done := make(chan struct{}), make(chan struct{})
	n := 0
	subscribe(t, c, "x", func(m *wire.Msg) {
		<-leave
		if m.Data[0] != byte(n) {
			t.Errorf("message %d came instead of %d", m.Data[0], n)
		}
		if n++; n == messages {
			close(done)
		}
	})
	var b wire.Batch
	for i := range messages {
		data := make([]byte, size)
		data[0] = byte(i)
		add(t, &b, "x", "", nil, data)
		send(t, from, &b)
	}
	if err := from.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(leave)
	within(t, done)
}

// Over MaxPending, and past its write deadline, the server ends the connection.
func TestSlowHandlerIsEnded(t *testing.T) {
	for name, change := range map[string]func(*server.Options){
		"pending":  func(o *server.Options) { o.MaxPending = 1 << 20 },
		"deadline": func(o *server.Options) { o.WriteDeadline = 20 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, func(o *server.Options) { o.MaxPayload = 512 << 10; change(o) })
			ended := make(chan error, 1)
			c, from := dial(t, srv, func(err error) { ended <- err }), dial(t, srv, nil)
			leave := make(chan struct{})
			var once sync.Once
			t.Cleanup(func() { once.Do(func() { close(leave) }) })
			subscribe(t, c, "x", func(*wire.Msg) { <-leave })
			var b wire.Batch
			for srv.NumSlowConsumers() == 0 {
				add(t, &b, "x", "", nil, make([]byte, 100<<10))
				send(t, from, &b)
			}
			once.Do(func() { close(leave) })
			if err := within(t, ended); err == nil {
				t.Fatal("ended without a reason")
			}
		})
	}
}

func TestDialFails(t *testing.T) {
	t.Run("authorization", func(t *testing.T) {
		srv := serve(t, func(o *server.Options) { o.Authorization = "secret" })
		_, err := wire.Dial(t.Context(), pipe(t, srv), "test", nil)
		wantErr(t, err, wire.ErrRefused)
		if !strings.Contains(err.Error(), "Authorization Violation") {
			t.Fatal(err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		srv := serve(t, func(o *server.Options) { o.MaxConn = -1 })
		_, err := wire.Dial(t.Context(), pipe(t, srv), "test", nil)
		wantErr(t, err, wire.ErrRefused)
	})
	t.Run("context", func(t *testing.T) {
		for _, greeting := range []string{"", "INFO {\"max_payload\":1024}\r\n"} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := wire.Dial(ctx, says(t, greeting), "test", nil)
			wantErr(t, err, context.DeadlineExceeded)
		}
	})
	t.Run("closed", func(t *testing.T) {
		srv := serve(t, nil)
		conn := pipe(t, srv)
		_ = conn.Close()
		if _, err := wire.Dial(t.Context(), conn, "test", nil); err == nil {
			t.Fatal("connected")
		}
	})
}

func TestServerRefuses(t *testing.T) {
	srv := serve(t, func(o *server.Options) { o.MaxSubs = 1 })
	ended := make(chan error, 1)
	c := dial(t, srv, func(err error) { ended <- err })
	for range 2 {
		if _, err := c.Subscribe("x", func(*wire.Msg) {}); err != nil {
			t.Fatal(err)
		}
	}
	err := within(t, ended)
	wantErr(t, err, wire.ErrRefused)
	if !strings.Contains(err.Error(), "subscriptions") {
		t.Fatal(err)
	}
	var b wire.Batch
	add(t, &b, "x", "", nil, nil)
	wantErr(t, c.Send(&b), wire.ErrRefused)
}

// The server pings, and ends a connection that does not answer.
func TestPingIsAnswered(t *testing.T) {
	srv := serve(t, func(o *server.Options) { o.PingInterval, o.MaxPingsOut = 10*time.Millisecond, 1 })
	c := dial(t, srv, nil)
	got := make(chan struct{})
	subscribe(t, c, "x", func(*wire.Msg) { close(got) })
	time.Sleep(300 * time.Millisecond) // 30 intervals: what is awaited is that nothing happens
	var b wire.Batch
	add(t, &b, "x", "", nil, nil)
	send(t, c, &b)
	within(t, got)
}

// A server that does not read holds up its senders before much is collected, and Close lets them go.
func TestSendersWaitForTheServer(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		_, _ = theirs.Write([]byte(greeting))
		for b, n := make([]byte, 1000), 0; !bytes.Contains(b[:n], []byte("PING\r\n")); {
			more, err := theirs.Read(b[n:])
			if err != nil {
				return
			}
			n += more
		}
	}()
	c, err := wire.Dial(t.Context(), ours, "test", func(error) { t.Error("onClose was called") })
	if err != nil {
		t.Fatal(err)
	}
	within(t, greeted)
	var sent atomic.Int64
	ends := make(chan error, 3)
	for range cap(ends) {
		go func() {
			var b wire.Batch
			var err error
			for err == nil {
				b.Reset()
				for range 100 {
					add(t, &b, "x", "", nil, make([]byte, 1000))
				}
				if err = c.Send(&b); err == nil {
					sent.Add(int64(b.Size()))
				}
			}
			ends <- err
		}()
	}
	for sent.Load() < wire.PendingMax {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // that no more is taken cannot be waited for
	if n := sent.Load(); n > wire.PendingMax+200_000 {
		t.Errorf("%d bytes were taken, of at most %d", n, wire.PendingMax)
	}
	c.Close()
	for range cap(ends) {
		wantErr(t, within(t, ends), wire.ErrClosed)
	}
}
