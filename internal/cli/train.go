package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/train"
	runreport "github.com/millrace/millrace/train/report"
)

func (c *command) train() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "train --data DATA --out FILE",
		Short: "Train a classifier or a regression and write it as ONNX",
		Long: `Trains a classifier on a data set: a folder with MNIST's two files, a folder with a folder of pictures for each label (in train, val and test where it is divided), or a CSV
or Parquet file with a label in each row, or an .npz file with the arrays x and y (or x_train and y_train, x_test and y_test), whose examples may be sequences [steps,features]; with --task regression a net that predicts the numbers of a column. The label's column is the one that --label names, else the one headed label,
class, target or y, else the only one of text, else the last one (of pictures the first one). What was decided and left out in reading it is printed to the standard error. The network is dense (mlp), convolutional (cnn, and resnet
with ways around its blocks), recurrent (lstm), an encoder with attention (transformer), or the one in an ONNX file. Where --checkpoint names a file, training
that was interrupted goes on with --resume, to the same bits. --run keeps a folder with all that a run was and did, and a report.`,
		Example: `  millrace train --arch mlp --data mnist --epochs 3 --out digits.onnx
  millrace train --data readings.csv --label state --ignore id,time --out state.onnx
  millrace train --data readings.csv --task regression --label load --unit kW --missing mean --out load.onnx
  millrace train --arch cnn --data photos/ --augment shift=0.05,rotate=5 --checkpoint run.ckpt --out photos.onnx
  millrace train --arch transformer --data readings.npz --out movement.onnx
  millrace train --data mnist --run runs/first --checkpoint-every 200 --patience 3
  millrace train --arch digits.onnx --data more.csv --lr 0.0001 --out better.onnx --json`,
		GroupID: "local",
		Args:    args(),
	}
	var t train.Config
	f := cmd.Flags()
	f.StringVar(&t.Arch, "arch", train.Auto, "mlp; cnn or resnet for pictures; lstm or transformer for sequences; auto (cnn for pictures in colour or larger than 32 pixels, lstm for sequences, else mlp); or an ONNX `file` to go on from")
	f.IntVar(&t.ReplaceHead, "replace-head", 0, "give the ONNX file in --arch a new last layer for so many `classes`, those of the data set")
	f.StringVar(&t.Data, "data", "", "the data set: a `folder`, or a CSV, Parquet or .npz file")
	f.StringVar(&t.Out, "out", "", "ONNX `file` to write")
	readFlags(cmd, &t.Options)
	tableFlags(cmd, &t.Options)
	f.StringVar(&t.Options.Missing, "missing", "error", "what is done where a table has no value: error, mean (the column's mean or most frequent text) or drop (the row)")
	f.StringVar(&t.Options.Task, "task", "", "classification, or regression, which predicts a number (default: classification, refused where the labels do not look like classes)")
	f.StringVar(&t.Unit, "unit", "", "the `unit` of a regression's number, which its results have too")
	f.IntVar(&t.Epochs, "epochs", 10, "how often each example is used")
	f.IntVar(&t.Batch, "batch", 100, "examples in one update (default of a small folder of pictures and of few sequences: less)")
	f.StringVar(&t.Optimizer, "optimizer", string(gradient.Adam), "sgd, momentum, nesterov, rmsprop, adam, adamw, lion or lamb")
	f.Float64Var(&t.LearningRate, "lr", 0, "highest learning rate (default: the optimizer's; 0.004 for a new net with adam)")
	f.Float64Var(&t.Momentum, "momentum", 0, "momentum of sgd's relatives (default 0.9)")
	f.Float64Var(&t.WeightDecay, "weight-decay", 0, "weight decay of adamw, lion and lamb (default 0.01)")
	f.StringSliceVar(&t.NoDecay, "no-decay", nil, "`patterns` of the names of variables without weight decay, such as *.bias")
	f.Float64Var(&t.Average, "average", 0, "write an exponential moving average of the variables, with this `decay`, such as 0.999 (0: the variables)")
	f.StringVar(&t.Schedule, "schedule", string(train.Cosine), "how the learning rate goes: constant, warmup, cosine, one_cycle or step")
	f.StringVar(&t.Loss, "loss", "", "what is made small: cross_entropy of classes; mse, mae or huber of numbers (default: cross_entropy, mse)")
	f.Float64Var(&t.HuberDelta, "huber-delta", 0, "where huber goes from square to straight, in deviations of the numbers (default 1)")
	f.BoolVar(&t.Balanced, "balanced", false, "let all classes count alike, however often they are there")
	f.Float64Var(&t.LabelSmoothing, "label-smoothing", 0, "share of each target that is spread over all labels")
	f.Float64Var(&t.MaxValue, "max-value", 0, "limit of each element of a gradient (0: none)")
	f.Float64Var(&t.MaxNorm, "max-norm", 0, "limit of the gradients' norm (0: none)")
	f.StringSliceVar(&t.Frozen, "frozen", nil, "`initializers` of an ONNX model to leave alone (default: what its file says; '' trains all)")
	f.Uint64Var(&t.Seed, "seed", 0, "seed of the weights, the order and the augmentation")
	f.StringVar(&t.Eval, "eval", "10%", "what is kept for validation: a number of examples (the last ones), a percentage at random, or 0")
	f.StringVar(&t.Augment, "augment", "none", "random changes of pictures: none, digits, or a list such as shift=0.05,rotate=10")
	f.StringVar(&t.Checkpoint, "checkpoint", "", "`file` that keeps the state after each epoch")
	f.StringVar(&t.Dir, "run", "", "`folder` of the run's own: settings, metrics, checkpoints, models, plots and a report; see millrace runs")
	f.IntVar(&t.CheckpointEvery, "checkpoint-every", 0, "steps between the checkpoints in --run (default: one at the end of each epoch)")
	f.IntVar(&t.Keep, "keep", 3, "how many checkpoints --run keeps, beside the best one")
	f.IntVar(&t.Patience, "patience", 0, "end after so many epochs in which the kept part was not done better on (0: never)")
	f.BoolVar(&t.Resume, "resume", false, "go on from --checkpoint, or from the newest checkpoint in --run")
	engines := c.engineFlag(cmd)
	threads := f.Int("threads", 0, "how many threads may be used (0: the engine's choice)")
	device := f.String("device", "", "cpu or cuda:N")
	tf32 := f.Bool("tf32", false, "let products on a CUDA device round their operands to 10 bits, for speed")
	var limit sizeFlag
	f.Var(&limit, "memory-limit", "the most bytes of a CUDA device's memory, such as 4GiB (default: no limit)")
	asJSON := cmd.Flags().Bool("json", false, "print progress and result as JSON, a line each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t.Versions = map[string]string{"millrace": readBuild().text()}
		t.EngineOptions = engine.Options{Threads: *threads, Device: *device, TF32: *tf32, MemoryLimit: int64(limit)}
		if err := checkTrain(t); err != nil {
			return err
		}
		if !cmd.Flags().Changed("batch") {
			t.Batch = 0 // as many as the data set needs
		}
		all, name, err := engines()
		if err != nil {
			return err
		}
		if name == "auto" && t.EngineOptions.OnCPU() {
			// Measured: native trains dense nets 1.2 times and convolutional ones 3.6 times as fast as onnxruntime.
			name = native.Name
		}
		if t.Engine, err = all.Get(name); err != nil {
			return err
		}
		t.EngineOptions = all.Options(t.Engine.Name(), t.EngineOptions)
		p := &progress{c: c, json: *asJSON, bar: !*asJSON && isTerminal(c.Stderr)}
		t.Log = slog.New(&notices{c: c})
		t.Report = p.report
		result, err := train.Run(cmd.Context(), t)
		p.end()
		if t.Dir != "" && !errors.Is(err, train.ErrRunDir) {
			// What there is of a run that was cut off or failed is worth a look too.
			if drawn := runreport.Write(t.Dir); drawn != nil && err == nil {
				return drawn
			}
		}
		if err != nil {
			if state := cmp.Or(t.Dir, t.Checkpoint); errors.Is(err, context.Canceled) && state != "" {
				c.warn(fmt.Sprintf("the state is in %s; --resume goes on from it", state))
			}
			return err
		}
		return c.printTrained(t, result, *asJSON)
	}
	return cmd
}

// checkTrain finds what the user typed wrong before anything is read. A flag's 0 is no default.
func checkTrain(t train.Config) error {
	var l fault.Errors
	l.Take(t.Validate(), func(path string) (string, bool) { return path, path != "engine" && path != "data" })
	if t.Data == "" {
		l.Add("data", "is missing; `millrace data mnist --out mnist` fetches a set to begin with")
	}
	l.Check(t.Out != "" || t.Dir != "", "out", "is missing")
	l.Check(t.Epochs != 0, "epochs", "0 must be at least 1")
	l.Check(t.Batch != 0, "batch", "0 must be at least 1")
	for i, f := range l {
		switch f.Path {
		case "optimizer":
			l[i].Msg += didYouMean(t.Optimizer, words(gradient.Kinds))
		case "schedule":
			l[i].Msg += didYouMean(t.Schedule, words(train.Schedules))
		case "learning_rate":
			l[i].Path = "lr"
		case "replace_head":
			l[i].Path = "replace-head"
		}
	}
	return flagFaults(l.Err())
}

// readFlags adds the flags that say how a data set is read.
func readFlags(cmd *cobra.Command, o *train.Options) {
	f := cmd.Flags()
	f.StringVar((*string)(&o.Header), "header", "auto", "whether the first row of a CSV file is a header: yes, no or auto, which prints what it took it for")
	f.Func("separator", "what separates a CSV file's columns: one character, or tab (default: found, and printed)", func(s string) (err error) {
		o.Separator, err = separatorOf(s)
		return err
	})
	f.StringVar(&o.Size, "size", "", "what the pictures of a folder become, as `WIDTHxHEIGHT` (default: their own size, or the middle shape and number of pixels, at most 96 pixels a side; a model's where there is one)")
	f.BoolVar(&o.SkipBad, "skip-bad", false, "leave out the pictures of a folder that cannot be read, and say which")
	f.StringVar(&o.Orientation, "orientation", "", "what is done with the orientation in a photograph's Exif data: exif turns it upright, ignore does not (default: what the model says, else exif)")
}

// tableFlags adds the flags that say which columns of a table are what.
func tableFlags(cmd *cobra.Command, o *train.Options) {
	f := cmd.Flags()
	f.StringVar(&o.Label, "label", "", "the `column` of a table that has the labels, or the numbers to predict: its name, or its number from 1")
	f.StringSliceVar(&o.Ignore, "ignore", nil, "`columns` of a table to leave out, by name or number, such as id,time")
}

// trained is the result for other programs. A classifier has accuracies, a regression errors.
type trained struct {
	Out               string   `json:"out"`
	Engine            string   `json:"engine"`
	Loss              float64  `json:"loss"`
	Accuracy          *float64 `json:"accuracy,omitempty"`
	TestAccuracy      *float64 `json:"test_accuracy,omitempty"`
	TestLoss          *float64 `json:"test_loss,omitempty"`
	TestExamples      int      `json:"test_examples,omitempty"`
	EvalRMSE          *float64 `json:"eval_rmse,omitempty"`
	EvalMAE           *float64 `json:"eval_mae,omitempty"`
	EvalR2            *float64 `json:"eval_r2,omitempty"`
	EvalAccuracy      *float64 `json:"eval_accuracy,omitempty"`
	EvalLoss          *float64 `json:"eval_loss,omitempty"`
	EvalExamples      int      `json:"eval_examples,omitempty"`
	Examples          int      `json:"examples"`
	Steps             int      `json:"steps"`
	Parameters        int      `json:"parameters"`
	Seconds           float64  `json:"seconds"`
	ExamplesPerSecond float64  `json:"examples_per_second"`
}

// wroteTo is where the trained model is.
func wroteTo(t train.Config) string {
	if t.Out == "" {
		return filepath.Join(t.Dir, train.ModelFile)
	}
	return t.Out
}

func (c *command) printTrained(t train.Config, r train.Result, asJSON bool) error {
	if asJSON {
		o := trained{
			Out: wroteTo(t), Engine: t.Engine.Name(), Loss: r.Loss, Examples: r.Examples, Steps: r.Steps,
			Parameters: r.Parameters, Seconds: r.Duration.Seconds(), ExamplesPerSecond: r.ExamplesPerSecond,
		}
		if !r.Regression {
			o.Accuracy = &r.Accuracy
		}
		if e := r.Evaluation; e != nil {
			o.EvalLoss, o.EvalExamples = &e.Loss, e.Examples
			if e.Errors != nil {
				o.EvalRMSE, o.EvalMAE, o.EvalR2 = &e.Errors.RMSE, &e.Errors.MAE, &e.Errors.R2
			} else {
				o.EvalAccuracy = new(e.Accuracy())
			}
		}
		if e := r.Test; e != nil {
			o.TestAccuracy, o.TestLoss, o.TestExamples = new(e.Accuracy()), &e.Loss, e.Examples
		}
		return printJSON(c.Stdout, o)
	}
	how := fmt.Sprintf("%.2f %% of %d training examples", 100*r.Accuracy, r.Examples)
	if r.Regression {
		how = fmt.Sprintf("mean squared error %.4g of the variance, of %d training examples", r.Loss, r.Examples)
	}
	switch e := r.Evaluation; {
	case e == nil:
	case e.Errors != nil:
		how = fmt.Sprintf("%s, of %d examples that training did not see", errorsText(*e.Errors), e.Examples)
	default:
		how = fmt.Sprintf("%.2f %% of %d examples that training did not see", 100*e.Accuracy(), e.Examples)
	}
	if e := r.Test; e != nil {
		how += fmt.Sprintf(", %.2f %% of the %d in test", 100*e.Accuracy(), e.Examples)
	}
	_, err := fmt.Fprintf(c.Stdout, "%s: %s, %d parameters, %v on %s (%.0f examples/s)\n",
		wroteTo(t), how, r.Parameters, r.Duration.Round(100*time.Millisecond), t.Engine.Name(), r.ExamplesPerSecond)
	return err
}

// errorsText says how far a regression's numbers are off.
func errorsText(e train.Errors) string {
	return fmt.Sprintf("root mean squared error %.4g, mean absolute error %.4g, R2 %.4f", e.RMSE, e.MAE, e.R2)
}
