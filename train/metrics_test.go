package train

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestMetrics holds the numbers of a classifier against their definitions, counted pair by pair.
func TestMetrics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, classes = 400, 3
	j := newJudge(n, classes)
	m := Metrics{Confusion: [][]int{make([]int, classes), make([]int, classes), make([]int, classes)}}
	var scores [][]float32
	var labels, choices []int
	for i := range n {
		p := make([]float32, classes)
		label := r.IntN(classes)
		sum := float32(0)
		for k := range p {
			p[k] = float32(r.IntN(8)+1) / 8 // with many ties
			if k == label {
				p[k] += 0.5
			}
			sum += p[k]
		}
		for k := range p {
			p[k] /= sum
		}
		choice := argmax(p)
		j.add(i, label, choice, p)
		m.Confusion[label][choice]++
		scores, labels, choices = append(scores, p), append(labels, label), append(choices, choice)
	}
	j.finish(&m)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	for class, c := range m.Classes {
		var right, given, there, pairs, won, precision float64
		for i := range n {
			if choices[i] == class {
				given++
			}
			if labels[i] != class {
				continue
			}
			there++
			if choices[i] == class {
				right++
			}
			var above, hits float64
			for k := range n {
				if scores[k][class] >= scores[i][class] {
					above++
					if labels[k] == class {
						hits++
					}
				}
				if labels[k] == class {
					continue
				}
				pairs++
				switch {
				case scores[i][class] > scores[k][class]:
					won++
				case scores[i][class] == scores[k][class]:
					won += 0.5
				}
			}
			precision += hits / above
		}
		near("precision", c.Precision, right/given)
		near("recall", c.Recall, right/there)
		near("F1", c.F1, 2*right/(given+there))
		near("ROC", float64(c.ROC), won/pairs)
		near("PR", float64(c.PR), precision/there)
	}
	var apart float64
	total := 0
	for _, b := range m.Calibration.Bins {
		apart += float64(b.Examples) * math.Abs(b.Accuracy-b.Confidence) / n
		total += b.Examples
	}
	near("calibration error", m.Calibration.Error, apart)
	if total != n || len(m.Worst) != mostMisses {
		t.Fatalf("%d examples in bins, %d worst", total, len(m.Worst))
	}
	for i, w := range m.Worst {
		if w.Probability != float64(scores[w.Example][labels[w.Example]]) || i > 0 && w.Probability < m.Worst[i-1].Probability {
			t.Errorf("worst %d: %+v", i, w)
		}
	}
	better := 0
	for i := range n {
		if float64(scores[i][labels[i]]) < m.Worst[mostMisses-1].Probability {
			better++
		}
	}
	if better >= mostMisses {
		t.Errorf("%d examples are worse than the last of the worst", better)
	}
}

// TestMetricsOfOneClass has nothing to compare with.
func TestMetricsOfOneClass(t *testing.T) {
	j := newJudge(2, 2)
	m := Metrics{Confusion: [][]int{{1, 1}, {0, 0}}}
	j.add(0, 0, 0, []float32{1, 0})
	j.add(1, 0, 1, []float32{0.2, 0.8})
	j.finish(&m)
	if c := m.Classes[0]; !math.IsNaN(float64(c.ROC)) || !math.IsNaN(float64(c.PR)) || c.Precision != 1 || c.Recall != 0.5 {
		t.Errorf("%+v", c)
	}
	if c := m.Classes[1]; c.Examples != 0 || c.Given != 1 || c.Precision != 0 || c.F1 != 0 {
		t.Errorf("%+v", c)
	}
}
