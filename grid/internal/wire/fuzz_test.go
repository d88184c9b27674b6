package wire_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid/internal/wire"
)

const (
	scriptMax = 1024
	greeting  = `INFO {"max_payload":1024}` + "\r\nPONG\r\n"
)

// script is a connection on which the server says what is written down, a piece a read, and closes. What comes after its
// greeting it says when the test lets it.
type script struct {
	net.Conn
	greeting, says []byte
	piece          int
	begin          chan struct{}
}

func (s *script) Read(p []byte) (int, error) {
	from := &s.greeting
	if len(s.greeting) == 0 {
		<-s.begin
		from = &s.says
	}
	if len(*from) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], *from)
	*from = (*from)[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }
func (s *script) Close() error                { return nil }

// heard is what a client makes of the server's bytes, read in pieces: the messages of subscriptions 1 and 2, and why it ended.
func heard(t *testing.T, says []byte, piece int) (messages []string) {
	t.Helper()
	ended := make(chan error, 1)
	conn := &script{greeting: []byte(greeting), says: says, piece: piece, begin: make(chan struct{})}
	c, err := wire.Dial(t.Context(), conn, "fuzz", func(err error) { ended <- err })
	if err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if _, err := c.Subscribe("x", func(m *wire.Msg) {
			messages = append(messages, fmt.Sprintf("%d %q %q %v %q %q", n, m.Subject, m.Reply, m.Header != nil, m.Header, m.Data))
		}); err != nil {
			t.Fatal(err)
		}
	}
	close(conn.begin)
	why := within(t, ended)
	c.Close()
	if n, most := wire.BufferSize(c), scriptMax+wire.ReadSlack; n > most {
		t.Fatalf("the buffer grew to %d bytes, of at most %d", n, most)
	}
	return append(messages, why.Error())
}

// serverSays are the seeds: each form that a server's line has, and what is wrong with one.
var serverSays = []string{
	"MSG a.b 1 5\r\nhello\r\nMSG a 2 reply 0\r\n\r\nPING\r\nMSG other 3 1\r\nx\r\n+OK\r\nINFO {\"max_payload\":2048}\r\n",
	"HMSG a 1 22 27\r\nNATS/1.0\r\nKey: val\r\n\r\nhello\r\n",
	"HMSG a 1 reply 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
	"HMSG a 1 0 2\r\nhi\r\n",
	"MSG a 1 5\nhello\r\n", // a bare line feed ends a line, as for nats.go
	"MSG a 1 5\r\nhello\n\n",
	"MSG a 1 5\r\nhelloMSG a 1 1\r\n",
	"MSG a 1 5\r\nhel",
	"MSG a 1 5",
	"MSG a 1 -5\r\nhello\r\n",
	"MSG a -1 5\r\nhello\r\n",
	"MSG a 1 2000000\r\nhello\r\n",
	"MSG a 1 999999999999999999\r\nhello\r\n",
	"MSG a 1 99999999999999999999999999\r\nhello\r\n",
	"MSG a 99999999999999999999999999 5\r\nhello\r\n",
	"MSG a 1 \r\n\r\n",
	"MSG  1 5\r\nhello\r\n",
	"MSG a 1\r\n\r\n",
	"MSG a 1 b c 5\r\nhello\r\n",
	"MSG a 1 b c d e f g 5\r\nhello\r\n",
	"MSG\r\n",
	"HMSG a 1 9 5\r\nhello\r\n",
	"HMSG a 1 -1 5\r\nhello\r\n",
	"HMSG a 1 5\r\nhello\r\n",
	"-ERR 'Slow Consumer'\r\nMSG a 1 0\r\n\r\n",
	"-ERR\r\n",
	"PONG\r\n",
	"PUB a 1\r\nx\r\n",
	"\r\n",
	"\x00\xff\n",
	"MSG a 1 1040\r\n" + strings.Repeat("x", 1040) + "\r\nMSG b 1 1\r\ny\r\n",
}

// FuzzRead: whatever the server sends, in whatever pieces, is read alike, ends, and needs a bounded buffer.
func FuzzRead(f *testing.F) {
	for i, s := range serverSays {
		f.Add([]byte(s), uint16(i))
	}
	f.Fuzz(func(t *testing.T, says []byte, piece uint16) {
		whole := heard(t, says, len(says)+1)
		for _, size := range []int{1, 1 + int(piece)} {
			if parts := heard(t, says, size); !slices.Equal(parts, whole) {
				t.Fatalf("in pieces of %d: %q\nwhole: %q", size, parts, whole)
			}
		}
	})
}

// Each seed is read alike when it is split in two anywhere.
func TestReadSplitAnywhere(t *testing.T) {
	for _, s := range serverSays {
		whole := heard(t, []byte(s), len(s)+1)
		for size := 1; size < min(len(s), 100); size++ {
			if parts := heard(t, []byte(s), size); !slices.Equal(parts, whole) {
				t.Fatalf("%q in pieces of %d: %q\nwhole: %q", s, size, parts, whole)
			}
		}
	}
}

// Messages of any size find their place in the read buffer, wherever in it they begin.
func TestReadSizes(t *testing.T) {
	sizes := []int{60_000, 100_000, 1, 127_000, 0, wire.ReadBuffer, 64_000, 90_000, 300_000, 10, 60_000, 5, 120_000, 131_000, 700, 64 << 10}
	var says []byte
	for _, size := range append(sizes, sizes...) {
		says = fmt.Appendf(says, "MSG a 1 %d\r\n%s\r\n", size, bytes.Repeat([]byte{'a' + byte(size%26)}, size))
	}
	for _, piece := range []int{1000, 4096, 50_000, 62_000, 64 << 10, 128 << 10, 1 << 20} {
		got := heard(t, slices.Clone(says), piece)
		for i, size := range append(sizes, sizes...) {
			if want := fmt.Sprintf("0 \"a\" \"\" false \"\" %q", bytes.Repeat([]byte{'a' + byte(size%26)}, size)); got[i] != want {
				t.Fatalf("pieces of %d: message %d of %d bytes is %.60s with %d", piece, i, size, got[i], len(got[i]))
			}
		}
	}
}

func TestReadWhatIsWrong(t *testing.T) {
	for says, want := range map[string]string{
		"MSG a 1 5\r\nhello\n\n":              "without its end",
		"MSG a 1 -5\r\nhello\r\n":             "not NATS",
		"MSG a 1 2000000\r\nhello\r\n":        "of at most",
		"MSG a 1 99999999999999999999\r\n":    "not NATS",
		"HMSG a 1 9 5\r\nhello\r\n":           "not NATS",
		"HMSG a 1 5\r\nhello\r\n":             "not NATS",
		"MSG a 1 b c 5\r\nhello\r\n":          "not NATS",
		"PONG\r\n":                            "PONG without",
		"PUB a 1\r\nx\r\n":                    "not NATS",
		"-ERR 'Slow Consumer'\r\n":            "refused: Slow Consumer",
		"MSG a 1 5\r\nhel":                    "EOF",
		strings.Repeat("M", 70_000) + "\r\n":  "a line of more than",
		"INFO " + strings.Repeat("{", 70_000): "a line of more than",
	} {
		if got := heard(t, []byte(says), 4096); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%.40q gave %.200q, want an error with %q", says, got, want)
		}
	}
}

// FuzzDial: a server that is none is refused, and one that greets is greeted.
func FuzzDial(f *testing.F) {
	for _, s := range []string{
		greeting, "PONG\r\n", "INFO\r\nPONG\r\n", "INFO {}\r\nPONG\r\n", "INFO null\r\n", "INFO {\"max_payload\":-1}\r\nPONG\r\n",
		"INFO {\"max_payload\":99999999999}\r\nPONG\r\n", "INFO {\"max_payload\":67108864}\r\nPING\r\n+OK\r\nPONG\r\n",
		"INFO {\"max_payload\":1024}\r\n-ERR 'Authorization Violation'\r\n", "INFO {\"max_payload\":\"1\"}\r\nPONG\r\n", "",
	} {
		f.Add([]byte(s), uint16(0))
	}
	f.Fuzz(func(t *testing.T, says []byte, piece uint16) {
		conn := &script{says: says, piece: 1 + int(piece), begin: make(chan struct{})}
		close(conn.begin)
		c, err := wire.Dial(t.Context(), conn, "fuzz", nil)
		if err != nil {
			return
		}
		c.Close()
		if c.MaxPayload() <= 0 || !bytes.Contains(says, []byte("PONG")) {
			t.Fatalf("connected to %q with a max_payload of %d", says, c.MaxPayload())
		}
	})
}

// FuzzPublish: whatever Publish takes arrives as it was, and leaves the connection whole.
func FuzzPublish(f *testing.F) {
	f.Add("a.b", []byte("reply"), "Name", "value", []byte("data"))
	f.Add("a", []byte{}, "", "", []byte{})
	f.Add("..", []byte("reply"), "Name", "value", []byte("data"))
	f.Add("a b", []byte("r\r\n"), "A\r\nB", "a\r\n\r\nPUB x 0\r\n", []byte("x\r\nPUB y 0\r\n"))
	f.Add(strings.Repeat("s", 2000), bytes.Repeat([]byte("r"), 2060), "k", "v", bytes.Repeat([]byte("d"), 40_000))
	srv := serve(f, nil)
	c := dial(f, srv, nil)
	got := make(chan *wire.Msg, 100)
	turn := 0
	subscribe(f, c, ">", func(m *wire.Msg) { got <- copyOf(m) })
	f.Fuzz(func(t *testing.T, subject string, reply []byte, name, value string, data []byte) {
		var h wire.Header
		if name != "" {
			h = h.Append(name, value)
		}
		turn++
		before, after := fmt.Sprintf("before.%d", turn), fmt.Sprintf("after.%d", turn)
		var b wire.Batch
		add(t, &b, before, "", nil, nil)
		size := b.Size()
		err := b.Publish("fuzz."+subject, reply, h, data)
		if err != nil && (b.Len() != 1 || b.Size() != size) {
			t.Fatalf("a refused message is in the batch: %v", err)
		}
		add(t, &b, after, "", nil, nil)
		if err := c.Send(&b); err != nil {
			t.Fatal(err)
		}
		for string(within(t, got).Subject) != before { // a turn that failed has left its messages
		}
		m := within(t, got)
		// A subject with an empty token reaches nobody, and the reply is told so.
		if code, _ := m.Header.Status(); code == 503 && bytes.Equal(m.Subject, reply) {
			m = within(t, got)
		}
		if string(m.Subject) == after {
			return
		}
		if err != nil || string(m.Subject) != "fuzz."+subject || !bytes.Equal(m.Reply, reply) || !bytes.Equal(m.Data, data) {
			t.Fatalf("sent %q %q %q, error %v; got %q %q %q", subject, reply, data, err, m.Subject, m.Reply, m.Data)
		}
		if h != nil && !bytes.HasPrefix(m.Header, h) || h == nil && m.Header != nil {
			t.Fatalf("header %q arrived as %q", h, m.Header)
		}
		if m = within(t, got); string(m.Subject) != after {
			t.Fatalf("got %q", m.Subject)
		}
	})
}
