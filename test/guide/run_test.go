//go:build guides

package guide

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var only = flag.String("guides", "", "guides to run, separated by commas; all of docs/guide if empty")

const (
	address = "127.0.0.1:8080"
	// blockLimit is how long a block may take, askLimit how long a question is asked again, and nodeLimit how long a node may take to be ready or to end.
	blockLimit = 5 * time.Minute
	askLimit   = time.Minute
	nodeLimit  = 90 * time.Second
)

// Kinds of blocks.
const (
	commands = "sh"
	failing  = "sh fails"
	shown    = "text"
)

func TestGuides(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "docs/guide/*.md"))
	if *only != "" {
		files = nil
		for _, f := range strings.Split(*only, ",") {
			files = append(files, filepath.Join(root, f))
		}
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no guides: %v", err)
	}
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, filepath.Join(root, "cmd/millrace")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".md"), func(t *testing.T) { follow(t, f, bin) })
	}
}

// guide is one that is followed.
type guide struct {
	t       *testing.T
	dir     string
	env     []string
	running []*program
}

// program is a command that runs on.
type program struct {
	cmd   *exec.Cmd
	out   buffer
	node  bool
	ended chan error
}

func follow(t *testing.T, file, bin string) {
	if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		c.Close()
		t.Fatalf("%s, which the guides use, is taken by another program", address)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocks, err := read(f)
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{t: t, dir: t.TempDir()}
	home := t.TempDir()
	g.env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home+"/.local/share", "PATH="+bin+":"+os.Getenv("PATH"))
	t.Cleanup(g.end)
	ran := 0
	for i, b := range blocks {
		switch {
		case b.file != "":
			if err := os.WriteFile(filepath.Join(g.dir, b.file), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case b.kind == commands || b.kind == failing:
			want := ""
			if i+1 < len(blocks) && blocks[i+1].kind == shown {
				want = blocks[i+1].text
			}
			ran++
			if err := g.do(b, want); err != nil {
				t.Fatalf("%s:%d: %v", filepath.Base(file), b.line, err)
			}
		}
	}
	if ran == 0 {
		t.Error("the guide has no commands")
	}
}

// do runs a block and compares what it prints.
func (g *guide) do(b block, want string) error {
	text := strings.TrimSpace(b.text)
	g.t.Logf("$ %s", text)
	if text == "# Ctrl-C" {
		return g.interrupt(want)
	}
	if strings.HasSuffix(text, "&") {
		return g.start(strings.TrimSpace(strings.TrimSuffix(text, "&")), want)
	}
	until := time.Now().Add(askLimit)
	for {
		out, err := g.run(text)
		line, miss := missing(want, out)
		failed := err != nil
		switch {
		case !miss && failed == (b.kind == failing):
			g.t.Log(out)
			return nil
		case asks(text) && time.Now().Before(until):
			time.Sleep(100 * time.Millisecond)
			continue
		case failed != (b.kind == failing):
			return fmt.Errorf("%s\nended with %v and printed\n%s", text, err, out)
		}
		return fmt.Errorf("%s\nprinted no line %q in its place, but\n%s", text, line, out)
	}
}

func (g *guide) command(text string) *exec.Cmd {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = g.dir, g.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (g *guide) run(text string) (string, error) {
	cmd := g.command(text)
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	limit := time.AfterFunc(blockLimit, func() { kill(cmd, syscall.SIGKILL) })
	defer limit.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// start runs a program that goes on.
func (g *guide) start(text, want string) error {
	p := &program{cmd: g.command("exec " + text), ended: make(chan error, 1)}
	p.node = strings.HasPrefix(text, "millrace serve") || strings.HasPrefix(text, "millrace demo")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return err
	}
	g.running = append(g.running, p)
	go func() { p.ended <- p.cmd.Wait() }()
	until := time.Now().Add(nodeLimit)
	for {
		line, miss := missing(want, p.out.String())
		if !miss && (!p.node || alive()) {
			return nil
		}
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("%s\nended with %v and printed\n%s", text, err, p.out.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(until) {
			if !p.node { // what it shows comes by what the guide does next
				return nil
			}
			return fmt.Errorf("%s\nis not ready, or did not print %q, but\n%s", text, line, p.out.String())
		}
	}
}

// alive reports whether the node answers.
func alive() bool {
	res, err := http.Get("http://" + address + "/v2/health/live")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// interrupt ends the node that was started last, as Ctrl-C would.
func (g *guide) interrupt(want string) error {
	for i := len(g.running) - 1; i >= 0; i-- {
		p := g.running[i]
		if !p.node {
			continue
		}
		g.running = append(g.running[:i], g.running[i+1:]...)
		if err := p.end(); err != nil {
			return err
		}
		if line, miss := missing(want, p.out.String()); miss {
			return fmt.Errorf("the node printed no line %q, but\n%s", line, p.out.String())
		}
		return nil
	}
	return errors.New("no node runs")
}

// end interrupts a program. A node has to end well.
func (p *program) end() error {
	kill(p.cmd, syscall.SIGINT)
	select {
	case err := <-p.ended:
		if p.node && err != nil {
			return fmt.Errorf("the node ended with %w and printed\n%s", err, p.out.String())
		}
		return nil
	case <-time.After(nodeLimit):
		kill(p.cmd, syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("it did not end within %v of Ctrl-C\n%s", nodeLimit, p.out.String())
	}
}

func (g *guide) end() {
	for i := len(g.running) - 1; i >= 0; i-- {
		if err := g.running[i].end(); err != nil {
			g.t.Error(err)
		}
	}
}

// kill sends a signal to a program and what it started.
func kill(cmd *exec.Cmd, s syscall.Signal) { _ = syscall.Kill(-cmd.Process.Pid, s) }

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
