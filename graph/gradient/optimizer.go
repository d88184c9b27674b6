package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Kind names an optimizer.
type Kind string

// The optimizers, g being the gradient, p the variable and lr the learning rate; all without dampening or centring.
const (
	// SGD is p -= lr*g.
	SGD Kind = "sgd"
	// Momentum is b = m*b + g; p -= lr*b.
	Momentum Kind = "momentum"
	// Nesterov is b = m*b + g; p -= lr*(g + m*b).
	Nesterov Kind = "nesterov"
	// RMSProp is v = alpha*v + (1-alpha)*g*g; p -= lr*g / (sqrt(v) + eps).
	RMSProp Kind = "rmsprop"
	// Adam is Kingma and Ba's, with bias correction: p -= lr * m^ / (sqrt(v^) + eps).
	Adam Kind = "adam"
	// AdamW is Adam after p -= lr*weight_decay*p (Loshchilov and Hutter).
	AdamW Kind = "adamw"
)

// Kinds lists every Kind.
var Kinds = []Kind{SGD, Momentum, Nesterov, RMSProp, Adam, AdamW}

// An Optimizer is a kind with its hyper-parameters; what is 0 is the default, and what the kind does not use is ignored.
type Optimizer struct {
	Kind         Kind
	LearningRate float64 // the default of the input learning_rate; 0.1 for sgd, momentum and nesterov, else 0.001
	Momentum     float64 // 0.9
	Alpha        float64 // 0.99
	Beta1, Beta2 float64 // 0.9, 0.999
	Epsilon      float64 // 1e-8
	WeightDecay  float64 // 0.01; adamw only
}

// Defaults returns o with its zeros filled in.
func (o Optimizer) Defaults() Optimizer {
	fill := func(v *float64, def float64) {
		if *v == 0 {
			*v = def
		}
	}
	rate := 0.001
	if o.Kind == SGD || o.Kind == Momentum || o.Kind == Nesterov {
		rate = 0.1
	}
	fill(&o.LearningRate, rate)
	fill(&o.Momentum, 0.9)
	fill(&o.Alpha, 0.99)
	fill(&o.Beta1, 0.9)
	fill(&o.Beta2, 0.999)
	fill(&o.Epsilon, 1e-8)
	fill(&o.WeightDecay, 0.01)
	return o
}

// Validate reports every fault of o at once, as fault.Errors.
func (o Optimizer) Validate() error {
	var l fault.Errors
	l.Check(slices.Contains(Kinds, o.Kind), "kind", "%q is not one of %v", o.Kind, Kinds)
	check := func(name string, v, most float64) {
		l.Check(v >= 0 && v <= most, name, "%v is not from 0 to %v", v, most)
	}
	check("learning_rate", o.LearningRate, 1e6)
	check("momentum", o.Momentum, 1)
	check("alpha", o.Alpha, 1)
	check("beta1", o.Beta1, 0.9999999)
	check("beta2", o.Beta2, 0.9999999)
	check("epsilon", o.Epsilon, 1)
	check("weight_decay", o.WeightDecay, 1e6)
	return l.Err()
}

// Slots returns the names of the optimizer's state, one tensor of the variable's shape for each.
func (o Optimizer) Slots() []string {
	switch o.Kind {
	case Momentum, Nesterov:
		return []string{"momentum"}
	case RMSProp:
		return []string{"square"}
	case Adam, AdamW:
		return []string{"mean", "square"}
	}
	return nil
}

// input adds an input with a default to the graph.
func (t *tape) input(name string, def *tensor.Tensor, doc string) error {
	if t.used[name] {
		return fmt.Errorf("%w: the model has a value named %q already", ErrOptions, name)
	}
	t.used[name] = true
	t.inputs = append(t.inputs, graph.Value{Name: name, DType: def.DType(), Shape: graph.Dims(def.Shape()...), Doc: doc})
	t.inits = append(t.inits, graph.Initializer{Name: name, Tensor: def})
	return nil
}

// update appends the optimizer's step over the gradients, in the order of the variables.
func (t *tape) update(o Optimizer, grads []string) (outputs []graph.Value, err error) {
	o = o.Defaults()
	if err := t.input(LearningRate, scalarOf(t.dtype, o.LearningRate), "the learning rate of this step"); err != nil {
		return nil, err
	}
	for _, v := range t.variables {
		t.inputs = append(t.inputs, graph.Value{Name: v, DType: t.dtype, Shape: t.shape(v), Doc: "a variable before this step"})
	}
	adam := o.Kind == Adam || o.Kind == AdamW
	hyper := t.hyper(o)
	if adam {
		if err := t.input(Step, tensor.Scalar[int64](0), "the steps done before this one"); err != nil {
			return nil, err
		}
		hyper = t.adamHyper(o)
	}
	var news, states []graph.Value
	for i, v := range t.variables {
		in := []string{v, grads[i]}
		if o.Kind == AdamW {
			keep := t.op("Sub", t.num(1), t.op("Mul", LearningRate, t.num(o.WeightDecay)))
			in[0] = t.op("Mul", v, keep)
		}
		for _, slot := range o.Slots() {
			zero, err := tensor.New(t.dtype, t.known[v].Shape()...)
			if err != nil {
				return nil, fmt.Errorf("state of variable %q: %w", v, err)
			}
			name := StatePrefix + slot + "." + v
			if err := t.input(name, zero, "the optimizer's state before this step"); err != nil {
				return nil, err
			}
			in = append(in, name)
		}
		var out []string
		if o.Kind == SGD {
			out = []string{t.op("Sub", v, t.op("Mul", grads[i], LearningRate))}
		} else {
			out = t.call(updates[o.Kind], nil, 1+len(o.Slots()), append(in, hyper...)...)
		}
		news = append(news, t.output(out[0], NewPrefix+v, t.values[v]))
		for k, slot := range o.Slots() {
			states = append(states, t.output(out[1+k], NewPrefix+StatePrefix+slot+"."+v, t.values[v]))
		}
	}
	outputs = slices.Concat(news, t.updateStatistics(), states)
	if adam {
		next := t.op("Add", Step, t.constant(tensor.Scalar[int64](1)))
		outputs = append(outputs, t.output(next, NewPrefix+Step, graph.Value{DType: tensor.Int64, Shape: graph.Shape{}}))
	}
	return outputs, nil
}

// updateStatistics gives the running statistics of the nodes in training mode.
func (t *tape) updateStatistics() (news []graph.Value) {
	for _, s := range t.stats {
		t.inputs = append(t.inputs, graph.Value{Name: s.name, DType: t.values[s.name].DType, Shape: t.shape(s.name), Doc: "a statistic before this step"})
		news = append(news, t.output(s.updated, NewPrefix+s.name, t.values[s.name]))
	}
	return news
}

// updates are the functions of the optimizers.
var updates = map[Kind]string{Momentum: FuncMomentumUpdate, Nesterov: FuncNesterovUpdate, RMSProp: FuncRmsPropUpdate,
	Adam: FuncAdamUpdate, AdamW: FuncAdamUpdate}

// hyper returns the scalars that the update function takes after the state.
func (t *tape) hyper(o Optimizer) []string {
	switch o.Kind {
	case Momentum, Nesterov:
		return []string{LearningRate, t.num(o.Momentum)}
	case RMSProp:
		return []string{LearningRate, t.num(o.Alpha), t.num(1 - o.Alpha), t.num(o.Epsilon)}
	}
	return nil
}

// adamHyper computes the scalars of Adam's update in float64: a power of a beta near 1 loses its digits in float32.
func (t *tape) adamHyper(o Optimizer) []string {
	wide := func(v float64) string { return t.constant(tensor.Scalar(v)) }
	done := t.op("Add", t.cast(Step, tensor.Float64), wide(1))
	correction := func(beta float64) string { return t.op("Sub", wide(1), t.op("Pow", wide(beta), done)) }
	rate := t.cast(t.op("Div", t.cast(LearningRate, tensor.Float64), correction(o.Beta1)), t.dtype)
	root := t.cast(t.op("Sqrt", correction(o.Beta2)), t.dtype)
	return []string{rate, t.num(o.Beta1), t.num(1 - o.Beta1), t.num(o.Beta2), t.num(1 - o.Beta2), root, t.num(o.Epsilon)}
}
