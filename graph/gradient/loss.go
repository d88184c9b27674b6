package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// prediction returns the name of the value that the loss is taken of.
func (t *tape) prediction(opts Options) (string, error) {
	name := opts.Prediction
	switch {
	case name != "":
		if !slices.ContainsFunc(t.g.Outputs, func(v graph.Value) bool { return v.Name == name }) {
			return "", fmt.Errorf("%w: the model has no output %q", ErrOptions, name)
		}
	case len(t.g.Outputs) == 1:
		name = t.g.Outputs[0].Name
	default:
		return "", fmt.Errorf("%w: the model has %d outputs: name the one that the loss is taken of", ErrOptions, len(t.g.Outputs))
	}
	if opts.Loss == CrossEntropy {
		if n := t.makers[name]; n != nil && (n.Op() == "Softmax" || n.Op() == "LogSoftmax") {
			axis := n.Attrs.Int("axis", -1)
			if rank := len(t.shape(name)); rank == 2 && (axis == -1 || axis == 1) {
				name = n.Input(0)
			}
		}
	}
	if _, taken := t.values[Target]; taken || t.used[Target] {
		return "", fmt.Errorf("%w: the model has a value named %q already", ErrOptions, Target)
	}
	return name, nil
}

// Logits returns the value of g that Build would take the loss of, under these options.
func Logits(g *graph.Graph, opts Options) (string, error) {
	out, err := prepare(g, opts.Mode)
	if err != nil {
		return "", err
	}
	t, err := newTape(out)
	if err != nil {
		return "", err
	}
	return t.prediction(opts)
}

// addLoss appends the loss and its gradient by the prediction, and returns the placeholder of the target.
func (t *tape) addLoss(opts Options, prediction string) (graph.Value, error) {
	t.used[Target], t.used[LossOutput] = true, true
	p := t.values[prediction]
	target := graph.Value{Name: Target, DType: t.dtype, Shape: slices.Clone(p.Shape), Doc: "what the prediction should be"}
	var loss, grad string
	var err error
	switch opts.Loss {
	case CrossEntropy:
		if p.Shape != nil && len(p.Shape) != 2 {
			return target, fmt.Errorf("%w: cross entropy needs a prediction [N,C], %q is %v", ErrOptions, prediction, p.Shape)
		}
		target.DType, target.Doc = tensor.Int64, "the class of each row"
		target.Shape = graph.Shape{{Size: -1}}
		if p.Shape != nil {
			target.Shape = slices.Clone(p.Shape[:1])
		}
		if len(opts.ClassWeights) > 0 || opts.IgnoreLabel != nil {
			if loss, grad, err = t.weightedCrossEntropy(opts, prediction); err != nil {
				return target, err
			}
			break
		}
		out := t.call(FuncSoftmaxCrossEntropy, graph.Attrs{"label_smoothing": float32(opts.LabelSmoothing)}, 2, prediction, Target)
		loss, grad = out[0], out[1]
	case MSE:
		d := t.op("Sub", prediction, Target)
		loss = t.reduce("ReduceMean", t.square(d), false)
		grad = t.op("Mul", d, t.op("Div", t.num(2), t.size(prediction)))
	case MAE:
		d := t.op("Sub", prediction, Target)
		loss = t.reduce("ReduceMean", t.op("Abs", d), false)
		grad = t.op("Div", t.op("Sign", d), t.size(prediction))
	case Huber:
		delta := opts.HuberDelta
		if delta == 0 {
			delta = 1
		}
		d := t.op("Sub", prediction, Target)
		far := t.op("Abs", d)
		near := t.op("Min", far, t.num(delta))
		loss = t.reduce("ReduceMean", t.op("Mul", near, t.op("Sub", far, t.op("Mul", near, t.num(0.5)))), false)
		grad = t.op("Div", t.op("Mul", t.op("Sign", d), near), t.size(prediction))
	case BCEWithLogits:
		loss = t.reduce("ReduceMean", t.op("Sub", t.op("Softplus", prediction), t.op("Mul", prediction, Target)), false)
		grad = t.op("Div", t.op("Sub", t.op("Sigmoid", prediction), Target), t.size(prediction))
	}
	t.rename(loss, LossOutput)
	t.add(prediction, grad)
	return target, nil
}

// size returns a scalar of the number of elements.
func (t *tape) size(name string) string {
	if s, ok := t.shape(name).Static(); ok {
		return t.numLike(name, float64(s.Size()))
	}
	return t.cast(t.op("Size", name), t.dtype)
}

// weightedCrossEntropy is the sum of the rows' cross-entropies, each class with its weight, over the sum of the weights of their classes. Rows of the ignored label have
// the weight 0, and where there is no other, loss and gradient are 0.
func (t *tape) weightedCrossEntropy(opts Options, prediction string) (loss, grad string, err error) {
	s := t.shape(prediction)
	if len(s) != 2 || !s[1].Known() {
		return "", "", fmt.Errorf("%w: class weights and an ignored label need to know how many classes %q has", ErrOptions, prediction)
	}
	classes := s[1].Size
	weights := opts.ClassWeights
	if len(weights) == 0 {
		weights = slices.Repeat([]float64{1}, int(classes))
	}
	if int64(len(weights)) != classes {
		return "", "", fmt.Errorf("%w: %d class weights for the %d classes of %q", ErrOptions, len(weights), classes, prediction)
	}
	label, kept := Target, ""
	if opts.IgnoreLabel != nil {
		ignored := t.op("Equal", Target, t.constant(tensor.Scalar(*opts.IgnoreLabel)))
		label = t.op("Where", ignored, t.constant(tensor.Scalar[int64](0)), Target)
		kept = t.op("Sub", t.num(1), t.mask(ignored))
	}
	each := t.constant(floatsOf(t.dtype, weights, len(weights)))
	row := t.op("Gather", each, label)
	if kept != "" {
		row = t.op("Mul", row, kept)
	}
	total := t.reduce("ReduceSum", row, false)
	total = t.op("Where", t.op("Equal", total, t.num(0)), t.num(1), total)
	off := opts.LabelSmoothing / float64(classes)
	values := t.constant(floatsOf(t.dtype, []float64{off, off + 1 - opts.LabelSmoothing}, 2))
	want := t.op("Mul", t.with(graph.Attrs{"axis": int64(-1)}, "OneHot", label, t.ints(classes), values), each)
	if kept != "" {
		want = t.op("Mul", want, t.op("Unsqueeze", kept, t.ints(1)))
	}
	logp := t.with(graph.Attrs{"axis": int64(1)}, "LogSoftmax", prediction)
	loss = t.op("Neg", t.op("Div", t.reduce("ReduceSum", t.op("Mul", want, logp), false), total))
	all := t.op("Mul", t.op("Exp", logp), t.reduce("ReduceSum", want, true, 1))
	return loss, t.op("Div", t.op("Sub", all, want), total), nil
}
