package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startRows are the time from a process's start until it takes traffic with the demo's model and pipeline, and the
// memory that it has then.
func startRows(ctx context.Context, o options) ([]Row, error) {
	dir, err := os.MkdirTemp("", "millrace-bench-start-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program, err := buildProgram(ctx, dir)
	if err != nil {
		return nil, err
	}
	var seconds, megabytes []float64
	for i := range o.rounds {
		took, size, err := startOnce(ctx, program, filepath.Join(dir, itoa(i)))
		if err != nil {
			return nil, err
		}
		seconds, megabytes = append(seconds, took.Seconds()), append(megabytes, size)
	}
	return []Row{alone("start to ready", "s", seconds, 1), alone("memory when ready", "MB", megabytes, 100)}, nil
}

func startOnce(ctx context.Context, program, dir string) (took time.Duration, megabytes float64, err error) {
	cmd := exec.CommandContext(ctx, program, "serve", "--dir", dir, "--http", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), `MILLRACE_MODELS={digits: {path: "builtin:digits"}}`,
		"MILLRACE_PIPELINES={classify: {from: digits, model: digits, to: predictions}}", "MILLRACE_LOG_LEVEL=error")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, 0, fmt.Errorf("the node did not say its address: %w", err)
	}
	url := strings.TrimSpace(line) + "v2/health/ready"
	if err := waitFor(ctx, func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
		return nil
	}); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	megabytes, err = resident(cmd.Process.Pid)
	return took, megabytes, err
}

// resident is the memory of a process, in MB.
func resident(pid int) (float64, error) {
	data, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, errors.New("the system does not tell the process's memory")
}
