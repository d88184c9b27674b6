package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// fragile is the engine in Go with a device that is lost after some runs.
type fragile struct {
	engine.Engine
	left   *atomic.Int64 // runs until then
	opened *atomic.Int64 // sessions on the device less those that were closed
	onCPU  *atomic.Int64 // sessions that were opened on the processor
}

func newFragile(runs int64) fragile {
	f := fragile{native.New(native.Config{}), new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
	f.left.Store(runs)
	return f
}

func (fragile) Name() string { return "onnxruntime" }

func (f fragile) Open(ctx context.Context, g *graph.Graph, o engine.Options) (engine.Session, error) {
	s, err := f.Engine.Open(ctx, g, engine.Options{})
	if err != nil {
		return nil, err
	}
	if o.OnCPU() {
		f.onCPU.Add(1)
		return s, o.CheckDevice()
	}
	f.opened.Add(1)
	return &fragileSession{s, f}, nil
}

type fragileSession struct {
	engine.Session
	f fragile
}

func (s *fragileSession) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	if s.f.left.Add(-1) < 0 {
		return fmt.Errorf("%w: cuda:0: for a test", engine.ErrLost)
	}
	return s.Session.Run(ctx, in, out)
}

func (s *fragileSession) Close() error {
	s.f.opened.Add(-1)
	return s.Session.Close()
}

func runRelu(ctx context.Context, s engine.Session) error {
	out := make([]*tensor.Tensor, 1)
	err := s.Run(ctx, []*tensor.Tensor{tensor.Vector[float32](-1, 2)}, out)
	if err == nil && fmt.Sprint(out[0]) != "float32[2]{0 2}" {
		err = fmt.Errorf("got %v", out[0])
	}
	return err
}

// TestLostDevice: with auto all runs are answered, those that met the loss too, the device's session is closed and the processor's opened once; with a named engine every run fails
// from then on, and the node is not ready until the session is closed.
func TestLostDevice(t *testing.T) {
	m := &model.Model{Name: "m", Graph: relu("m")}
	settings := ModelConfig{Device: "cuda:0", TF32: true, MemoryLimit: 1 << 20}
	t.Run("auto", func(t *testing.T) {
		var log bytes.Buffer
		f := newFragile(50)
		e := newEngines(Config{}, slog.New(slog.NewTextHandler(&log, nil)), nil, f)
		s, _, err := e.Open(t.Context(), m, settings)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 25 {
					if err := runRelu(t.Context(), s); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		if f.left.Load() >= 0 || f.opened.Load() != 0 || f.onCPU.Load() != 1 {
			t.Errorf("%d runs are left, %d sessions are on the device, %d were opened on the processor", f.left.Load(), f.opened.Load(), f.onCPU.Load())
		}
		if n := strings.Count(log.String(), "a device is lost: the model goes on on the processor"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, log.String())
		}
		if r := e.lost.reasons(); len(r) > 0 {
			t.Errorf("reasons not to be ready: %q", r)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := runRelu(t.Context(), s); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	t.Run("named", func(t *testing.T) {
		f := newFragile(1)
		e := newEngines(Config{Engine: "onnxruntime"}, slog.New(slog.DiscardHandler), nil, f)
		s, _, err := e.Open(t.Context(), m, settings)
		if err != nil {
			t.Fatal(err)
		}
		if err := runRelu(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := runRelu(t.Context(), s); !errors.Is(err, engine.ErrLost) || !errors.Is(err, engine.ErrUnavailable) {
				t.Errorf("got %v, want ErrLost", err)
			}
		}
		if r := e.lost.reasons(); len(r) != 1 || !strings.Contains(r[0], "model m cannot run until the node is started again") || f.opened.Load() != 0 || f.onCPU.Load() != 0 {
			t.Errorf("reasons %q; %d sessions on the device, %d on the processor", r, f.opened.Load(), f.onCPU.Load())
		}
		if err := s.Close(); err != nil || len(e.lost.reasons()) != 0 {
			t.Errorf("after Close: %v, reasons %q", err, e.lost.reasons())
		}
	})
}

// TestLostDeviceNotReady: a node with a model that a lost device keeps from running says so where it is asked whether it is ready.
func TestLostDeviceNotReady(t *testing.T) {
	c := Defaults()
	c.HTTP.Listen, c.Node.Data, c.Engine = "127.0.0.1:0", Path(t.TempDir()), "native"
	c.Complete()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(n *Node) {
		defer stop()
		if r := n.ready(ctx); len(r) > 0 {
			t.Errorf("before: %q", r)
		}
		n.engines.lost.add(&deviceSession{model: "m"}, engine.ErrLost)
		if r := n.ready(ctx); len(r) != 1 || !strings.Contains(r[0], "model m cannot run") {
			t.Errorf("after: %q", r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
