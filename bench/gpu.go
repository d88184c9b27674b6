package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

//go:embed gpu.py
var torchProgram []byte

// gpuRows are runs of onnxruntime's sessions on a device, from memory of the host to memory of the host, in float32 without TF32, beside PyTorch's where a Python that has it is named;
// and the same in float16.
func gpuRows(ctx context.Context, o options) ([]Row, error) {
	if o.device == "" {
		return nil, errors.New("name the device by -device, such as cuda:0")
	}
	library, err := openLibrary(o)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, c := range []struct {
		name, short string
		net         func() (*graph.Graph, error)
		input       []int
		within      float64 // of float16
	}{
		{"784-128-32-10, batch 1", "dense", denseNet, []int{1, 784}, 0.01},
		{"784-128-32-10, batch 4,096", "dense", denseNet, []int{4096, 784}, 0.01},
		{"5x5x32, 5x5x64, 512, 10 on 28x28, batch 1", "conv", convNet, []int{1, 1, 28, 28}, 0.01},
		{"5x5x32, 5x5x64, 512, 10 on 28x28, batch 1,024", "conv", convNet, []int{1024, 1, 28, 28}, 0.01},
		{"ResNet-18 on 224x224, batch 1", "resnet18", resnet18, []int{1, 3, 224, 224}, 0.02},
		{"ResNet-18 on 224x224, batch 64", "resnet18", resnet18, []int{64, 3, 224, 224}, 0.02},
	} {
		if o.short && c.input[0] > 1024 {
			c.input[0] = 1024
		}
		more, err := gpuNet(ctx, o, library, c.name, c.short, c.net, c.input, c.within)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return rows, nil
}

// gpuNet measures one net: in float32, beside PyTorch where that is there, and in float16.
func gpuNet(ctx context.Context, o options, e engine.Engine, name, short string, net func() (*graph.Graph, error), input []int, within float64) (rows []Row, err error) {
	g, err := net()
	if err != nil {
		return nil, err
	}
	name = o.device + ": " + name
	in := []*tensor.Tensor{randomTensor(rand.New(rand.NewPCG(3, 4)), 0.5, input...)}
	open := func(precision string) (engine.Session, []*tensor.Tensor, error) {
		s, err := e.Open(ctx, g, engine.Options{Device: o.device, Precision: precision})
		if err != nil {
			return nil, nil, err
		}
		out := []*tensor.Tensor{nil}
		if err := s.Run(ctx, in, out); err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
		return s, out, nil
	}
	s, exact, err := open(engine.Float32)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	half, rough, err := open(engine.Float16)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, half.Close()) }()
	if err := alike(tensor.Data[float32](rough[0]), tensor.Data[float32](exact[0]), within); err != nil {
		return nil, fmt.Errorf("float16: %w", err)
	}
	own, halved := sessionSide(s, tensors{in, exact}), sessionSide(half, tensors{in, rough})
	pairs, err := alternate(ctx, o, wallTime, halved, own)
	if err != nil {
		return nil, err
	}
	rows = []Row{row(name+", float16", "ms", "float32", inMilliseconds(pairs), 0, true)}
	if o.python == "" {
		return append([]Row{told(name, "ms", peerValues(inMilliseconds(pairs)))}, rows...), nil
	}
	peer, err := startTorch(ctx, o, short, g, in[0])
	if err != nil {
		return rows, err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	if pairs, err = alternate(ctx, o, wallTime, own, peer.run); err != nil {
		return rows, err
	}
	theirs, err := peer.output(ctx)
	if err != nil {
		return rows, err
	}
	return append([]Row{row(name, "ms", peer.version, inMilliseconds(pairs), 1, true)}, rows...), alike(tensor.Data[float32](exact[0]), tensor.Data[float32](theirs), 1e-3)
}

func inMilliseconds(pairs []pair) []pair {
	return mapped(pairs, func(s float64) float64 { return s * 1e3 })
}

func peerValues(pairs []pair) []float64 {
	out := make([]float64, len(pairs))
	for i, p := range pairs {
		out[i] = p.peer
	}
	return out
}

// A torch is PyTorch in a process of its own, with the same net and input.
type torch struct {
	dir, version string
	cmd          *exec.Cmd
	to           io.WriteCloser
	from         *bufio.Scanner
	faults       *bytes.Buffer
}

func startTorch(ctx context.Context, o options, net string, g *graph.Graph, x *tensor.Tensor) (_ *torch, err error) {
	dir, err := os.MkdirTemp("", "millrace-torch-")
	if err != nil {
		return nil, err
	}
	p := &torch{dir: dir, faults: new(bytes.Buffer)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	weights := map[string]*tensor.Tensor{}
	for _, in := range g.Initializers {
		weights[in.Name] = in.Tensor
	}
	var all, one bytes.Buffer
	program := filepath.Join(dir, "gpu.py")
	if err := errors.Join(media.WriteNPZ(&all, weights), media.WriteNPY(&one, x), os.WriteFile(program, torchProgram, 0o600)); err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "weights.npz"), all.Bytes(), 0o600), os.WriteFile(filepath.Join(dir, "x.npy"), one.Bytes(), 0o600)); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.python, program, net, dir, o.device)
	cmd.Stderr = p.faults
	if p.to, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.from = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.cmd = cmd
	p.version, err = p.line()
	return p, err
}

// line reads a line of the process's, or says why there is none.
func (p *torch) line() (string, error) {
	if p.from.Scan() {
		return p.from.Text(), nil
	}
	return "", errors.Join(p.from.Err(), errors.New("PyTorch's side ended"))
}

// do has the process do something, and waits for it.
func (p *torch) do(command string) error {
	if _, err := fmt.Fprintln(p.to, command); err != nil {
		return err
	}
	answer, err := p.line()
	if err == nil && answer != "done" {
		err = fmt.Errorf("PyTorch's side answered %q", answer)
	}
	return err
}

// run is a side: a round through the pipe for n runs, which is some microseconds.
func (p *torch) run(_ context.Context, n int) error { return p.do(fmt.Sprintf("run %d", n)) }

// output is the result of the last run.
func (p *torch) output(context.Context) (*tensor.Tensor, error) {
	if err := p.do("save"); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(p.dir, "y.npy"))
	if err != nil {
		return nil, err
	}
	return media.ReadNPY(bytes.NewReader(data), 1<<30)
}

// close ends the process; what it said of its faults is part of the error.
func (p *torch) close() error {
	var err error
	if p.cmd != nil {
		err = p.to.Close()
		if failed := p.cmd.Wait(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s", failed, strings.TrimSpace(p.faults.String())))
		}
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
