package native_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// benchmark runs a session over and over with the same tensors, and reports the time of one example.
func benchmark(b *testing.B, s engine.Session, x *tensor.Tensor) {
	in, out := []*tensor.Tensor{x}, make([]*tensor.Tensor, len(s.Outputs()))
	if err := s.Run(b.Context(), in, out); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	start := cpuTime()
	for b.Loop() {
		if err := s.Run(b.Context(), in, out); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(b.N) * float64(x.Shape()[0])
	b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "us/example")
	b.ReportMetric(float64((cpuTime()-start).Microseconds())/n, "cpu-us/example")
}

func BenchmarkDense1(b *testing.B) {
	benchmark(b, open(b, mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10), 1), ramp(1, 784))
}

func BenchmarkDense256(b *testing.B) {
	benchmark(b, open(b, mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10), 1), ramp(256, 784))
}

func BenchmarkConvNet(b *testing.B) { benchmark(b, open(b, convNet(), 1), ramp(1, 1, 28, 28)) }

func BenchmarkConvNet64(b *testing.B) { benchmark(b, open(b, convNet(), 1), ramp(64, 1, 28, 28)) }

func BenchmarkResNet18(b *testing.B) { benchmark(b, open(b, resnet18(224), 1), ramp(1, 3, 224, 224)) }

// BenchmarkQuantize quantizes a million numbers, with one scale and with one for each of a hundred channels.
func BenchmarkQuantize(b *testing.B) {
	for _, zero := range []*tensor.Tensor{
		tensor.Scalar(uint8(100)), tensor.Scalar(int8(5)), tensor.Must(tensor.New(tensor.Uint8, 100)), tensor.Must(tensor.New(tensor.Int8, 100)),
	} {
		b.Run(fmt.Sprintf("%v%v", zero.DType(), zero.Shape()), func(b *testing.B) {
			scale := tensor.Must(tensor.New(tensor.Float32, zero.Shape()...))
			for i := range scale.Size() {
				tensor.Data[float32](scale)[i] = 0.01 * float32(1+i)
			}
			n := graph.NewBuilder("quantize")
			x := n.Input("x", tensor.Float32, graph.Dims(100, 100, 100))
			n.Output(n.Op("QuantizeLinear", nil, x, n.Init("scale", scale), n.Init("zero", zero)))
			g, err := infer.Build(n)
			if err != nil {
				b.Fatal(err)
			}
			benchmark(b, open(b, g, 1), ramp(100, 100, 100))
		})
	}
}

// benchmarkTraining runs steps of SGD, each with the variables that the one before made.
func benchmarkTraining(b *testing.B, net *graph.Graph, batch int, dims ...int) {
	g, err := gradient.Build(net, gradient.Options{Loss: gradient.CrossEntropy, Optimizer: &gradient.Optimizer{Kind: gradient.SGD}, NoGradients: true})
	if err != nil {
		b.Fatal(err)
	}
	g, first := gradient.Feed(g)
	s := open(b, g, 1)
	first["x"] = ramp(append([]int{batch}, dims...)...)
	classes := tensor.Must(tensor.New(tensor.Int64, batch))
	for i := range batch {
		tensor.Data[int64](classes)[i] = int64(i % 10)
	}
	first[gradient.Target] = classes
	first["learning_rate"] = tensor.Scalar[float32](1e-4)
	var sets [2][]*tensor.Tensor // inputs and outputs change places
	out := make([][]*tensor.Tensor, 2)
	feeds := map[string]int{}
	for _, v := range s.Inputs() {
		feeds[gradient.NewPrefix+v.Name] = len(sets[0])
		sets[0] = append(sets[0], first[v.Name])
		sets[1] = append(sets[1], first[v.Name])
	}
	for i, v := range s.Outputs() {
		for k := range out {
			out[k] = append(out[k], nil)
			if j, ok := feeds[v.Name]; ok {
				out[k][i] = sets[0][j].Clone()
				sets[1-k][j] = out[k][i]
			} else {
				out[k][i] = tensor.Scalar[float32](0)
			}
		}
	}
	b.ReportAllocs()
	start, k := cpuTime(), 0
	for b.Loop() {
		if err := s.Run(b.Context(), sets[k], out[k]); err != nil {
			b.Fatal(err)
		}
		k = 1 - k
	}
	n := float64(b.N) * float64(batch)
	b.ReportMetric(n/b.Elapsed().Seconds(), "examples/s")
	b.ReportMetric(n/(cpuTime()-start).Seconds(), "examples/cpu-s")
}

func BenchmarkTrainDense100(b *testing.B) {
	benchmarkTraining(b, mlp(graph.Dim{Size: -1, Symbol: "N"}, 784, 128, 32, 10), 100, 784)
}

// BenchmarkTrainConv64 is 5x5x16, pool, 3x3x32, pool, 64, 10.
func BenchmarkTrainConv64(b *testing.B) {
	n := newNet("conv", 1, 28, 28)
	x := n.pool(n.relu(n.conv("x", 1, 16, 5, 1, true)), 2, 2, 0)
	x = n.pool(n.relu(n.conv(x, 16, 32, 3, 1, true)), 2, 2, 0)
	x = n.relu(n.dense(n.op("Flatten", nil, x), 32*7*7, 64))
	benchmarkTraining(b, n.finish(n.dense(x, 64, 10)), 64, 1, 28, 28)
}

// smallConv is 5x5x8, pool, 3x3x16, pool, 10.
func smallConv() *graph.Graph {
	n := newNet("small conv", 1, 28, 28)
	x := n.pool(n.relu(n.conv("x", 1, 8, 5, 1, true)), 2, 2, 0)
	x = n.pool(n.relu(n.conv(x, 8, 16, 3, 1, true)), 2, 2, 0)
	return n.finish(n.op("Softmax", nil, n.dense(n.op("Flatten", nil, x), 16*7*7, 10)))
}

// BenchmarkBatches runs batches of random sizes from 1 to 256 and batches of 128, by turns and as many rows of each, and reports what a row
// costs beside one of the others.
func BenchmarkBatches(b *testing.B) {
	for _, net := range []struct {
		name  string
		graph *graph.Graph
		dims  []int
	}{
		{"dense", mlp(batch, 784, 128, 32, 10), []int{784}},
		{"conv", smallConv(), []int{1, 28, 28}},
	} {
		b.Run(net.name, func(b *testing.B) {
			mixed, one := open(b, net.graph, 1), open(b, net.graph, 1)
			in, out := make([][]*tensor.Tensor, 257), make([][]*tensor.Tensor, 257)
			rowSize := tensor.Shape(net.dims).Size()
			x := tensor.Data[float32](ramp(256 * rowSize)) // the same for all, so that none has more to fetch
			for n := 1; n <= 256; n++ {
				in[n] = []*tensor.Tensor{tensor.Must(tensor.Of(x[:n*rowSize], append([]int{n}, net.dims...)...))}
				out[n] = []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, n, 10))}
			}
			run := func(s engine.Session, n int) time.Duration {
				begin := cpuTime() // which others on the machine do not add to
				if err := s.Run(b.Context(), in[n], out[n]); err != nil {
					b.Fatal(err)
				}
				return cpuTime() - begin
			}
			sizes := rand.New(rand.NewPCG(3, 4))
			run(one, 128)
			made := native.PlansMade(mixed)
			var random, same time.Duration
			rows, others := 0, 0
			for b.Loop() {
				n := 1 + sizes.IntN(256)
				random += run(mixed, n)
				for rows += n; others < rows; others += 128 {
					same += run(one, 128)
				}
			}
			perRow := func(d time.Duration, rows int) float64 { return float64(d.Nanoseconds()) / float64(rows) }
			b.ReportMetric(perRow(random, rows), "cpu-ns/row")
			b.ReportMetric(perRow(random, rows)/perRow(same, others), "x-of-one-size")
			b.ReportMetric(float64(native.PlansMade(mixed)-made), "plans")
		})
	}
}
