package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// The architectures that NewModel makes; any other name is the path of an ONNX file.
const (
	// Auto is CNN for pictures in colour or larger than 32 pixels, and MLP for everything else. It is Run that chooses.
	Auto = "auto"
	// MLP is a dense net: 128, 32 and one unit a label, with ReLU in between.
	MLP = "mlp"
	// CNN is a convolutional net for pictures: 5x5 with 16 filters, then 3x3 with 32 (then 64, 128), each with ReLU and
	// pooled by two, until a side is at most 8; then 64 dense units and one a label.
	CNN = "cnn"
	// ResNet is a residual net for pictures: a 3x3 convolution with 16 filters, then two blocks each with 16, 32 and 64, the last two halving the sides. A block is
	// two 3x3 convolutions with batch normalization, around which its input goes (He and others, 2015). Then the mean over the picture, and one unit a label.
	ResNet = "resnet"
	// LSTM is a recurrent net for sequences [T,F]: an LSTM with 64 units in both directions, of whose last states comes one unit a label.
	LSTM = "lstm"
	// Transformer is an encoder for sequences [T,F]: 64 numbers a step with a learned place, two layers of attention with 4 heads and of 128 dense units, each
	// normalized before (Xiong and others, 2020), then the mean over the steps, and one unit a label.
	Transformer = "transformer"
)

// Archs are the names of the architectures that are made here.
var Archs = []string{MLP, CNN, ResNet, LSTM, Transformer}

// isMade reports whether a name is of an architecture that is made here, and not a file's.
func isMade(arch string) bool { return slices.Contains(Archs, arch) }

// Producer is what models made here say about their origin.
const Producer = "millrace"

// NewModel makes an untrained net for a data set, which the initial weights' distribution takes the shape and the numbers'
// scale from; the same seed gives the same weights. The graph ends in a Softmax named "probabilities", or in the number of a regression named "value", and
// its metadata says how pictures become inputs and what the columns of a table are. For the path of an ONNX file it is that file's graph, with the data set's labels
// and scaling where it has none of its own.
func NewModel(arch string, data *Set, seed uint64) (*graph.Graph, error) {
	if !isMade(arch) {
		return openModel(arch, data)
	}
	if err := fitsArch(arch, data); err != nil {
		return nil, err
	}
	what, units := "classifier", len(data.names)
	if data.targets != nil {
		what, units = "regression", 1
	}
	n := &net{b: graph.NewBuilder(what), random: rand.New(rand.NewPCG(seed, 0x1417))}
	batch := graph.Dim{Size: -1, Symbol: "N"}
	shape := graph.Shape{batch}
	for _, d := range data.shape {
		shape = append(shape, graph.Dim{Size: int64(d)})
	}
	name := "features"
	if data.Picture() {
		name = "image"
	}
	x := n.b.Input(name, tensor.Float32, shape)
	width := data.size
	switch {
	case data.categories():
		x, width = n.encode(x, data)
	case data.bytes == nil || data.table:
		x = n.standardise(x, data)
	}
	switch arch {
	case CNN:
		x, width = n.convolutions(x, data.shape)
		x = n.b.Op("Flatten", nil, x)
		x = n.b.Op("Relu", nil, n.dense(x, "dense1", width, 64, math.Sqrt(2)))
		x = n.dense(x, "dense2", 64, units, 1)
	case ResNet:
		x, width = n.residuals(x, data.shape[0])
		x = n.dense(x, "dense", width, units, 1)
	case LSTM:
		x, width = n.recurrent(x, data.shape[1])
		x = n.dense(x, "dense", width, units, 1)
	case Transformer:
		x, width = n.encoder(x, data.shape)
		x = n.dense(x, "dense", width, units, 1)
	default:
		if len(data.shape) > 1 {
			x = n.b.Op("Flatten", nil, x)
		}
		x = n.b.Op("Relu", nil, n.dense(x, "dense1", width, 128, math.Sqrt(2)))
		x = n.b.Op("Relu", nil, n.dense(x, "dense2", 128, 32, math.Sqrt(2)))
		x = n.dense(x, "dense3", 32, units, 1)
	}
	if data.targets != nil {
		n.value(x, data)
	} else {
		n.b.Name(x, "logits")
		n.b.Output(n.b.Name(n.b.Op("Softmax", graph.Attrs{"axis": int64(-1)}, "logits"), "probabilities"))
	}
	g, err := infer.Build(n.b)
	if err != nil {
		return nil, fmt.Errorf("arch %s: %w", arch, err)
	}
	g.Producer = Producer
	meta := metadata(data, model.Metadata{})
	if data.Picture() {
		meta.Layout = "NCHW"
		if data.table { // the graph scales: whoever trains on numbers sends numbers, in whatever type they come
			meta.Scale, meta.Mean, meta.Std = 1, nil, nil
		}
	}
	g.Metadata = meta.Props()
	return g, nil
}

// plain reports whether the set's bytes are numbers to a model: the rows of a table may look like pictures where the model takes features and
// does not say how it scales them.
func (s *Set) plain(m *model.Model) bool {
	spec, err := m.Spec()
	return err == nil && s.table && !spec.Picture()
}

// net writes layers with random weights.
type net struct {
	b      *graph.Builder
	random *rand.Rand
}

// weights are normal with a deviation of gain/sqrt(fan-in) (He and others, for ReLU: gain sqrt(2)).
func (n *net) weights(name string, fanIn int, gain float64, shape ...int) string {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	d := gain / math.Sqrt(float64(fanIn))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(n.random.NormFloat64() * d)
	}
	return n.b.Init(name, t)
}

func (n *net) zeros(name string, size int) string {
	return n.b.Init(name, tensor.Must(tensor.New(tensor.Float32, size)))
}

func (n *net) dense(x, name string, in, out int, gain float64) string {
	return n.b.Op("Gemm", nil, x, n.weights(name+".weight", in, gain, in, out), n.zeros(name+".bias", out))
}

// convolutions appends blocks of convolution, ReLU and pooling, and returns how many numbers come out.
func (n *net) convolutions(x string, shape tensor.Shape) (string, int) {
	channels, h, w := shape[0], shape[1], shape[2]
	filters, kernel := 16, 5
	for block := 1; ; block++ {
		name, k := fmt.Sprintf("conv%d", block), int64(kernel)
		wt := n.weights(name+".weight", channels*kernel*kernel, math.Sqrt(2), filters, channels, kernel, kernel)
		x = n.b.Op("Conv", graph.Attrs{"kernel_shape": []int64{k, k}, "pads": []int64{k / 2, k / 2, k / 2, k / 2}}, x, wt, n.zeros(name+".bias", filters))
		x = n.b.Op("Relu", nil, x)
		if h >= 2 && w >= 2 {
			x = n.b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, x)
			h, w = h/2, w/2
		}
		channels = filters
		if block >= 2 && max(h, w) <= 8 || min(h, w) < 2 {
			return x, channels * h * w
		}
		filters, kernel = min(filters*2, 128), 3
	}
}

// standardise brings features to mean 0 and deviation 1, by constants that training leaves alone. The samples of a picture have them together.
func (n *net) standardise(x string, data *Set) string {
	shape := data.shape
	var mean, std []float32
	switch {
	case data.sequence():
		shape = tensor.Shape{1, data.shape[1]}
		mean, std = moments(data.floats, data.shape[1])
	case data.Picture():
		shape = tensor.Shape{data.shape[0], 1, 1}
		m, s := pixelMoments(data)
		for c := range m {
			mean, std = append(mean, float32(255*m[c])), append(std, float32(255*s[c]))
		}
	default:
		mean, std = featureMoments(data)
	}
	c := func(v []float32) string {
		return n.b.Op("Constant", graph.Attrs{"value": tensor.Must(tensor.Of(v, shape...))})
	}
	return n.b.Op("Div", nil, n.b.Op("Sub", nil, x, c(mean)), c(std))
}

// featureMoments returns each feature's mean and standard deviation (1 where it does not vary).
func featureMoments(s *Set) (mean, std []float32) {
	return moments(s.floats[:len(s.labels)*s.size], s.size)
}

// moments are those of rows of so many numbers.
func moments(rows []float32, width int) (mean, std []float32) {
	mean, std = make([]float32, width), make([]float32, width)
	n := float64(len(rows) / width)
	for f := range width {
		var sum, sq float64
		for i := f; i < len(rows); i += width {
			sum += float64(rows[i])
		}
		m := sum / n
		for i := f; i < len(rows); i += width {
			d := float64(rows[i]) - m
			sq += d * d
		}
		mean[f], std[f] = float32(m), float32(math.Sqrt(sq/n))
		if std[f] < 1e-12 {
			std[f] = 1
		}
	}
	return mean, std
}

// metadata completes what a model says about its input and output from a data set.
func metadata(data *Set, m model.Metadata) model.Metadata {
	if len(m.Labels) == 0 {
		m.Labels = data.names
	}
	m = data.describe(m)
	if data.sequence() && m.Layout == "" {
		m.Layout = media.NTC
	}
	if m.Scale != 0 || len(m.Mean) > 0 || len(m.Std) > 0 {
		return m
	}
	if data.bytes == nil {
		m.Scale = 1 // trained on the numbers as they are, in whatever type they come
		return m
	}
	if !data.Picture() {
		return m
	}
	if data.orientation != "" && m.Orientation == "" {
		m.Orientation = data.orientation
	}
	m.Scale = 1.0 / 255
	m.Mean, m.Std = pixelMoments(data)
	if digits(data) {
		if m.Invert == "" {
			m.Invert = "auto"
		}
		if m.Centre == "" {
			m.Centre = "mnist"
		}
	}
	return m
}

// digits reports whether pictures look like MNIST's: grey, 28x28, light strokes on an edge that is black almost everywhere.
func digits(s *Set) bool {
	if !s.shape.Equal(tensor.Shape{1, 28, 28}) {
		return false
	}
	dark, all := 0, 0
	for i := 0; i < len(s.bytes); i += s.size {
		for k := range 28 {
			for _, v := range []uint8{s.bytes[i+k], s.bytes[i+27*28+k], s.bytes[i+28*k], s.bytes[i+28*k+27]} {
				all++
				if v == 0 {
					dark++
				}
			}
		}
	}
	return float64(dark) > 0.99*float64(all)
}

// pixelMoments returns the mean and standard deviation of each channel's pixels as shares of 255, to four digits.
func pixelMoments(s *Set) (mean, std []float64) {
	channels := s.shape[0]
	plane := s.size / channels
	round := func(v float64) float64 { return math.Round(v*1e4) / 1e4 }
	for c := range channels {
		var sum, sq, count float64
		for i := c * plane; i < len(s.bytes); i += s.size {
			for _, v := range s.bytes[i : i+plane] {
				f := float64(v) / 255
				sum += f
				sq += f * f
				count++
			}
		}
		m := sum / count
		d := round(math.Sqrt(max(sq/count-m*m, 0)))
		if d == 0 {
			d = 1
		}
		mean, std = append(mean, round(m)), append(std, d)
	}
	return mean, std
}

// openModel reads an ONNX file to be trained (further).
func openModel(path string, data *Set) (*graph.Graph, error) {
	g, err := onnx.Open(path)
	if err != nil {
		return nil, fmt.Errorf("arch %q is none of %s, nor an ONNX file: %w", path, strings.Join(Archs, ", "), err)
	}
	return complete(path, g, data)
}

// complete adds to a file's graph what it does not say of its input and output.
func complete(path string, g *graph.Graph, data *Set) (*graph.Graph, error) {
	m, err := model.New(g)
	if err != nil {
		return nil, fmt.Errorf("arch %s: %w", path, err)
	}
	if g.Metadata == nil {
		g.Metadata = map[string]string{}
	}
	if data.plain(m) {
		m.Scale = 1
	}
	for k, v := range metadata(data, m.Metadata).Props() {
		g.Metadata[k] = v
	}
	return g, nil
}
