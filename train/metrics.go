package train

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// A ClassMetrics says how well a classifier does on one label against all others.
type ClassMetrics struct {
	// Examples have the label, Given are those that the model gave it to.
	Examples int `json:"examples"`
	Given    int `json:"given"`
	// Precision is the share of Given that is right, Recall that of Examples that was found, F1 their harmonic mean. 0 where there are none.
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	// ROC is the area under the receiver operating characteristic, the chance that an example with the label has a higher probability of it than one without; ties count half.
	// PR is the average precision over the recalls (the area under the precision-recall curve by steps). Both are NaN where all examples have the label or none has.
	ROC Area `json:"roc_area"`
	PR  Area `json:"pr_area"`
}

// An Area is one under a curve; NaN, which JSON has as null, where there is none.
type Area float64

// MarshalJSON writes a number or null.
func (a Area) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(a)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(a))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Area) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*a = Area(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(a))
}

// String is the number, or "-".
func (a Area) String() string {
	if math.IsNaN(float64(a)) {
		return "-"
	}
	return strconv.FormatFloat(float64(a), 'f', 4, 64)
}

// A Bin is of the examples whose first choice has a probability in one tenth of 0 to 1.
type Bin struct {
	Examples   int     `json:"examples"`
	Confidence float64 `json:"confidence"` // the mean probability of the first choice
	Accuracy   float64 `json:"accuracy"`   // the share that is right
}

// Calibration says whether probabilities are what they say.
type Calibration struct {
	Bins [10]Bin `json:"bins"`
	// Error is the expected calibration error: the mean over the examples of how far accuracy and confidence of their bin are apart.
	Error float64 `json:"error"`
}

// A Miss is an example on which a classifier does badly.
type Miss struct {
	Example     int     `json:"example"` // its number in the set
	Label       int     `json:"label"`
	Choice      int     `json:"choice"`
	Probability float64 `json:"probability"` // that the model gives the label
}

// mostScores is how many probabilities are kept for the areas under curves: 256 MiB of them.
const mostScores = 1 << 26

// mostMisses is how many of the worst examples are kept.
const mostMisses = 24

// A judge adds up what a classifier says of the examples.
type judge struct {
	classes int
	scores  []float32 // by example and class; nil where there are too many
	labels  []int
	bins    [10]struct {
		n, right int
		sum      float64
	}
	misses []Miss
}

func newJudge(examples, classes int) *judge {
	j := &judge{classes: classes}
	if examples*classes <= mostScores {
		j.scores = make([]float32, 0, examples*classes)
	}
	return j
}

// add notes the probabilities of an example.
func (j *judge) add(example, label, choice int, p []float32) {
	j.labels = append(j.labels, label)
	if j.scores != nil {
		j.scores = append(j.scores, p[:j.classes]...)
	}
	confidence := float64(p[choice])
	b := &j.bins[min(max(int(confidence*10), 0), 9)]
	b.n++
	b.sum += confidence
	if label == choice {
		b.right++
	}
	m := Miss{example, label, choice, float64(p[label])}
	if len(j.misses) < mostMisses || m.Probability < j.misses[len(j.misses)-1].Probability {
		at, _ := slices.BinarySearchFunc(j.misses, m, func(a, b Miss) int {
			return cmp.Or(cmp.Compare(a.Probability, b.Probability), cmp.Compare(a.Example, b.Example))
		})
		j.misses = slices.Insert(j.misses, at, m)
		j.misses = j.misses[:min(len(j.misses), mostMisses)]
	}
}

// finish fills in what follows from the whole; confusion is there.
func (j *judge) finish(m *Metrics) {
	var c Calibration
	for i, b := range j.bins {
		if b.n == 0 {
			continue
		}
		c.Bins[i] = Bin{b.n, b.sum / float64(b.n), float64(b.right) / float64(b.n)}
		c.Error += math.Abs(b.sum-float64(b.right)) / float64(len(j.labels))
	}
	m.Calibration, m.Worst = &c, j.misses
	order := make([]int, len(j.labels))
	for class := range j.classes {
		k := ClassMetrics{ROC: Area(math.NaN()), PR: Area(math.NaN())}
		for other := range j.classes {
			k.Examples += m.Confusion[class][other]
			k.Given += m.Confusion[other][class]
		}
		right := float64(m.Confusion[class][class])
		if k.Given > 0 {
			k.Precision = right / float64(k.Given)
		}
		if k.Examples > 0 {
			k.Recall = right / float64(k.Examples)
		}
		if right > 0 {
			k.F1 = 2 * k.Precision * k.Recall / (k.Precision + k.Recall)
		}
		if j.scores != nil && k.Examples > 0 && k.Examples < len(j.labels) {
			k.ROC, k.PR = j.areas(class, order)
		}
		m.Classes = append(m.Classes, k)
	}
}

// areas are those under the two curves of a class. Examples of one probability are one step of both.
func (j *judge) areas(class int, order []int) (roc, pr Area) {
	score := func(i int) float32 { return j.scores[i*j.classes+class] }
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(score(b), score(a)) })
	var with, without, all, pairs, precision float64
	for _, l := range j.labels {
		if l == class {
			all++
		}
	}
	for i := 0; i < len(order); {
		var more, less float64
		k := i
		for ; k < len(order) && score(order[k]) == score(order[i]); k++ {
			if j.labels[order[k]] == class {
				more++
			} else {
				less++
			}
		}
		pairs += less * (with + more/2)
		with, without = with+more, without+less
		precision += more / all * with / (with + without)
		i = k
	}
	return Area(pairs / (all * without)), Area(precision)
}
