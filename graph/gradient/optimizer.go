package gradient

import (
	"fmt"
	"path"
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
	// Lion is p -= lr * (sign(beta1*m + (1-beta1)*g) + weight_decay*p); m = beta2*m + (1-beta2)*g (Chen and others, 2023).
	Lion Kind = "lion"
	// LAMB is r = m^ / (sqrt(v^) + eps) + weight_decay*p; p -= lr * |p|/|r| * r, with Adam's m^ and v^; a norm of 0 makes the ratio 1 (You and others, 2020).
	LAMB Kind = "lamb"
)

// Kinds lists every Kind.
var Kinds = []Kind{SGD, Momentum, Nesterov, RMSProp, Adam, AdamW, Lion, LAMB}

// An Optimizer is a kind with its hyper-parameters; what is 0 is the default, and what the kind does not use is ignored.
type Optimizer struct {
	Kind         Kind
	LearningRate float64 // the default of the input learning_rate; 0.1 for sgd, momentum and nesterov, 0.0001 for lion, else 0.001
	Momentum     float64 // 0.9
	Alpha        float64 // 0.99
	Beta1, Beta2 float64 // 0.9 and 0.999; lion 0.99
	Epsilon      float64 // 1e-8; lamb 1e-6
	WeightDecay  float64 // 0.01; adamw, lion and lamb only
	// NoDecay are patterns of path.Match: variables whose names fit one have no weight decay.
	NoDecay []string
	// Average, where it is over 0, keeps an exponential moving average of each variable, a = Average*a + (1-Average)*p after each step, as the
	// state "average". It begins with the variable.
	Average float64
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
	beta2, eps := 0.999, 1e-8
	switch o.Kind {
	case Lion:
		rate, beta2 = 0.0001, 0.99
	case LAMB:
		eps = 1e-6
	}
	fill(&o.LearningRate, rate)
	fill(&o.Momentum, 0.9)
	fill(&o.Alpha, 0.99)
	fill(&o.Beta1, 0.9)
	fill(&o.Beta2, beta2)
	fill(&o.Epsilon, eps)
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
	check("average", o.Average, 0.9999999)
	for _, p := range o.NoDecay {
		_, err := path.Match(p, "")
		l.Check(err == nil, "no_decay", "%q is no pattern: %v", p, err)
	}
	return l.Err()
}

// Slots returns the names of the optimizer's state, one tensor of the variable's shape for each.
func (o Optimizer) Slots() []string {
	switch o.Kind {
	case Momentum, Nesterov:
		return []string{"momentum"}
	case RMSProp:
		return []string{"square"}
	case Lion:
		return []string{"momentum"}
	case Adam, AdamW, LAMB:
		return []string{"mean", "square"}
	}
	return nil
}

// averageSlot is the state that Average keeps.
const averageSlot = "average"

// AverageOf is the name of a variable's average in a training graph.
func AverageOf(variable string) string { return StatePrefix + averageSlot + "." + variable }

// decays reports whether a variable has weight decay.
func (o Optimizer) decays(variable string) bool {
	if o.WeightDecay == 0 || o.Kind != AdamW && o.Kind != Lion && o.Kind != LAMB {
		return false
	}
	return !slices.ContainsFunc(o.NoDecay, func(pattern string) bool {
		fits, err := path.Match(pattern, variable)
		return err == nil && fits
	})
}

// corrects reports whether the optimizer counts steps.
func (o Optimizer) corrects() bool { return o.Kind == Adam || o.Kind == AdamW || o.Kind == LAMB }

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
	adam := o.corrects()
	hyper := t.hyper(o)
	if adam {
		if err := t.input(Step, tensor.Scalar[int64](0), "the steps done before this one"); err != nil {
			return nil, err
		}
		if hyper = t.adamHyper(o); o.Kind == LAMB {
			hyper = t.lambHyper(o)
		}
	}
	var news, states []graph.Value
	for i, v := range t.variables {
		in := []string{v, grads[i]}
		if o.Kind == AdamW && o.decays(v) {
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
		switch o.Kind {
		case SGD:
			out = []string{t.op("Sub", v, t.op("Mul", grads[i], LearningRate))}
		case Lion:
			out = t.lion(o, v, grads[i], in[2])
		case LAMB:
			out = t.lamb(o, v, grads[i], in[2], in[3], hyper)
		default:
			out = t.call(updates[o.Kind], nil, 1+len(o.Slots()), append(in, hyper...)...)
		}
		news = append(news, t.output(out[0], NewPrefix+v, t.values[v]))
		for k, slot := range o.Slots() {
			states = append(states, t.output(out[1+k], NewPrefix+StatePrefix+slot+"."+v, t.values[v]))
		}
		if o.Average > 0 {
			if err := t.input(AverageOf(v), t.known[v], "the variable's average before this step"); err != nil {
				return nil, err
			}
			next := t.op("Add", t.op("Mul", AverageOf(v), t.num(o.Average)), t.op("Mul", NewPrefix+v, t.num(1-o.Average)))
			states = append(states, t.output(next, NewPrefix+AverageOf(v), t.values[v]))
		}
	}
	outputs = slices.Concat(news, t.updateStatistics(), states)
	if adam {
		next := t.op("Add", Step, t.constant(tensor.Scalar[int64](1)))
		outputs = append(outputs, t.output(next, NewPrefix+Step, graph.Value{DType: tensor.Int64, Shape: graph.Shape{}}))
	}
	return outputs, nil
}

// lion returns the variable and its momentum after a step.
func (t *tape) lion(o Optimizer, v, g, m string) []string {
	mixed := func(beta float64) string {
		return t.op("Add", t.op("Mul", m, t.num(beta)), t.op("Mul", g, t.num(1-beta)))
	}
	step := t.op("Sign", mixed(o.Beta1))
	if o.decays(v) {
		step = t.op("Add", step, t.op("Mul", v, t.num(o.WeightDecay)))
	}
	return []string{t.op("Sub", v, t.op("Mul", step, LearningRate)), mixed(o.Beta2)}
}

// lamb returns the variable, its mean and its square after a step.
func (t *tape) lamb(o Optimizer, v, g, m, s string, hyper []string) []string {
	mean := t.op("Add", t.op("Mul", m, t.num(o.Beta1)), t.op("Mul", g, t.num(1-o.Beta1)))
	square := t.op("Add", t.op("Mul", s, t.num(o.Beta2)), t.op("Mul", t.square(g), t.num(1-o.Beta2)))
	step := t.op("Div", t.op("Div", mean, hyper[0]), t.op("Add", t.op("Div", t.op("Sqrt", square), hyper[1]), t.num(o.Epsilon)))
	if o.decays(v) {
		step = t.op("Add", step, t.op("Mul", v, t.num(o.WeightDecay)))
	}
	norm := func(x string) string { return t.op("Sqrt", t.reduce("ReduceSum", t.square(x), false)) }
	p, r := norm(v), norm(step)
	zero := t.num(0)
	some := t.op("And", t.op("Greater", p, zero), t.op("Greater", r, zero))
	ratio := t.op("Where", some, t.op("Div", p, t.op("Where", some, r, t.num(1))), t.num(1))
	return []string{t.op("Sub", v, t.op("Mul", step, t.op("Mul", ratio, LearningRate))), mean, square}
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

// correction is 1 - beta^t as a float64: a power of a beta near 1 loses its digits in float32.
func (t *tape) correction(beta float64) string {
	wide := func(v float64) string { return t.constant(tensor.Scalar(v)) }
	done := t.op("Add", t.cast(Step, tensor.Float64), wide(1))
	return t.op("Sub", wide(1), t.op("Pow", wide(beta), done))
}

// adamHyper are the scalars of Adam's update.
func (t *tape) adamHyper(o Optimizer) []string {
	rate := t.cast(t.op("Div", t.cast(LearningRate, tensor.Float64), t.correction(o.Beta1)), t.dtype)
	root := t.cast(t.op("Sqrt", t.correction(o.Beta2)), t.dtype)
	return []string{rate, t.num(o.Beta1), t.num(1 - o.Beta1), t.num(o.Beta2), t.num(1 - o.Beta2), root, t.num(o.Epsilon)}
}

// lambHyper are the corrections of LAMB's mean, and the root of that of its square.
func (t *tape) lambHyper(o Optimizer) []string {
	return []string{t.cast(t.correction(o.Beta1), t.dtype), t.cast(t.op("Sqrt", t.correction(o.Beta2)), t.dtype)}
}
