package cli_test

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/cli"
)

// A service manager such as systemd learns from the node itself when it serves.
func TestNotifyReady(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("service managers with a notification socket are Linux's")
	}
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var stdout, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(ctx, []string{"serve", "--http", "127.0.0.1:0", "--dir", t.TempDir()}, cli.Process{
			Stdin: new(bytes.Buffer), Stdout: &stdout, Stderr: &stderr,
			Environ: []string{"NOTIFY_SOCKET=" + socket, "MILLRACE_ENGINE=native"},
		})
	}()
	message := make([]byte, 64)
	n, err := manager.Read(message)
	stop()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if err != nil || string(message[:n]) != "READY=1" {
		t.Errorf("the manager got %q, %v; want READY=1", message[:n], err)
	}
}
