package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"testing"

	"github.com/millrace/millrace/grid/internal/wire"
)

func TestReadingAllocatesNothing(t *testing.T) {
	const messages = 10_000
	var says []byte
	for i := range messages {
		data := bytes.Repeat([]byte{'x'}, i%1000)
		says = fmt.Appendf(says, "HMSG s.digits.%d 1 reply.%d 22 %d\r\nNATS/1.0\r\nKey: val\r\n\r\n%s\r\n", i, i, 22+len(data), data)
	}
	ended := make(chan error, 1)
	conn := &script{greeting: []byte(greeting), says: says, piece: 5000, begin: make(chan struct{})}
	c, err := wire.Dial(t.Context(), conn, "test", func(err error) { ended <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := 0
	if _, err := c.Subscribe("s.>", func(m *wire.Msg) {
		if v, ok := m.Header.Value("Key"); ok && string(v) == "val" && len(m.Data) == got%1000 {
			got++
		}
	}); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	close(conn.begin)
	err = within(t, ended)
	runtime.ReadMemStats(&after)
	wantErr(t, err, io.EOF)
	if got != messages {
		t.Fatalf("%d messages of %d", got, messages)
	}
	if n := after.Mallocs - before.Mallocs; n > messages/20 { // the test's own, and the runtime's
		t.Fatalf("%d allocations for %d messages", n, messages)
	}
}

func TestABatchAllocatesNothing(t *testing.T) {
	conn := &script{greeting: []byte(greeting), piece: 5000, begin: make(chan struct{})}
	c, err := wire.Dial(t.Context(), conn, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer close(conn.begin)
	var b wire.Batch
	var h wire.Header
	var reply []byte
	data := make([]byte, 200)
	fill := func() {
		b.Reset()
		for n := range 256 {
			reply = strconv.AppendInt(append(reply[:0], "reply."...), int64(n), 10)
			h = h[:0].Append("Nats-Expected-Last-Subject-Sequence", "0").Append("Content-Type", "text/plain")
			if err := b.Publish("subject", reply, h, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	if n := testing.AllocsPerRun(20, func() {
		fill()
		if err := c.Send(&b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// The read buffer grows for a large message and shrinks again.
func TestReadBufferShrinks(t *testing.T) {
	c := dial(t, serve(t, nil), nil)
	sizes := make(chan int)
	subscribe(t, c, "x", func(*wire.Msg) { sizes <- wire.BufferSize(c) })
	var b wire.Batch
	for range 2 {
		add(t, &b, "x", "", nil, make([]byte, 8<<20))
		send(t, c, &b)
		if n := within(t, sizes); n < 8<<20 || n > 8<<20+wire.ReadSlack {
			t.Fatalf("the buffer has %d bytes", n)
		}
	}
	n := 0
	for range 2 * wire.ShrinkAfter {
		add(t, &b, "x", "", nil, []byte("small"))
		send(t, c, &b)
		n = within(t, sizes)
	}
	if n != wire.ReadBuffer {
		t.Fatalf("the buffer still has %d bytes", n)
	}
}
