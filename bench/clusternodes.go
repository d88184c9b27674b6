package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/bench"
	"github.com/millrace/millrace/internal/client"
)

// nodes are processes of this machine that are one cluster, or one that is alone.
type nodes struct {
	program, dir string
	replicas     int
	more         []string // lines of each one's configuration
	listen       []string // addresses for each other of those that it began with, none of a node alone
	configs      []string
	urls         []string
	running      []*exec.Cmd
	clients      []*client.Client
}

// startNodes starts nodes with the pipeline of package bench, and more lines of configuration, and returns when all of them take traffic.
func startNodes(ctx context.Context, program, dir string, size, replicas int, more ...string) (_ *nodes, err error) {
	c := &nodes{program: program, dir: dir, replicas: replicas, more: more}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if size > 1 {
		if c.listen, err = freeAddresses(size); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := bench.DenseNet()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "dense.onnx"), file, 0o600); err != nil {
		return nil, err
	}
	for i := range size {
		if err := c.add(i); err != nil {
			return nil, err
		}
	}
	return c, c.wait(ctx)
}

// add starts one node more, the ith.
func (c *nodes) add(i int) error {
	addresses, err := freeAddresses(2)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("node: {name: n%d, data: n%[1]d}\nhttp: {listen: %q, debug: true}\n", i, addresses[0])
	if len(c.listen) > 0 {
		own := addresses[1]
		if i < len(c.listen) {
			own = c.listen[i]
		}
		text += fmt.Sprintf("cluster: {name: bench, listen: %q, seeds: [%q], replicas: %d, secret: a secret of the benchmark}\n", own, c.listen[(i+1)%len(c.listen)], c.replicas)
	}
	text += fmt.Sprintf("models: {dense: {path: dense.onnx, engine: native}}\npipelines: {bench: {from: %s, model: dense, to: %s}}\n", bench.Source, bench.Target)
	for _, line := range c.more {
		text += line + "\n"
	}
	config := filepath.Join(c.dir, itoa(i)+".yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cl, err := client.New(client.Config{Server: "http://" + addresses[0]})
	if err != nil {
		return err
	}
	c.configs, c.urls, c.clients, c.running = append(c.configs, config), append(c.urls, "http://"+addresses[0]), append(c.clients, cl), append(c.running, nil)
	return c.start(i)
}

func (c *nodes) start(i int) error {
	log, err := os.OpenFile(filepath.Join(c.dir, itoa(i)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(c.program, "serve", "-c", c.configs[i])
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.running[i] = cmd
	return nil
}

// wait returns when every node takes traffic and, in a cluster, has all of it up to date.
func (c *nodes) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i, cl := range c.clients {
		var last error // but for the end of the context
		if err := waitUntil(ctx, func() error {
			err := cl.Ready(ctx)
			if err == nil {
				err = c.settled(ctx, i)
			}
			if err != nil && ctx.Err() == nil {
				last = err
			}
			return err
		}); err != nil {
			return fmt.Errorf("node n%d: %w", i, last)
		}
	}
	return nil
}

// settled returns what is not as it is when nothing moves, as one node sees it.
func (c *nodes) settled(ctx context.Context, i int) error {
	if len(c.clients) == 1 {
		return nil
	}
	s, err := c.clients[i].Cluster(ctx)
	if err != nil {
		return err
	}
	least, most := len(s.Partitions), 0
	for _, n := range s.Nodes {
		if !n.Connected {
			return fmt.Errorf("%s is not there", n.Name)
		}
		least, most = min(least, n.Leads), max(most, n.Leads)
	}
	// What has one replica stays where it was made.
	if len(s.Nodes) != len(c.clients) || c.replicas > 1 && most-least > 1 {
		return fmt.Errorf("%d nodes lead %d to %d partitions", len(s.Nodes), least, most)
	}
	for _, p := range s.Partitions {
		if p.Leader == "" || p.Leader != p.Owner {
			return fmt.Errorf("partition %d is led by %q and owned by %q", p.Partition, p.Leader, p.Owner)
		}
		for _, r := range p.Replicas {
			if r.State != "current" {
				return fmt.Errorf("partition %d is %s on %s", p.Partition, r.State, r.Node)
			}
		}
	}
	return nil
}

// end ends a node, by a kill or in good order, and waits until it is gone.
func (c *nodes) end(i int, by syscall.Signal) error {
	cmd := c.running[i]
	if cmd == nil {
		return nil
	}
	c.running[i] = nil
	if err := cmd.Process.Signal(by); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && (by != syscall.SIGKILL || !errors.As(err, &exit)) {
		return fmt.Errorf("node n%d: %w", i, err)
	}
	return nil
}

// close kills what runs.
func (c *nodes) close() error {
	var errs []error
	for i := range c.running {
		errs = append(errs, c.end(i, syscall.SIGKILL))
	}
	for _, cl := range c.clients {
		cl.Close()
	}
	return errors.Join(errs...)
}

// programDir returns a new folder and the command in it; end removes both.
func programDir(ctx context.Context) (dir, program string, end func() error, err error) {
	if dir, err = os.MkdirTemp("", "millrace-bench-cluster-"); err != nil {
		return "", "", nil, err
	}
	end = func() error { return os.RemoveAll(dir) }
	if program, err = buildProgram(ctx, dir); err != nil {
		return "", "", nil, errors.Join(err, end())
	}
	return dir, program, end, nil
}

// buildProgram builds the command into a folder.
func buildProgram(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "millrace")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/millrace")
	build.Dir = ".." // in the module that the program belongs to, with its own sums
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}
