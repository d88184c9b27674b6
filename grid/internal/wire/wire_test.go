package wire_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/grid/internal/wire"
)

// copyOf keeps a message beyond its handler.
func copyOf(m *wire.Msg) *wire.Msg {
	return &wire.Msg{
		Subject: bytes.Clone(m.Subject), Reply: bytes.Clone(m.Reply),
		Header: wire.Header(bytes.Clone(m.Header)), Data: bytes.Clone(m.Data),
	}
}

func TestMessagesArriveInOrderAsTheyWereSent(t *testing.T) {
	srv := serve(t, nil)
	c, nc := dial(t, srv, nil), other(t, srv)
	got := make(chan *wire.Msg, 10_000)
	subscribe(t, c, "from.>", func(m *wire.Msg) { got <- copyOf(m) })
	var b wire.Batch
	for i := range 5000 {
		var h wire.Header
		if i%2 == 0 {
			h = h.Append("Number", fmt.Sprint(i)).Append("Empty", "")
		}
		add(t, &b, fmt.Sprintf("from.wire.%d", i), strings.Repeat("r", i%3), h, bytes.Repeat([]byte{byte(i)}, i))
		if b.Len() == 1+i%100 {
			send(t, c, &b)
		}
	}
	send(t, c, &b)
	for i := range 5000 {
		m := within(t, got)
		if want := fmt.Sprintf("from.wire.%d", i); string(m.Subject) != want {
			t.Fatalf("subject %s, want %s", m.Subject, want)
		}
		if string(m.Reply) != strings.Repeat("r", i%3) || !bytes.Equal(m.Data, bytes.Repeat([]byte{byte(i)}, i)) {
			t.Fatalf("message %d: reply %q and %d bytes", i, m.Reply, len(m.Data))
		}
		if v, ok := m.Header.Value("Number"); ok != (i%2 == 0) || ok && string(v) != fmt.Sprint(i) {
			t.Fatalf("message %d has number %q", i, v)
		}
		if v, ok := m.Header.Value("Empty"); ok != (i%2 == 0) || len(v) > 0 {
			t.Fatalf("message %d has %q", i, v)
		}
	}
	// nats.go reads what we write, and we what it writes.
	sub, err := nc.SubscribeSync("to.nats")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	add(t, &b, "to.nats", "answer", wire.Header(nil).Append("A", "1").Append("B", "two\r\nlines").Append("A", "3"), []byte("x"))
	send(t, c, &b)
	m, err := sub.NextMsgWithContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(m.Header) != "map[A:[1 3] B:[two  lines]]" || m.Reply != "answer" || string(m.Data) != "x" {
		t.Fatalf("nats.go got %+v", m)
	}
	if err := nc.PublishMsg(&nats.Msg{Subject: "from.nats", Header: m.Header, Data: m.Data}); err != nil {
		t.Fatal(err)
	}
	back := within(t, got)
	var lines []string
	for name, value := range back.Header.All() {
		lines = append(lines, fmt.Sprintf("%s=%s", name, value))
	}
	if s := strings.Join(lines, " "); s != "A=1 A=3 B=two  lines" && s != "B=two  lines A=1 A=3" || back.Reply != nil {
		t.Fatalf("from nats.go came %q, reply %q", s, back.Reply)
	}
	// A received header block can be sent on.
	add(t, &b, "from.again", "", back.Header, nil)
	send(t, c, &b)
	if again := within(t, got); !bytes.Equal(again.Header, back.Header) {
		t.Fatalf("sent on: %q, of %q", again.Header, back.Header)
	}
}

func TestNoResponders(t *testing.T) {
	c := dial(t, serve(t, nil), nil)
	got := make(chan *wire.Msg, 1)
	subscribe(t, c, "inbox", func(m *wire.Msg) { got <- copyOf(m) })
	var b wire.Batch
	add(t, &b, "nobody", "inbox", nil, []byte("hello"))
	send(t, c, &b)
	m := within(t, got)
	if code, _ := m.Header.Status(); code != 503 || len(m.Data) > 0 {
		t.Fatalf("status %d with %q", code, m.Data)
	}
}

func TestLargeMessages(t *testing.T) {
	srv := serve(t, nil)
	c := dial(t, srv, nil)
	got := make(chan *wire.Msg, 1)
	subscribe(t, c, "large", func(m *wire.Msg) { got <- copyOf(m) })
	var b wire.Batch
	h := wire.Header(nil).Append("A", "b")
	whole := c.MaxPayload() - len(h) - 2
	if c.MaxPayload() != maxPayload {
		t.Fatalf("max_payload %d", c.MaxPayload())
	}
	for _, size := range []int{0, 1, 32<<10 - 1, 32 << 10, 64 << 10, 128 << 10, 1 << 20, 8 << 20, whole, 10, whole} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 31)
		}
		add(t, &b, "large", "", h, data)
		add(t, &b, "large", "", nil, []byte("after"))
		send(t, c, &b)
		if m := within(t, got); !bytes.Equal(m.Data, data) || string(m.Header) != string(h)+"\r\n" {
			t.Fatalf("of %d bytes came %d, headers %q", size, len(m.Data), m.Header)
		}
		if m := within(t, got); string(m.Data) != "after" || m.Header != nil {
			t.Fatalf("after %d bytes came %q", size, m.Data)
		}
	}
	// One byte more is refused before the server, which would end the connection.
	add(t, &b, "large", "", nil, []byte("before"))
	add(t, &b, "large", "", h, make([]byte, whole+1))
	wantErr(t, c.Send(&b), wire.ErrTooLarge)
	b.Reset()
	add(t, &b, "large", "", nil, []byte("after"))
	send(t, c, &b)
	if m := within(t, got); string(m.Data) != "after" {
		t.Fatalf("got %q", m.Data)
	}
}

func TestBatchRefusesWhatWouldBreakTheProtocol(t *testing.T) {
	srv := serve(t, nil)
	c := dial(t, srv, nil)
	got := make(chan *wire.Msg, 2)
	subscribe(t, c, ">", func(m *wire.Msg) { got <- copyOf(m) })
	var b wire.Batch
	add(t, &b, "first", "", nil, nil)
	for _, bad := range []struct {
		subject, reply string
		header         wire.Header
		want           error
	}{
		{"", "", nil, wire.ErrSubject},
		{"a b", "", nil, wire.ErrSubject},
		{"a\r\nPUB b", "", nil, wire.ErrSubject},
		{"a\tb", "", nil, wire.ErrSubject},
		{"a", "b c", nil, wire.ErrSubject},
		{"a", "b\n", nil, wire.ErrSubject},
		{"a", "", wire.Header("A: b\r\n\r\n"), wire.ErrHeader},
		{strings.Repeat("a", 4090), "", nil, wire.ErrTooLarge},
		{strings.Repeat("a", 3000), strings.Repeat("r", 1090), nil, wire.ErrTooLarge},
	} {
		wantErr(t, b.Publish(bad.subject, []byte(bad.reply), bad.header, nil), bad.want)
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.>.b", "a\r\n", strings.Repeat("a", 5000)} {
		if _, err := c.Subscribe(bad, func(*wire.Msg) {}); err == nil {
			t.Errorf("subscribed to %.20q", bad)
		}
	}
	longest := strings.Repeat("a", 2000)
	add(t, &b, longest, strings.Repeat("r", 4096-24-2000), wire.Header(nil).Append("A", "b"), make([]byte, 1<<20))
	send(t, c, &b)
	if m := within(t, got); string(m.Subject) != "first" {
		t.Fatalf("got %q", m.Subject)
	}
	if m := within(t, got); string(m.Subject) != longest {
		t.Fatalf("got %q", m.Subject)
	}
}

func TestManySenders(t *testing.T) {
	const senders, batches, size = 16, 50, 20
	srv := serve(t, nil)
	c, from := dial(t, srv, nil), dial(t, srv, nil)
	var next [senders]int
	done, bad := make(chan bool), make(chan string, 1)
	total := 0
	subscribe(t, c, "many.*", func(m *wire.Msg) {
		var s, n int
		if _, err := fmt.Sscanf(string(m.Subject)+" "+string(m.Data[:8]), "many.%d %d", &s, &n); err != nil || n != next[s] {
			select {
			case bad <- fmt.Sprintf("%s: %.8s, want %d: %v", m.Subject, m.Data, next[s], err):
			default:
			}
		}
		next[s] = n + 1
		if total++; total == senders*batches*size {
			close(done)
		}
	})
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			var b wire.Batch
			for n := range batches * size {
				data := append(fmt.Appendf(nil, "%08d", n), make([]byte, n%20/19*40_000)...) // some by reference
				if err := b.Publish(fmt.Sprintf("many.%d", s), nil, nil, data); err != nil {
					t.Error(err)
				}
				if b.Len() == size {
					if err := from.Send(&b); err != nil {
						t.Error(err)
					}
					b.Reset()
				}
			}
		})
	}
	wg.Wait()
	within(t, done)
	select {
	case s := <-bad:
		t.Fatal(s)
	default:
	}
}

func TestUnsubscribe(t *testing.T) {
	c := dial(t, serve(t, nil), nil)
	kept, dropped := make(chan string, 10), make(chan string, 10)
	sid := subscribe(t, c, "a", func(m *wire.Msg) { dropped <- string(m.Data) })
	subscribe(t, c, "*", func(m *wire.Msg) { kept <- string(m.Data) })
	var b wire.Batch
	add(t, &b, "a", "", nil, []byte("1"))
	send(t, c, &b)
	within(t, kept)
	within(t, dropped)
	for range 2 {
		if err := c.Unsubscribe(sid); err != nil {
			t.Fatal(err)
		}
	}
	add(t, &b, "a", "", nil, []byte("2"))
	send(t, c, &b)
	within(t, kept)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(dropped) > 0 {
		t.Fatalf("came after the end: %q", <-dropped)
	}
}

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

func TestSendInHandler(t *testing.T) {
	c := dial(t, serve(t, nil), nil)
	const last = 20_000
	got := make(chan int, 1)
	n := 0
	var b wire.Batch
	subscribe(t, c, "loop", func(m *wire.Msg) {
		if n++; n == last {
			got <- n
		}
		if n > last-100 {
			return
		}
		b.Reset()
		if err := b.Publish("loop", nil, nil, m.Data); err != nil {
			t.Error(err)
		}
		if err := c.Send(&b); err != nil {
			t.Error(err)
		}
	})
	var first wire.Batch
	for range 100 {
		add(t, &first, "loop", "", nil, make([]byte, 1000))
	}
	send(t, c, &first)
	within(t, got)
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
