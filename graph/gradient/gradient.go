// Package gradient differentiates model graphs in reverse mode: a graph in, a training graph out, with the loss, the
// gradients and an optimizer's update as ordinary nodes. Running them is left to the engines, and the loop to package train.
//
// DESIGN.md beside this file lists the names of a training graph's inputs and outputs and the functions it calls.
package gradient

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

var (
	// ErrNoGradient says that an operator on the way from a variable to the loss has no gradient here. The message names
	// the node and the operator; freezing the variables before it is one way out.
	ErrNoGradient = errors.New("no gradient")
	// ErrOptions says that the options do not fit the graph: an unknown variable, loss or optimizer, or a bad number.
	ErrOptions = errors.New("bad options for a training graph")
)

// A Loss is what training makes small; always the mean over the rows (CrossEntropy) or over all elements (the others).
type Loss string

// The losses.
const (
	// CrossEntropy is softmax cross-entropy of logits [N,C] with classes int64 [N].
	CrossEntropy Loss = "cross_entropy"
	// MSE is the squared difference.
	MSE Loss = "mse"
	// MAE is the absolute difference.
	MAE Loss = "mae"
	// Huber is d*d/2 where |d| <= delta, else delta*(|d| - delta/2).
	Huber Loss = "huber"
	// BCEWithLogits is binary cross-entropy of logits with targets from 0 to 1 of the same shape.
	BCEWithLogits Loss = "bce_with_logits"
)

// Losses lists every Loss.
var Losses = []Loss{CrossEntropy, MSE, MAE, Huber, BCEWithLogits}

// Options say what to build. The zero value is not useful: Loss must be given.
type Options struct {
	Loss Loss
	// LabelSmoothing s makes CrossEntropy's target (1-s)*onehot + s/C.
	LabelSmoothing float64
	// ClassWeights multiplies the part of each class in CrossEntropy, which is divided by the sum of the rows' weights then. Empty means 1 for all.
	ClassWeights []float64
	// IgnoreLabel is a class of CrossEntropy's target whose rows count for nothing; nil means none. It need not be one of the prediction's classes.
	IgnoreLabel *int64
	// HuberDelta is Huber's delta; 0 means 1.
	HuberDelta float64
	// Mode says how BatchNormalization and Dropout work.
	Mode Mode
	// Prediction names the output that the loss is taken of; "" is the only output. Where it is a Softmax's (or a
	// LogSoftmax's over the classes) and the loss CrossEntropy, the loss is taken of that node's input, the logits.
	Prediction string
	// Variables are the initializers to differentiate by; empty means every floating-point initializer of rank 1 or
	// more that reaches the loss through differentiable inputs. Statistics of BatchNormalization are never variables.
	Variables []string
	// Frozen are initializers that are left alone.
	Frozen []string
	// Optimizer, where it is there, adds the update.
	Optimizer *Optimizer
	// MaxValue, where it is over 0, brings each element of a gradient to between -MaxValue and MaxValue before the update, and before MaxNorm.
	MaxValue float64
	// MaxNorm, where it is over 0, scales all gradients by min(1, MaxNorm / (norm + 1e-6)) before the update, norm being
	// the 2-norm over all of them.
	MaxNorm float64
	// NoGradients leaves the outputs grad.* and grad_norm out, for loops that only need the update.
	NoGradients bool
	// Outputs are further values of the model to have as outputs, such as the prediction.
	Outputs []string
}

// Names of a training graph's own inputs and outputs.
const (
	Target       = "target"
	LossOutput   = "loss"
	LearningRate = "learning_rate"
	Step         = "step"
	GradNorm     = "grad_norm"
	// GradPrefix, StatePrefix and NewPrefix go before a variable's name.
	GradPrefix  = "grad."
	StatePrefix = "state."
	NewPrefix   = "new."
)

// minOpset is the oldest opset of ONNX's domain that is read, and bodyOpset the oldest that is written.
const (
	minOpset  = 13
	bodyOpset = 17
)

// Build returns a training graph of g, as DESIGN.md describes it; g is not changed, and its tensors are shared. It returns
// ErrNoGradient for an operator without a gradient, and ErrOptions for options that do not fit.
func Build(g *graph.Graph, opts Options) (*graph.Graph, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	out, err := prepare(g, opts.Mode)
	if err != nil {
		return nil, err
	}
	t, err := newTape(out)
	if err != nil {
		return nil, err
	}
	prediction, err := t.prediction(opts)
	if err != nil {
		return nil, err
	}
	if err := t.chooseVariables(opts); err != nil {
		return nil, err
	}
	if err := t.trace(prediction, opts.Variables); err != nil {
		return nil, err
	}
	target, err := t.addLoss(opts, prediction)
	if err != nil {
		return nil, err
	}
	if err := t.backward(); err != nil {
		return nil, err
	}
	return t.finish(opts, target)
}

// Validate reports every fault at once, as fault.Errors; those of the optimizer have its fields' names.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(slices.Contains(Losses, o.Loss), "loss", "%q is not one of %v", o.Loss, Losses)
	l.Check(o.LabelSmoothing >= 0 && o.LabelSmoothing < 1, "label_smoothing", "%v is not from 0 to below 1", o.LabelSmoothing)
	l.Check(o.LabelSmoothing == 0 || o.Loss == CrossEntropy, "label_smoothing", "is for %s alone", CrossEntropy)
	l.Check(len(o.ClassWeights) == 0 && o.IgnoreLabel == nil || o.Loss == CrossEntropy, "loss", "class weights and an ignored label are for %s alone", CrossEntropy)
	for i, w := range o.ClassWeights {
		l.Check(w >= 0 && w <= 1e9, "class_weights", "%v of class %d is not from 0 to 1e9", w, i)
	}
	l.Check(o.HuberDelta >= 0, "huber_delta", "%v is not from 0", o.HuberDelta)
	l.Check(o.Mode == AsWritten || slices.Contains(Modes, o.Mode), "mode", "%q is not one of %v", o.Mode, Modes)
	l.Check(o.MaxValue >= 0, "max_value", "%v is not from 0", o.MaxValue)
	l.Check(o.MaxNorm >= 0, "max_norm", "%v is not from 0", o.MaxNorm)
	if o.Optimizer != nil {
		l.Take(o.Optimizer.Validate(), func(path string) (string, bool) {
			if path == "kind" {
				path = "optimizer"
			}
			return path, true
		})
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

// prepare copies g in the form that the rules read: functions inlined, sorted, opset 17 at least, initializers that are
// listed as inputs only initializers, shapes inferred.
func prepare(g *graph.Graph, mode Mode) (*graph.Graph, error) {
	out := g.Clone()
	for _, step := range []func() error{out.Sort, out.Validate, func() error { return out.Inline(nil) }} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("training graph: %w", err)
		}
	}
	if out.Opset == nil {
		out.Opset = map[string]int64{}
	}
	opset := out.Opset[graph.OnnxDomain]
	if opset < minOpset {
		return nil, fmt.Errorf("training graph: the model has opset %d; gradients need %d or newer: export it again", opset, minOpset)
	}
	for _, n := range out.Nodes {
		if opset < 14 && n.OpType == "BatchNormalization" && len(n.Outputs) > 1 {
			return nil, fmt.Errorf("training graph: %s has the training form of opset %d; export the model with opset 14 or newer", nodeName(n), opset)
		}
	}
	// From 13 on, every operator that has a gradient here keeps its meaning up to 17.
	out.Opset[graph.OnnxDomain] = max(opset, bodyOpset)
	out.Inputs = out.Placeholders()
	if err := mode.Apply(out); err != nil {
		return nil, err
	}
	if err := infer.Shapes(out); err != nil {
		return nil, fmt.Errorf("training graph: %w", err)
	}
	return out, nil
}

// Feed returns a copy of a training graph in which the inputs with a default have none, so that they are placeholders,
// and the defaults by name: the first values of what a loop feeds. Where names are given, it is those inputs alone, and a name that
// is no such input is ignored.
func Feed(g *graph.Graph, names ...string) (*graph.Graph, map[string]*tensor.Tensor) {
	out := g.Clone()
	fed := make(map[string]bool, len(g.Inputs))
	for _, v := range g.Inputs {
		fed[v.Name] = len(names) == 0 || slices.Contains(names, v.Name)
	}
	first := make(map[string]*tensor.Tensor)
	out.Initializers = slices.DeleteFunc(out.Initializers, func(in graph.Initializer) bool {
		if fed[in.Name] {
			first[in.Name] = in.Tensor
		}
		return fed[in.Name]
	})
	return out, first
}

// Variables returns the names of a training graph's variables (statistics that it updates included), in the order of
// its outputs new.*; it needs an optimizer's graph.
func Variables(g *graph.Graph) []string {
	var names []string
	for _, v := range g.Outputs {
		name, ok := strings.CutPrefix(v.Name, NewPrefix)
		if ok && name != Step && !strings.HasPrefix(name, StatePrefix) {
			names = append(names, name)
		}
	}
	return names
}
