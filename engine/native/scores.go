package native

import (
	"math"
	"slices"
)

// scoreTransform is what becomes of the scores of a row in the end.
type scoreTransform string

const (
	scoresAsIs    scoreTransform = "NONE"
	scoresSoftmax scoreTransform = "SOFTMAX"
	scoresLogit   scoreTransform = "LOGISTIC"
	scoresNonZero scoreTransform = "SOFTMAX_ZERO"
	scoresProbit  scoreTransform = "PROBIT"
)

var scoreTransforms = []scoreTransform{scoresAsIs, scoresSoftmax, scoresLogit, scoresNonZero, scoresProbit}

func (c *prep) scoreTransform() (scoreTransform, error) {
	t := scoreTransform(c.attrs.String("post_transform", string(scoresAsIs)))
	if !slices.Contains(scoreTransforms, t) {
		return "", c.refuse("post_transform %q", t)
	}
	return t, nil
}

// apply transforms the scores of a row with two classes or more.
func (t scoreTransform) apply(scores []float64) {
	switch t {
	case scoresLogit:
		for i, v := range scores {
			scores[i] = sigmoid(v)
		}
	case scoresProbit:
		for i, v := range scores {
			scores[i] = probit(v)
		}
	case scoresSoftmax:
		softmaxOver(scores, func(float64) bool { return false })
	case scoresNonZero:
		softmaxOver(scores, func(v float64) bool { return math.Abs(v) <= 1e-7 })
	}
}

// softmaxOver is the softmax of the scores that are not left out. Those are multiplied by e to the power of the largest score's opposite, as onnxruntime does.
func softmaxOver(scores []float64, out func(float64) bool) {
	top, sum := slices.Max(scores), 0.0
	for i, v := range scores {
		if out(v) {
			scores[i] = v * math.Exp(-top)
			continue
		}
		scores[i] = math.Exp(v - top)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// probit is the inverse of the normal distribution's cumulative function, by the approximation of its error function's inverse that
// onnxruntime has (Winitzki, 2008, with a = 0.147).
func probit(p float64) float64 {
	x := 2*p - 1
	const a = 0.147
	log := math.Log((1 - x) * (1 + x))
	v := 2/(3.14159*a) + 0.5*log
	return math.Sqrt2 * math.Copysign(math.Sqrt(-v+math.Sqrt(v*v-log/a)), x)
}

// How the one score of two classes becomes two.
type second int

const (
	secondNone       second = iota
	secondComplement        // 1 less the score, and the score
	secondOpposite          // the opposite of the score, and the score
)

// write puts the scores of a row into y, as many as it has room for.
func (t scoreTransform) write(scores []float64, add second, y []float32) {
	if len(scores) == 1 {
		s := scores[0]
		switch {
		case t == scoresProbit:
			scores[0] = probit(s)
		case add != secondNone && t == scoresLogit:
			scores = append(scores[:0], sigmoid(-s), sigmoid(s))
		case add == secondComplement:
			scores = append(scores[:0], 1-s, s)
		case add == secondOpposite:
			scores = append(scores[:0], -s, s)
		}
	} else {
		t.apply(scores)
	}
	for i := range y {
		y[i] = 0
		if i < len(scores) {
			y[i] = float32(scores[i])
		}
	}
}

// largest returns the place of the first of the largest scores.
func largest(scores []float64) int {
	at := 0
	for i, v := range scores {
		if v > scores[at] {
			at = i
		}
	}
	return at
}
