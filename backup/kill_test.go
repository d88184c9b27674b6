package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/grid"
)

// childEnv makes this test program do one thing with a folder, and stand still in the middle of it until it is killed: "restore DATA FROM", or "save DATA".
const childEnv = "MILLRACE_TEST_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		if err := child(strings.Fields(task)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // it was to be killed before
	}
	os.Exit(m.Run())
}

func child(task []string) error {
	ctx := context.Background()
	cfg := grid.Config{Dir: task[1]}
	if task[0] == "save" {
		g, err := grid.Open(ctx, cfg)
		if err != nil {
			return err
		}
		_, err = backup.Write(ctx, g, &stopper{left: 2}, backup.Options{})
		return err
	}
	from := backup.NewDir(task[2])
	m, err := backup.Open(ctx, from)
	if err != nil {
		return err
	}
	cfg.Taking, cfg.Partitions = m.Taking(), 2
	g, err := grid.Open(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = backup.Restore(ctx, from, m, g, backup.RestoreOptions{Skip: func(string, string) bool { return false }, Progress: func(p backup.Progress) {
		if p.Records > p.Of/2 {
			fmt.Println("half")
			select {}
		}
	}})
	return err
}

// stopper passes on the beginning, up to so many parts, and then stands still.
type stopper struct{ left int }

func (s *stopper) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "MRB1") {
		if s.left--; s.left < 0 {
			select {}
		}
	}
	return os.Stdout.Write(p)
}

// start runs a child; the test kills it.
func start(t *testing.T, task string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+task)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

// kill ends a child by a signal that it cannot catch.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() == 1 {
		t.Fatalf("it ended by itself: %v", err)
	}
}

// TestKilled: a node that is killed while it is saved leaves no backup, and loses nothing; a restore that is killed is done again, and until then no node opens what
// it left (invariant 1).
func TestKilled(t *testing.T) {
	data := t.TempDir()
	g := open(t, grid.Config{Dir: data, Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "d"})
	for i := range 200 {
		put(t, c, fmt.Sprint(i), strings.Repeat("v", i), grid.PutOptions{})
	}
	want := entries(t, c)
	shut(t, g)

	place := backup.NewDir(t.TempDir())
	cmd, out := start(t, "save "+data)
	came := 0
	received := make(chan error, 1)
	half := make(chan struct{})
	go func() {
		_, err := backup.Receive(t.Context(), out, place, func(backup.Progress) {
			if came++; came == 2 {
				close(half)
			}
		})
		received <- err
	}()
	select {
	case <-half:
	case err := <-received:
		t.Fatalf("before it was killed: %v", err)
	}
	kill(t, cmd)
	if err := <-received; !errors.Is(err, backup.ErrCut) {
		t.Fatalf("a backup that was cut: %v", err)
	}
	if _, err := backup.Open(t.Context(), place); !errors.Is(err, backup.ErrNone) {
		t.Fatalf("what is left of it: %v", err)
	}
	g = open(t, grid.Config{Dir: data})
	save(t, g, place, backup.Options{})

	to := t.TempDir()
	dir := place.Path()
	cmd, out = start(t, "restore "+to+" "+dir)
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatal(err)
	}
	kill(t, cmd)
	if _, err := grid.Open(t.Context(), grid.Config{Dir: to}); !errors.Is(err, grid.ErrUnfinished) {
		t.Fatalf("a node opens what is left: %v", err)
	}
	again, _ := restore(t, place, grid.Config{Dir: to})
	shut(t, again)
	again = open(t, grid.Config{Dir: to})
	if n := again.Partitions(); n != 2 {
		t.Errorf("%d partitions", n)
	}
	c, err := again.Cache(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "after a kill", entries(t, c), want)
}
