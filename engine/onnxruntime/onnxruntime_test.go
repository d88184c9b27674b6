//go:build cgo

package onnxruntime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// open loads the library that ONNXRUNTIME_SHARED_LIBRARY_PATH names. Without it the tests are skipped, but in CI.
func open(tb testing.TB) engine.Engine {
	tb.Helper()
	e, err := onnxruntime.New(onnxruntime.Config{Library: os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), Paths: onnxruntime.SearchPaths("", "")})
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal(err)
		}
		tb.Skipf("%v; then set ONNXRUNTIME_SHARED_LIBRARY_PATH to what it prints", err)
	}
	return e
}

// openOn is open on the device that MILLRACE_DEVICE names. What holds on the processor alone (kernels that it lacks, its faults, its memory) is tested there in any case.
func openOn(tb testing.TB) engine.Engine { return enginetest.OnDevice(open(tb)) }

func TestContract(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine { return openOn(t) })
}

// build makes a graph and opens it.
func build(t *testing.T, opts engine.Options, make func(b *graph.Builder)) engine.Session {
	t.Helper()
	e := open(t)
	b := graph.NewBuilder("test")
	make(b)
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Open(t.Context(), g, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestNearestType: a convolution in double, for which the library has no kernel, computes in single and says so.
func TestNearestType(t *testing.T) {
	s := build(t, engine.Options{}, func(b *graph.Builder) {
		x := b.Input("x", tensor.Float64, graph.Dims(1, 1, 3, 3))
		w := b.Init("w", tensor.Must(tensor.Of([]float64{1, 2, 3, 4}, 1, 1, 2, 2)))
		b.Output(b.Name(b.Op("Conv", nil, x, w), "y"))
	})
	out := make([]*tensor.Tensor, 1)
	x := tensor.Must(tensor.Of([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3))
	if err := s.Run(t.Context(), []*tensor.Tensor{x}, out); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(out[0]); got != "float64[1,1,2,2]{37 47 67 77}" {
		t.Error(got)
	}
	notes := s.(*onnxruntime.Session).Notes()
	if len(notes) != 1 || !strings.Contains(notes[0], "Conv") || !strings.Contains(notes[0], "float32") || !strings.Contains(notes[0], "float64") {
		t.Errorf("notes %q", notes)
	}
}

// TestShapes passes what the library's wrapper cannot: scalars, strings, 16-bit numbers, an output whose rank is not
// known, and no input at all.
func TestShapes(t *testing.T) {
	t.Run("scalars", func(t *testing.T) {
		for _, in := range []*tensor.Tensor{
			tensor.Scalar(float32(2)), tensor.Scalar(int64(2)), tensor.Scalar(tensor.HalfOf(2)), tensor.Scalar(tensor.BHalfOf(2)), tensor.Scalar("two"), tensor.Scalar(true),
		} {
			s := build(t, engine.Options{}, func(b *graph.Builder) {
				b.Output(b.Name(b.Op("Identity", nil, b.Input("x", in.DType(), graph.Shape{})), "y"))
			})
			out := make([]*tensor.Tensor, 1)
			if err := s.Run(t.Context(), []*tensor.Tensor{in}, out); err != nil {
				t.Errorf("%v: %v", in, err)
			} else if fmt.Sprint(out[0]) != fmt.Sprint(in) {
				t.Errorf("%v became %v", in, out[0])
			}
		}
	})
	t.Run("given outputs", func(t *testing.T) {
		for _, in := range []*tensor.Tensor{
			tensor.Vector[float32](1, 2), tensor.Vector(tensor.HalfOf(1), tensor.HalfOf(2)), tensor.Vector("a", "bc"), tensor.Vector[uint8](1, 2), tensor.Vector[float32](),
		} {
			s := build(t, engine.Options{}, func(b *graph.Builder) {
				b.Output(b.Name(b.Op("Identity", nil, b.Input("x", in.DType(), graph.Dims(-1))), "y"))
			})
			out := []*tensor.Tensor{tensor.Must(tensor.New(in.DType(), in.Shape()...))}
			given := out[0]
			if err := s.Run(t.Context(), []*tensor.Tensor{in}, out); err != nil {
				t.Errorf("%v: %v", in, err)
			} else if out[0] != given || fmt.Sprint(out[0]) != fmt.Sprint(in) {
				t.Errorf("%v became %v", in, out[0])
			}
		}
	})
	t.Run("unknown rank", func(t *testing.T) {
		s := build(t, engine.Options{}, func(b *graph.Builder) {
			x := b.Input("x", tensor.Float32, graph.Dims(-1))
			b.Output(b.Name(b.Op("Reshape", nil, x, b.Input("shape", tensor.Int64, graph.Dims(-1))), "y"))
		})
		for _, shape := range [][]int64{{2, 2}, {4}, {1, 2, 2}} {
			out := make([]*tensor.Tensor, 1)
			if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1, 2, 3, 4), tensor.Vector(shape...)}, out); err != nil {
				t.Errorf("%v: %v", shape, err)
			} else if fmt.Sprint(out[0].Shape()) != strings.ReplaceAll(fmt.Sprint(shape), " ", ",") {
				t.Errorf("%v: %v", shape, out[0])
			}
		}
	})
	t.Run("no input", func(t *testing.T) {
		s := build(t, engine.Options{}, func(b *graph.Builder) {
			b.Output(b.Name(b.Op("Add", nil, b.Float(1), b.Float(2)), "y"))
		})
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), nil, out); err != nil || fmt.Sprint(out[0]) != "float32[]{3}" {
			t.Errorf("%v, %v", out[0], err)
		}
	})
}

// slow is a graph that multiplies matrices for many seconds.
func slow(b *graph.Builder) {
	x := b.Input("x", tensor.Float32, graph.Dims(1024, 1024))
	for range 2000 {
		x = b.Op("MatMul", nil, x, "x")
	}
	b.Output(b.Name(x, "y"))
}

func TestCancel(t *testing.T) {
	s := build(t, engine.Options{}, slow)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.Run(ctx, []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 1024, 1024))}, make([]*tensor.Tensor, 1))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run that was cut off: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it went on for %v", took)
	}
}

// TestCancelLater: a context that served short runs still stops a long one, and leaves the session fit for other contexts.
func TestCancelLater(t *testing.T) {
	s := build(t, engine.Options{}, func(b *graph.Builder) {
		side := graph.Dim{Size: -1, Symbol: "N"}
		x := b.Input("x", tensor.Float32, graph.Shape{side, side})
		for range 2000 {
			x = b.Op("MatMul", nil, x, "x")
		}
		b.Output(b.Name(x, "y"))
	})
	run := func(ctx context.Context, side int) error {
		return s.Run(ctx, []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, side, side))}, make([]*tensor.Tensor, 1))
	}
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			if err := run(ctx, 2); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(100*time.Millisecond, cancel)
		began := time.Now()
		if err := run(ctx, 1024); !errors.Is(err, context.Canceled) {
			t.Errorf("a run that was cut off: %v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it went on for %v", took)
		}
		if err := run(t.Context(), 2); err != nil {
			t.Errorf("the next run: %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	e := open(t)
	b := graph.NewBuilder("test")
	b.Output(b.Name(b.Op("Relu", nil, b.Input("x", tensor.Float32, graph.Dims(2))), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		opts        engine.Options
		want        string
		unavailable bool
	}{
		"setting":    {engine.Options{Settings: map[string]string{"colour": "red"}}, `colour: onnxruntime has no such setting`, false},
		"value":      {engine.Options{Settings: map[string]string{"graph_optimization": "most"}}, "disable, basic", false},
		"device":     {engine.Options{Device: "tpu"}, `"tpu"`, true},
		"cuda":       {engine.Options{Device: "cuda:0"}, "cuda:0", true},
		"cuda words": {engine.Options{Device: "cuda:first"}, "cuda:first", true},
	} {
		s, err := e.Open(t.Context(), g, c.opts)
		if err == nil {
			s.Close()
			if name == "cuda" {
				continue // this machine has one
			}
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || errors.Is(err, engine.ErrUnavailable) != c.unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, settings := range []map[string]string{
		{"graph_optimization": "basic", "execution_mode": "parallel", "inter_op_threads": "2"},
		{"cpu_mem_arena": "false", "mem_pattern": "false", "spinning": "true", "config.session.disable_prepacking": "1"},
	} {
		s, err := e.Open(t.Context(), g, engine.Options{Settings: settings, Threads: 2})
		if err != nil {
			t.Errorf("%v: %v", settings, err)
			continue
		}
		s.Close()
	}
}

// TestOutOfMemory: a run that the machine has no memory for says so, and the session goes on.
func TestOutOfMemory(t *testing.T) {
	s := build(t, engine.Options{}, func(b *graph.Builder) {
		b.Output(b.Name(b.Op("ConstantOfShape", nil, b.Input("n", tensor.Int64, graph.Dims(2))), "y"))
	})
	for _, n := range []int64{1 << 20, 1 << 28, 1 << 30} { // 4 TiB and more
		err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector(n, 1<<20)}, make([]*tensor.Tensor, 1))
		if !errors.Is(err, engine.ErrTooLarge) {
			t.Errorf("%d rows: %v", n, err)
		}
	}
	out := make([]*tensor.Tensor, 1)
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[int64](2, 3)}, out); err != nil || !out[0].Shape().Equal(tensor.Shape{2, 3}) {
		t.Errorf("after them: %v, %v", out, err)
	}
}

// TestManyTensors runs one session with ever other tensors, from several goroutines, and after a Close.
func TestManyTensors(t *testing.T) {
	s := build(t, engine.Options{}, func(b *graph.Builder) {
		b.Output(b.Name(b.Op("Mul", nil, b.Input("x", tensor.Float32, graph.Dims(-1)), b.Float(2)), "y"))
	})
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 500 {
				in := tensor.Vector(float32(g), float32(i))
				out := make([]*tensor.Tensor, 1)
				if i%2 == 0 {
					out[0] = tensor.Vector[float32](0, 0)
				}
				if err := s.Run(t.Context(), []*tensor.Tensor{in}, out); err != nil {
					t.Error(err)
					return
				}
				if d := tensor.Data[float32](out[0]); d[0] != float32(2*g) || d[1] != float32(2*i) {
					t.Errorf("%v became %v", in, out[0])
					return
				}
			}
		})
	}
	group.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1)}, make([]*tensor.Tensor, 1)); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestMemory: a 16 MB model that is opened and closed 200 times leaves the process as large as it was.
func TestMemory(t *testing.T) {
	e := open(t)
	b := graph.NewBuilder("large")
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 2048, 2048)))
	b.Output(b.Name(b.Op("MatMul", nil, b.Input("x", tensor.Float32, graph.Dims(-1, 2048)), w), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	in := []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 1, 2048))}
	cycle := func() {
		s, err := e.Open(t.Context(), g, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context(), in, make([]*tensor.Tensor, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		cycle()
	}
	before := resident(t)
	for range 200 {
		cycle()
	}
	after := resident(t)
	t.Logf("resident before %d MiB, after %d MiB", before>>20, after>>20)
	if after > before+before/20 {
		t.Errorf("200 loads and unloads grew the process from %d to %d MiB", before>>20, after>>20)
	}
}

// resident is the process's memory, after everything that can be given back was.
func resident(t *testing.T) int64 {
	t.Helper()
	freeMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("the size of the process is known on Linux alone: %v", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func BenchmarkRun(b *testing.B) {
	e := open(b)
	bl := graph.NewBuilder("dense")
	x := bl.Input("x", tensor.Float32, graph.Dims(-1, 784))
	for i, n := range []int{784, 128, 32} {
		out := []int{128, 32, 10}[i]
		x = bl.Op("Relu", nil, bl.Op("Gemm", nil, x, bl.Init("w", tensor.Must(tensor.New(tensor.Float32, n, out))), bl.Init("b", tensor.Must(tensor.New(tensor.Float32, out)))))
	}
	bl.Output(bl.Name(x, "y"))
	g, err := infer.Build(bl)
	if err != nil {
		b.Fatal(err)
	}
	s, err := e.Open(b.Context(), g, engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	in := []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 1, 784))}
	out := make([]*tensor.Tensor, 1)
	for b.Loop() {
		if err := s.Run(context.Background(), in, out); err != nil {
			b.Fatal(err)
		}
	}
}
