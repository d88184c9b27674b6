package infer

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// normRules are normalizations, losses and recurrent layers.
var normRules = rulesOf(map[string]rule{
	"BatchNormalization":                       inferBatchNorm,
	"InstanceNormalization GroupNormalization": inferChannelNorm,
	"LayerNormalization":                       inferLayerNorm,
	"RMSNormalization":                         keep,
	"NegativeLogLikelihoodLoss":                inferLoss,
	"SoftmaxCrossEntropyLoss":                  inferLoss,
	"LSTM":                                     func(c *call) error { return c.recurrent(4, 2) },
	"GRU":                                      func(c *call) error { return c.recurrent(3, 1) },
	"RNN":                                      func(c *call) error { return c.recurrent(1, 1) },
})

// channels checks that inputs are lists with one number a channel, and returns the channels' dimension.
func (c *call) channels(inputs ...int) (graph.Dim, error) {
	d := unknown
	if s := c.arg(0).shape; len(s) >= 2 {
		d = s[1]
	}
	for _, i := range inputs {
		s := c.arg(i).shape
		if s == nil {
			continue
		}
		if len(s) != 1 {
			return d, c.fail("input %d has shape %v; it must be a list", i, s)
		}
		joined, ok := mergeDim(d, s[0])
		if !ok {
			return d, c.fail("input %d has shape %v for %v channels", i, s, d)
		}
		d = joined
	}
	return d, nil
}

// inferBatchNorm: the further outputs are running statistics, each a list; before opset 14 there were four of them.
func inferBatchNorm(c *call) error {
	x := c.arg(0)
	inputs := []int{1, 2, 3, 4}
	if c.opset < 9 && !c.attrs.Bool("spatial", true) {
		inputs = nil // statistics of each place, whose shape is that of one example
	}
	channels, err := c.channels(inputs...)
	if err != nil {
		return err
	}
	c.set(0, x.dtype, x.shape)
	stat := c.arg(3).dtype
	for i := 1; i < len(c.out); i++ {
		shape := graph.Shape{channels}
		if inputs == nil {
			shape = c.arg(3).shape
		}
		c.set(i, stat, shape)
	}
	return nil
}

func inferChannelNorm(c *call) error {
	if c.n.OpType == "InstanceNormalization" || c.opset >= 21 {
		if _, err := c.channels(1, 2); err != nil {
			return err
		}
	}
	return keep(c)
}

func inferLayerNorm(c *call) error {
	x := c.arg(0)
	c.set(0, x.dtype, x.shape)
	stat := slices.Clone(x.shape)
	if stat != nil {
		axis, err := c.axis(c.attrs.Int("axis", -1), len(stat))
		if err != nil {
			return err
		}
		for i := axis; i < len(stat); i++ {
			stat[i] = known(1)
		}
	}
	for i := 1; i < 3; i++ {
		c.set(i, tensor.Float32, stat)
	}
	return nil
}

func inferLoss(c *call) error {
	x, target := c.arg(0), c.arg(1)
	if err := c.wantRank(0, 2, graph.MaxRank); err != nil {
		return err
	}
	if x.shape != nil && target.shape != nil {
		want := slices.Delete(slices.Clone(x.shape), 1, 2)
		if _, err := mergeShape(want, target.shape); err != nil {
			return c.fail("a target of shape %v for scores of shape %v", target.shape, x.shape)
		}
	}
	shape := graph.Shape{}
	if c.attrs.String("reduction", "mean") == "none" {
		if shape = target.shape; shape == nil && x.shape != nil {
			shape = slices.Delete(slices.Clone(x.shape), 1, 2)
		}
	}
	c.set(0, x.dtype, shape)
	c.set(1, x.dtype, x.shape)
	return nil
}

// recurrent infers a recurrent layer with that many gates and states.
func (c *call) recurrent(gates int64, states int) error {
	x, w, r := c.arg(0), c.arg(1).shape, c.arg(2).shape
	for i := range 3 {
		if err := c.wantRank(i, 3, 3); err != nil {
			return err
		}
	}
	seq, batch := unknown, unknown
	batchFirst := c.attrs.Bool("layout", false)
	if x.shape != nil {
		if seq, batch = x.shape[0], x.shape[1]; batchFirst {
			seq, batch = batch, seq
		}
	}
	directions := known(1)
	if c.attrs.String("direction", "forward") == "bidirectional" {
		directions = known(2)
	}
	hidden := known(c.attrs.Int("hidden_size", -1))
	if r != nil {
		joined, ok := mergeDim(hidden, r[2])
		if !ok {
			return c.fail("hidden_size %v and recurrence weights of shape %v", hidden, r)
		}
		hidden = joined
	}
	if w != nil && w[1].Known() && hidden.Known() && (w[1].Size%gates != 0 || w[1].Size/gates != hidden.Size) {
		return c.fail("weights of shape %v for %v hidden units and %d gates", w, hidden, gates)
	}
	all, last := graph.Shape{seq, directions, batch, hidden}, graph.Shape{directions, batch, hidden}
	if batchFirst {
		all, last = graph.Shape{batch, seq, directions, hidden}, graph.Shape{batch, directions, hidden}
	}
	c.set(0, x.dtype, all)
	for i := range states {
		c.set(1+i, x.dtype, last)
	}
	return nil
}
