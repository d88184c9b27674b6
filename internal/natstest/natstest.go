// Package natstest runs NATS servers for tests of several nodes on one server. What the nodes do is left to the tests.
package natstest

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxPayload is what a grid wants a server to take: its largest entry and what goes with it.
const MaxPayload = 8<<20 + 64<<10

// Server is a NATS server with JetStream on a loopback port, with a folder that outlives its stops.
type Server struct {
	t       testing.TB
	options server.Options
	running *server.Server
	stopped bool
}

// Start starts a server, which takes messages of at most maxPayload bytes, until the test ends.
func Start(t testing.TB, maxPayload int32) *Server {
	t.Helper()
	return StartWith(t, func(o *server.Options) { o.MaxPayload = maxPayload })
}

// StartWith starts a server that a grid may use, but for what adjust changes of its options.
func StartWith(t testing.TB, adjust func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: MaxPayload,
	}}
	adjust(&s.options)
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// URL returns the address of a server that a grid may use, which is started until the test ends.
func URL(t testing.TB) string {
	t.Helper()
	return Start(t, MaxPayload).URL()
}

// URL returns the address, which a restart does not change.
func (s *Server) URL() string { return s.running.ClientURL() }

// Stop ends the server; what is in memory is lost.
func (s *Server) Stop() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.stopped = true
}

// Restart starts the server again after Stop.
func (s *Server) Restart() {
	s.t.Helper()
	s.start()
	s.keepPort()
}

func (s *Server) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.running, s.stopped = running, false
	running.Start()
}

// keepPort waits until the server takes connections, and makes its port that of later starts.
func (s *Server) keepPort() {
	s.t.Helper()
	if !s.running.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the NATS server is not ready")
	}
	if addr, ok := s.running.Addr().(*net.TCPAddr); ok {
		s.options.Port = addr.Port
	}
}
