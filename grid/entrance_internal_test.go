package grid

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestStrangers: whoever connects without the secret, or with half a TLS handshake, gets one line of the log a host and minute, and all together get few; how many had none a later line says.
func TestStrangers(t *testing.T) {
	var log strings.Builder
	e := &embedded{entrance: &entrance{c: &Cluster{Name: "c"}, log: slog.New(slog.NewTextHandler(&log, nil))}, cfg: Config{Cluster: &Cluster{Name: "c"}}}
	l := &serverLog{log: e.entrance.log, e: e}
	for i := range 300 {
		l.Errorf("%s - rid:%d - authentication error", fmt.Sprintf("10.0.0.1:%d", 1000+i), i)
	}
	lines := func() []string { return strings.Split(strings.TrimSpace(log.String()), "\n") }
	if got := lines(); len(got) != 1 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "from=10.0.0.1 ") || !strings.Contains(got[0], "it has not shown the secret") {
		t.Fatalf("of one host the log says %q", got)
	}
	l.Errorf("%s - rid:%d - TLS route handshake error: %v", "[fd00::1]:77", 400, "EOF")
	if got := lines(); len(got) != 2 || !strings.Contains(got[1], "from=fd00::1 ") || !strings.Contains(got[1], "the TLS handshake failed: EOF") || !strings.Contains(got[1], "refused_without_a_line=299") {
		t.Fatalf("of half a handshake the log says %q", got[1:])
	}
	for i := range 1000 {
		l.Errorf("%s - rid:%d - authentication error", fmt.Sprintf("10.1.%d.%d:7", i/250, i%250), i)
	}
	if got := lines(); len(got) != strangersMost {
		t.Errorf("of 1002 hosts the log has %d lines, not %d", len(got), strangersMost)
	}
	e.entrance.tellStranger("10.0.0.1:9", "it is here again", time.Now().Add(strangersFor))
	if got := lines(); len(got) != strangersMost+1 || !strings.Contains(got[strangersMost], "refused_without_a_line=986") {
		t.Errorf("a minute later the log says %q", got[len(got)-1])
	}
	if len(e.entrance.strange) != 1 {
		t.Errorf("%d hosts are remembered", len(e.entrance.strange))
	}
}

// TestParseErrorAtDoor: what the server says of a node that closes the door, while this one asks who it is, is no error of this one's; later it is.
func TestParseErrorAtDoor(t *testing.T) {
	k := &entrance{c: &Cluster{}, log: slog.New(slog.DiscardHandler)}
	l := &serverLog{e: &embedded{entrance: k}}
	const text = "10.0.0.1:7 - rid:8 - processRemoteSub Parse Error: 'R $SYS.REQ.SERVER.PING.LEAFZ'"
	k.set(true, "", false)
	if got := l.level(text); got != slog.LevelDebug {
		t.Errorf("while it asks: %v", got)
	}
	k.set(false, "id", true)
	if got := l.level(text); got != slog.LevelError {
		t.Errorf("with its place in the cluster: %v", got)
	}
	if got := (&serverLog{e: &embedded{}}).level(text); got != slog.LevelError {
		t.Errorf("alone: %v", got)
	}
}
