package native_test

import (
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
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
