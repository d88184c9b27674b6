package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph/gradient"
)

// A Config says what to train, on what and how. Data and Engine are needed, the rest has useful zero values.
type Config struct {
	// Arch is "auto" (also ""), one of Archs, or the path of an ONNX classifier whose floating-point initializers are trained.
	Arch string
	// ReplaceHead gives an ONNX classifier a new last layer for so many classes, those of the data set; 0 leaves it.
	ReplaceHead int
	// Data is the path of a data set, which Open reads with Options. Set, where it is there, is used instead.
	Data    string
	Options Options
	Set     *Set
	// Out is the file that the trained model is written to; "" writes none.
	Out string
	// Epochs is how often each training example is used; 0 is 10.
	Epochs int
	// Batch is how many examples make one update; 0 is 100, and of a small folder of pictures a twentieth of it, at least 8. A model whose batch dimension is fixed has its own.
	Batch int
	// Loss is what is made small: "cross_entropy" of classes, "mse" (also ""), "mae" or "huber" of numbers. "" is that of the task.
	Loss string
	// HuberDelta is where huber goes from square to straight, in deviations of the numbers; 0 is 1.
	HuberDelta float64
	// Balanced gives each class a weight in the loss, so that all count alike however often they are there.
	Balanced bool
	// Optimizer is "sgd", "momentum", "nesterov", "rmsprop", "adam" (also ""), "adamw", "lion" or "lamb".
	Optimizer string
	// LearningRate is the highest; 0 is the optimizer's default, but 0.004 for a new mlp or cnn with adam or adamw.
	LearningRate float64
	// Momentum and WeightDecay are the optimizer's; 0 is its default.
	Momentum, WeightDecay float64
	// NoDecay are patterns of path.Match of the names of variables without weight decay.
	NoDecay []string
	// Average, where it is over 0, is the decay of an exponential moving average of the variables, which is what is evaluated and written.
	Average float64
	// Schedule is "constant", "warmup", "cosine" (also ""), "one_cycle" or "step".
	Schedule string
	// LabelSmoothing takes that share of each target and spreads it over all classes.
	LabelSmoothing float64
	// MaxValue limits each element of a gradient, before MaxNorm; 0 does not.
	MaxValue float64
	// MaxNorm limits the 2-norm of all gradients together; 0 does not.
	MaxNorm float64
	// Frozen are initializers of an ONNX model that are left alone; nil leaves alone what the file says (model.Metadata.Frozen).
	Frozen []string
	// Seed decides the initial weights, the order of the examples and their augmentation.
	Seed uint64
	// Eval is the part that is kept for validation: a number of examples, which are the last ones ("10000"), a
	// percentage at random ("10%"), or "0" for none; "" is "10%".
	Eval string
	// Augment changes training pictures at random, as ParseAugment reads it.
	Augment string
	// Checkpoint is the file that the state is kept in, after each epoch and when training is cut off; "" keeps none.
	Checkpoint string
	// Dir is a folder of the run's own: settings, metrics, checkpoints, models and the last evaluation. "" keeps none.
	Dir string
	// CheckpointEvery is how many steps lie between the checkpoints in Dir; 0 is one at the end of each epoch. Keep is how many are kept, beside the best one; 0 is 3.
	CheckpointEvery, Keep int
	// Versions are further ones for Dir's description, such as the program's.
	Versions map[string]string
	// Patience ends training after so many epochs in which the kept part was not done better on; 0 never does.
	Patience int
	// Resume goes on from Checkpoint, or from the newest checkpoint in Dir.
	Resume bool
	// Unit is the unit of a regression's numbers, for the model's metadata.
	Unit string
	// Engine runs the training graph, with EngineOptions.
	Engine        engine.Engine
	EngineOptions engine.Options
	// Report, where it is there, is called on Run's goroutine: several times a second, and at the end of each epoch
	// with an evaluation.
	Report func(Progress)
	// Log, where it is there, gets a line for what is decided on the way: the data set's notes, and a warning where a class cannot be learned.
	Log *slog.Logger
}

// Progress is where training stands.
type Progress struct {
	// Epoch and Epochs, Step and Steps count from 1; steps are those of the whole training.
	Epoch, Epochs, Step, Steps int
	// Loss and Accuracy are means over the epoch's training examples so far, measured before each update; as in Result.
	Loss, Accuracy float64
	// Regression says that the model predicts a number.
	Regression bool
	// ExamplesPerSecond is the rate since the last report.
	ExamplesPerSecond float64
	// Remaining is the time left at the mean rate so far.
	Remaining time.Duration
	// Evaluation is there once an epoch is done, where a part is kept for it.
	Evaluation *Metrics
}

// Settings are the hyper-parameters that decide what training computes. A checkpoint keeps them, and training goes on
// only with the same ones.
type Settings struct {
	Arch           string  `json:"arch"`
	Data           string  `json:"data"` // fingerprint of the training part
	Examples       int     `json:"examples"`
	Epochs         int     `json:"epochs"`
	Batch          int     `json:"batch"`
	Optimizer      string  `json:"optimizer"`
	LearningRate   float64 `json:"learning_rate"`
	Momentum       float64 `json:"momentum"`
	WeightDecay    float64 `json:"weight_decay"`
	Schedule       string  `json:"schedule"`
	LabelSmoothing float64 `json:"label_smoothing"`
	MaxNorm        float64 `json:"max_norm"`
	Seed           uint64  `json:"seed"`
	Augment        string  `json:"augment"`
	Engine         string  `json:"engine"`
	Loss           string  `json:"loss,omitempty"`
	HuberDelta     float64 `json:"huber_delta,omitempty"`
	Balanced       bool    `json:"balanced,omitempty"`
	NoDecay        string  `json:"no_decay,omitempty"`
	Average        float64 `json:"average,omitempty"`
	MaxValue       float64 `json:"max_value,omitempty"`
	ReplaceHead    int     `json:"replace_head,omitempty"`
}

// newNetRate is Adam's default rate for nets that begin with random weights. On MNIST the dense net comes to 98.05 to 98.10 % in
// 10 epochs with it (three seeds) and to 97.8 % with 0.001; the convolutional one to 98.7 and 98.4 % in two.
const newNetRate = 0.004

// transformerRate is the same for the transformer, which is known to bear less.
const transformerRate = 0.002

// settled is a Config with its defaults filled in and its words read.
type settled struct {
	Config
	optimizer gradient.Optimizer
	schedule  Schedule
	augment   Augment
}

// Validate reports every fault at once, as fault.Errors. Files are looked at by Run alone.
func (c Config) Validate() error {
	_, err := c.settle()
	return err
}

// settle fills in defaults and reads the words.
func (c Config) settle() (settled, error) {
	fill := func(v *string, def string) {
		if *v == "" {
			*v = def
		}
	}
	fill(&c.Arch, Auto)
	fill(&c.Optimizer, string(gradient.Adam))
	fill(&c.Schedule, string(Cosine))
	fill(&c.Eval, "10%")
	if c.Epochs == 0 {
		c.Epochs = 10
	}
	if c.Keep == 0 {
		c.Keep = 3
	}
	adam := c.Optimizer == string(gradient.Adam) || c.Optimizer == string(gradient.AdamW)
	switch {
	case c.LearningRate != 0 || !adam || c.Arch != Auto && !isMade(c.Arch):
	case c.Arch == Transformer:
		c.LearningRate = transformerRate
	default:
		c.LearningRate = newNetRate
	}
	s := settled{schedule: Schedule(c.Schedule)}
	s.optimizer = gradient.Optimizer{Kind: gradient.Kind(c.Optimizer), LearningRate: c.LearningRate, Momentum: c.Momentum, WeightDecay: c.WeightDecay,
		NoDecay: c.NoDecay, Average: c.Average}.Defaults()
	c.LearningRate = s.optimizer.LearningRate
	s.Config = c

	var l fault.Errors
	same := func(path string) (string, bool) { return path, true }
	at := func(path string) func(string) (string, bool) {
		return func(string) (string, bool) { return path, true }
	}
	l.Check(c.Data != "" || c.Set != nil, "data", "is missing: there is no data set")
	l.Take(c.Options.Validate(), same)
	switch {
	case c.ReplaceHead < 0 || c.ReplaceHead == 1 || c.ReplaceHead > maxLabels:
		l.Add("replace_head", "%d is not from 2 to %d classes", c.ReplaceHead, maxLabels)
	case c.ReplaceHead > 0 && (c.Arch == Auto || isMade(c.Arch)):
		l.Add("replace_head", "is for an ONNX file, and arch is %s, which has a head for the data set as it is made", c.Arch)
	case c.ReplaceHead > 0 && c.Options.Task == taskRegression:
		l.Add("replace_head", "is for classes, and task is regression")
	}
	l.Check(c.Epochs >= 1 && c.Epochs <= 1e6, "epochs", "%d is not from 1 to 1000000", c.Epochs)
	l.Check(c.Batch >= 0 && c.Batch <= 1<<20, "batch", "%d is not from 1 to %d", c.Batch, 1<<20)
	l.Take(s.gradient(nil).Validate(), same)
	regression := c.Options.Task == taskRegression
	l.Check(!slices.Contains(gradient.Losses, gradient.Loss(c.Loss)) || (c.Loss == string(gradient.CrossEntropy)) != regression && c.Loss != string(gradient.BCEWithLogits), "loss", "%q is not for this task: %s", c.Loss, lossesOf(regression))
	l.Check(!c.Balanced || !regression, "balanced", "is for classes")
	l.Take(s.schedule.validate(), at("schedule"))
	_, _, err := parsePart(c.Eval)
	l.Take(err, at("eval"))
	s.augment, err = ParseAugment(c.Augment)
	l.Take(err, at("augment"))
	l.Check(!c.Resume || c.Checkpoint != "" || c.Dir != "", "checkpoint", "is missing: to resume, name the checkpoint, or the run's folder")
	l.Check(c.Checkpoint == "" || c.Dir == "", "checkpoint", "is in the run's folder where that is named")
	l.Check(c.CheckpointEvery == 0 || c.CheckpointEvery > 0 && c.Dir != "", "checkpoint_every", "%d: it is a number of steps, and for a run's folder", c.CheckpointEvery)
	l.Check(c.Keep >= 0 && c.Keep <= 1e6, "keep", "%d is not from 1 to 1000000", c.Keep)
	l.Check(c.Patience >= 0, "patience", "%d is not from 0", c.Patience)
	l.Check(c.Engine != nil, "engine", "is missing: there is no engine")
	l.Take(c.EngineOptions.Validate(), same)
	l.Check(c.EngineOptions.Precision != engine.Float16, "precision", "training computes in float32: float16 is for a model that is trained")
	if err := l.Err(); err != nil {
		return s, fmt.Errorf("train: %w", err)
	}
	return s, nil
}

// gradient are the options of the training graph; set is nil as long as the data is not read.
func (s settled) gradient(set *Set) gradient.Options {
	loss := gradient.CrossEntropy
	if s.Options.Task == taskRegression || set != nil && set.targets != nil {
		loss = gradient.MSE
	}
	if s.Loss != "" {
		loss = gradient.Loss(s.Loss)
	}
	return gradient.Options{Loss: loss, LabelSmoothing: s.LabelSmoothing, HuberDelta: s.HuberDelta, Optimizer: &s.optimizer, MaxNorm: s.MaxNorm, MaxValue: s.MaxValue, Frozen: s.Frozen}
}

// lossesOf says what losses a task has.
func lossesOf(regression bool) string {
	if regression {
		return "numbers have mse, mae and huber"
	}
	return "classes have cross_entropy"
}

// balance are the weights of classes that are there so often: all together they weigh as much as all examples.
func balance(labels []int64, classes int) []float64 {
	counts, there := make([]int, classes), 0
	for _, l := range labels {
		if counts[l]++; counts[l] == 1 {
			there++
		}
	}
	weights := make([]float64, classes)
	for i, n := range counts {
		if n > 0 {
			weights[i] = float64(len(labels)) / float64(there*n)
		}
	}
	return weights
}

// settings are what a checkpoint keeps; batch is the one in use.
func (s settled) settings(training *Set, batch int) Settings {
	return Settings{Arch: s.Arch, Data: training.fingerprint(), Examples: training.Len(), Epochs: s.Epochs, Batch: batch,
		Optimizer: s.Optimizer, LearningRate: s.LearningRate, Momentum: s.optimizer.Momentum, WeightDecay: s.optimizer.WeightDecay,
		Schedule: s.Schedule, LabelSmoothing: s.LabelSmoothing, MaxNorm: s.MaxNorm, Seed: s.Seed, Augment: s.augment.String(), Engine: s.Engine.Name(),
		Loss: s.Loss, HuberDelta: s.HuberDelta, Balanced: s.Balanced, NoDecay: strings.Join(s.NoDecay, ","), Average: s.Average, MaxValue: s.MaxValue, ReplaceHead: s.ReplaceHead}
}

// fits returns why training with settings n cannot go on from a checkpoint of s.
func (s Settings) fits(n Settings) error {
	if s.Schedule == string(Constant) {
		s.Epochs = n.Epochs // a constant rate may go on for longer
	}
	if s == n {
		return nil
	}
	var faults []error
	differ := func(name string, was, is any) {
		if was != is {
			faults = append(faults, fmt.Errorf("%s was %v and is %v", name, was, is))
		}
	}
	differ("arch", s.Arch, n.Arch)
	differ("the data set", s.Data, n.Data)
	differ("the number of examples", s.Examples, n.Examples)
	differ("epochs", s.Epochs, n.Epochs)
	differ("batch", s.Batch, n.Batch)
	differ("optimizer", s.Optimizer, n.Optimizer)
	differ("learning rate", s.LearningRate, n.LearningRate)
	differ("momentum", s.Momentum, n.Momentum)
	differ("weight decay", s.WeightDecay, n.WeightDecay)
	differ("schedule", s.Schedule, n.Schedule)
	differ("label smoothing", s.LabelSmoothing, n.LabelSmoothing)
	differ("max norm", s.MaxNorm, n.MaxNorm)
	differ("seed", s.Seed, n.Seed)
	differ("augmentation", s.Augment, n.Augment)
	differ("engine", s.Engine, n.Engine)
	differ("loss", s.Loss, n.Loss)
	differ("huber delta", s.HuberDelta, n.HuberDelta)
	differ("balanced", s.Balanced, n.Balanced)
	differ("no decay", s.NoDecay, n.NoDecay)
	differ("average", s.Average, n.Average)
	differ("max value", s.MaxValue, n.MaxValue)
	differ("replace head", s.ReplaceHead, n.ReplaceHead)
	return fmt.Errorf("%w: it is of training with other settings: %w", ErrCheckpoint, errors.Join(faults...))
}

// fingerprint is a checksum of the examples.
func (s *Set) fingerprint() string {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(s.bytes, table)
	if len(s.floats) > 0 {
		raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s.floats))), 4*len(s.floats))
		sum = crc32.Update(sum, table, raw)
	}
	for _, l := range s.labels {
		sum = crc32.Update(sum, table, []byte{byte(l), byte(l >> 8)})
	}
	for _, v := range s.targets {
		sum = crc32.Update(sum, table, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	}
	return fmt.Sprintf("%08x%v", sum, s.shape)
}
