package wire_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

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

// What the server sent before it heard of the end is not handed out either.
func TestUnsubscribeInHandler(t *testing.T) {
	c := dial(t, serve(t, nil), nil)
	got := 0
	var sid uint64
	sid = subscribe(t, c, "a", func(*wire.Msg) {
		got++
		if err := c.Unsubscribe(sid); err != nil {
			t.Error(err)
		}
	})
	var b wire.Batch
	for range 1000 {
		add(t, &b, "a", "", nil, nil)
	}
	send(t, c, &b)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got != 1 {
		t.Fatalf("%d messages were handed out", got)
	}
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
