package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/natstest"
)

// binary builds the command once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "millrace-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "millrace")
	out, err := exec.Command("go", "build", "-tags", buildTags, "-o", path, "github.com/millrace/millrace/cmd/millrace").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// node is a running process.
type node struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan error
}

// start runs `millrace serve` with a configuration file and returns at once.
func start(t *testing.T, config string) *node {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, cmd: exec.Command(path, "serve", "-c", config), log: &bytes.Buffer{}, done: make(chan error, 1)}
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.done <- n.cmd.Wait() }()
	t.Cleanup(n.kill)
	return n
}

// kill ends the process as a crash would, and waits until it is gone. A second call does nothing.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("kill: %v", err)
	}
	<-n.done
	n.cmd = nil
}

// stop tells the process to end in good order, and waits until it has.
func (n *node) stop(limit time.Duration) error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-n.done:
		n.cmd = nil
		return err
	case <-time.After(limit):
		return fmt.Errorf("it goes on for more than %v:\n%s", limit, tail(n.log.String()))
	}
}

// ready waits until the node takes traffic.
func (n *node) ready(base string) {
	n.t.Helper()
	n.wait("ready", 20*time.Second, func() error {
		resp, err := http.Get(base + "/v2/health/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("status %d: %s", resp.StatusCode, body)
		}
		return nil
	})
}

// wait calls check until it returns nil, and fails the test with its last error and the node's log after a while.
func (n *node) wait(what string, limit time.Duration, check func() error) {
	n.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case exit := <-n.done:
			n.done <- exit
			n.t.Fatalf("%s: the process ended (%v):\n%s", what, exit, tail(n.log.String()))
		case <-deadline:
			n.t.Fatalf("%s: not within %v: %v\n%s", what, limit, err, tail(n.log.String()))
		}
	}
}

// tail is the end of a node's log, without the requests, which are many while it starts.
func tail(s string) string {
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(line string) bool { return strings.Contains(line, "msg=request ") })
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// address returns a loopback address that was free a moment ago, so that a process that is started again has the
// same one.
func address(t *testing.T) string {
	t.Helper()
	addr, err := natstest.Address()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// event is one server-sent event of a cache.
type event struct {
	id, name string
	data     struct {
		Key      string `json:"key"`
		Revision uint64 `json:"revision"`
		Value    struct {
			Label   string
			Version int64
			Source  struct {
				Key      string
				Revision uint64
			}
		}
	}
}

// listen calls got for each event of a cache, and connects again, with the last id that it saw, whenever the
// connection breaks, until ctx ends.
func listen(ctx context.Context, base, cache string, connected func(), got func(event) error) error {
	last := ""
	for ctx.Err() == nil {
		err := stream(ctx, base, cache, last, connected, func(e event) error {
			if err := got(e); err != nil {
				return err
			}
			last = e.id
			return nil
		})
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// fatalError ends listen.
type fatalError struct{ error }

func stream(ctx context.Context, base, cache, last string, connected func(), got func(event) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/rest/v2/caches/"+cache+"?action=listen&values=true", nil)
	if err != nil {
		return err
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	connected()
	var e event
	var ended string
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			if e.name == "error" {
				ended = value
				continue
			}
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				return &fatalError{fmt.Errorf("data of event %s: %w: %s", e.id, err, value)}
			}
		case "":
			switch e.name {
			case "":
			case "error":
				return fmt.Errorf("the stream of %s ends: %s", cache, ended)
			default:
				if err := got(e); err != nil {
					return &fatalError{err}
				}
			}
			e = event{}
		}
	}
	return lines.Err()
}
