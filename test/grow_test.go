package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
)

// TestGrow holds invariants 1, 3, 4, 5 and 6 while a node alone, with a pipeline and a listener, becomes a cluster of three under load. The node and one of the
// cluster's are killed on the way, and later the command is; each time it is run again. Then the node is a door, and its folder cannot be used again.
func TestGrow(t *testing.T) {
	addr := address(t)
	base := "http://" + addr
	more := `models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`
	config := filepath.Join(t.TempDir(), "alone.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "node: {name: alone, data: alone}\nhttp: {listen: %q}\n%s", addr, more), 0o600); err != nil {
		t.Fatal(err)
	}
	old := start(t, config)
	old.ready(base)
	c := newCluster(t, more)
	for i, path := range c.configs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		grows := strings.Replace(string(text), "cluster: {", "cluster: {grow: true, ", 1)
		if err := os.WriteFile(path, []byte(grows), 0o600); err != nil {
			t.Fatal(err)
		}
		c.nodes[i] = start(t, path)
	}
	for i, n := range c.nodes {
		n.wait("it waits", 60*time.Second, func() error { return waitsToGrow(c.bases[i]) })
	}
	var at atomic.Pointer[string] // where the listener goes
	at.Store(&base)
	load := &load{bases: []string{base}, acked: map[string]uint64{}}
	seen := &seen{results: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening := make(chan error, 1)
	connected := make(chan struct{})
	go func() {
		listening <- follow(ctx, &at, "predictions", sync.OnceFunc(func() { close(connected) }), seen.add)
	}()
	<-connected // it hears of what is put from then on

	stop := load.start(0)
	old.wait("some puts", 20*time.Second, func() error {
		if n := load.count(); n < 200 {
			return fmt.Errorf("%d puts were acknowledged", n)
		}
		return nil
	})
	// Killed at some moment: the grid is the node's, or the cluster's, and nothing between.
	moment := time.Duration(rand.IntN(1500)) * time.Millisecond
	command := grow(t, base, c.bases[:])
	<-time.After(moment) // the moment of the kill is what this test is about
	at1 := growth(base)
	old.kill()
	c.nodes[2].kill()
	stop()
	if err := command.Wait(); err == nil {
		t.Logf("the command had ended before the kill")
	}
	t.Logf("killed %v after the command began, with %d puts acknowledged: %+v", moment, load.count(), at1)
	c.nodes[2] = start(t, c.configs[2])
	old = start(t, config)
	door := servesOrIsRefused(t, old, base)
	if door {
		load.put(0, "after-the-kill")
		stop = load.start(1)
		command = grow(t, base, c.bases[:])
		<-time.After(200 * time.Millisecond) // somewhere on its way
		if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		_ = command.Wait() // it was killed
		out, err := grow(t, base, c.bases[:]).finish()
		stop()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, tail(old.log.String()))
		}
		g := growth(base)
		t.Logf("%d puts acknowledged; %s", load.count(), strings.TrimSpace(out))
		if p := g.Progress.Pause; p <= 0 || p > 4*time.Second { // 0.1 to 0.2 s on a machine that has the time
			t.Errorf("writes waited for %v", p)
		}
		load.put(0, "through-the-door")
		load.check(old, base)
	} else {
		t.Log("the cluster had the grid when the node was killed")
	}
	for i, n := range c.nodes {
		c.ready(i)
		load.bases = []string{c.bases[i]}
		load.put(0, fmt.Sprint("through-", i))
		load.check(n, c.bases[i])
	}
	at.Store(&c.bases[0])
	if door {
		if err := old.stop(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		c.refuses("the folder of the node alone", config, "has gone over to the cluster test")
	}
	c.nodes[0].wait("the listener catches up", 20*time.Second, func() error { return seen.covers(load.snapshot()) })
	cancel()
	if err := <-listening; err != nil {
		t.Error(err)
	}
}

// servesOrIsRefused waits until a node that may have given its grid away takes traffic, or has ended because it has.
func servesOrIsRefused(t *testing.T, n *node, base string) (serves bool) {
	t.Helper()
	for until := time.Now().Add(60 * time.Second); ; {
		select {
		case err := <-n.done:
			n.cmd = nil
			if err == nil || !strings.Contains(n.log.String(), "has gone over to the cluster test") {
				t.Fatalf("it ended: %v\n%s", err, tail(n.log.String()))
			}
			return false
		case <-time.After(50 * time.Millisecond):
		}
		resp, err := http.Get(base + "/v2/health/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		if time.Now().After(until) {
			t.Fatalf("it neither serves nor ends: %v\n%s", err, tail(n.log.String()))
		}
	}
}

// follow is listen on nodes that follow one another.
func follow(ctx context.Context, at *atomic.Pointer[string], cache string, connected func(), got func(event) error) error {
	last := ""
	for ctx.Err() == nil {
		base := *at.Load()
		here, leave := context.WithCancel(ctx)
		go func() {
			for here.Err() == nil && *at.Load() == base {
				time.Sleep(20 * time.Millisecond)
			}
			leave()
		}()
		err := stream(here, base, cache, last, connected, func(e event) error {
			if err := got(e); err != nil {
				return err
			}
			last = e.id
			return nil
		})
		leave()
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

// growing is a run of the command.
type growing struct {
	*exec.Cmd
	out *strings.Builder
}

func grow(t *testing.T, server string, to []string) growing {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	g := growing{exec.Command(path, "cluster", "grow", "--server", server, "--to", strings.Join(to, ",")), new(strings.Builder)}
	g.Stdout, g.Stderr = g.out, g.out
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g growing) finish() (string, error) {
	err := g.Wait()
	return g.out.String(), err
}

// growth asks how far a node is; nothing where it does not answer.
func growth(base string) (g cluster.Growth) {
	resp, err := http.Get(base + "/rest/v2/cluster/grow")
	if err != nil {
		return g
	}
	defer resp.Body.Close()
	if json.NewDecoder(resp.Body).Decode(&g) != nil {
		return cluster.Growth{}
	}
	return g
}

// waitsToGrow returns nil when a node waits for the grid of a node alone.
func waitsToGrow(base string) error {
	resp, err := http.Get(base + cluster.IntakePath)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
