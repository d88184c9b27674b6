package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/onnx"
)

func (c *command) modelGradient() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gradient FILE --loss LOSS --out FILE",
		Short: "Write the training graph of a model",
		Long: `Writes the training graph of a model, which any engine runs like every other model. It has an input "target" more, and the
outputs "loss", "grad.VARIABLE" and, with --optimizer, "new.VARIABLE"; the running statistics of BatchNormalization are "new.NAME" in training. The variables and the optimizer's state are inputs with a
default then: run without them, the graph makes the first step; give it what was "new.X" as "X" for the next one.`,
		Example: `  millrace model gradient net.onnx --loss cross_entropy --out grad.onnx
  millrace model gradient net.onnx --loss mse --frozen w1,b1 --optimizer adam --lr 0.001 --out step.onnx`,
		Args: args("FILE"),
	}
	f := cmd.Flags()
	loss := f.String("loss", "", "cross_entropy, mse, mae, huber or bce_with_logits")
	optimizer := f.String("optimizer", "", "sgd, momentum, nesterov, rmsprop, adam, adamw, lion or lamb (default: none)")
	out := f.String("out", "", "ONNX `file` to write")
	var o gradient.Options
	var update gradient.Optimizer
	f.StringSliceVar(&o.Frozen, "frozen", nil, "`variables` to leave alone")
	f.StringSliceVar(&o.Variables, "variables", nil, "`variables` to differentiate by (default: all that can be)")
	f.StringVar(&o.Prediction, "prediction", "", "the `output` that the loss is taken of (default: the only one)")
	f.Float64Var(&o.LabelSmoothing, "label-smoothing", 0, "for cross_entropy")
	f.Float64SliceVar(&o.ClassWeights, "class-weights", nil, "for cross_entropy: a `weight` for each class (default: 1)")
	ignored := f.Int64("ignore-label", 0, "for cross_entropy: the `class` of rows that count for nothing (default: none)")
	mode := f.String("mode", "", "how BatchNormalization and Dropout work: train or eval (default: as the file says)")
	f.Float64Var(&o.MaxValue, "max-value", 0, "bring each element of a gradient to between -V and `V` before the update (0: never)")
	f.Float64Var(&o.MaxNorm, "max-norm", 0, "scale gradients down to this norm (0: never)")
	f.Float64Var(&update.LearningRate, "lr", 0, "learning rate (default: the optimizer's)")
	f.Float64Var(&update.Momentum, "momentum", 0, "momentum (default 0.9)")
	f.Float64Var(&update.WeightDecay, "weight-decay", 0, "weight decay of adamw, lion and lamb (default 0.01)")
	f.StringSliceVar(&update.NoDecay, "no-decay", nil, "`patterns` of the names of variables without weight decay, such as *.bias")
	f.Float64Var(&update.Average, "average", 0, "keep an exponential moving average of the variables, with this `decay`, such as 0.999 (0: none)")
	f.Float64Var(&o.HuberDelta, "huber-delta", 0, "where huber goes from square to straight (default 1)")
	f.Float64Var(&update.Alpha, "alpha", 0, "smoothing of rmsprop (default 0.99)")
	f.Float64Var(&update.Beta1, "beta1", 0, "smoothing of the mean of adam's and lion's (default 0.9)")
	f.Float64Var(&update.Beta2, "beta2", 0, "smoothing of adam's square (default 0.999), and of lion's mean (0.99)")
	f.Float64Var(&update.Epsilon, "eps", 0, "what rmsprop, adam and lamb add to the divisor (default 1e-8; lamb 1e-6)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if cmd.Flags().Changed("ignore-label") {
			o.IgnoreLabel = ignored
		}
		if *mode != "" {
			if err := oneOf("mode", *mode, words(gradient.Modes)...); err != nil {
				return err
			}
			o.Mode = gradient.Mode(*mode)
		}
		if err := oneOf("loss", *loss, words(gradient.Losses)...); err != nil {
			return err
		}
		if *optimizer != "" {
			if err := oneOf("optimizer", *optimizer, words(gradient.Kinds)...); err != nil {
				return err
			}
			update.Kind = gradient.Kind(*optimizer)
			o.Optimizer = &update
		}
		if *out == "" {
			return usagef("--out is missing")
		}
		if err := checkOut(*out); err != nil {
			return err
		}
		o.Loss = gradient.Loss(*loss)
		g, err := onnx.Open(given[0])
		if err != nil {
			return fmt.Errorf("open %s: %w", given[0], err)
		}
		trained, err := gradient.Build(g, o)
		if err != nil {
			return fmt.Errorf("differentiate %s: %w", given[0], err)
		}
		file, err := onnx.Encode(trained)
		if err != nil {
			return fmt.Errorf("write %s: %w", *out, err)
		}
		return writeBytes(*out, file)
	}
	return cmd
}

// words are the texts of a list of named strings.
func words[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}
