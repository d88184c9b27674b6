package train

import "slices"

// classNotes warns where the set has nothing to learn: a class without examples, or the only one, or one number for all.
func (s *Set) classNotes() []Note {
	if s.targets != nil {
		var notes Set
		if len(s.targets) > 0 && slices.Min(s.targets) == slices.Max(s.targets) {
			notes.warn("all training examples have the number %g: the model learns to say that of everything, and its errors say nothing", s.targets[0])
		}
		return notes.notes
	}
	counts := make([]int, len(s.names))
	for _, l := range s.labels {
		counts[l]++
	}
	var there, absent []string
	for i, n := range counts {
		if n > 0 {
			there = append(there, s.names[i])
		} else {
			absent = append(absent, s.names[i])
		}
	}
	var notes Set
	if len(absent) > 0 {
		notes.warn("no training example has the label %s: the model does not learn it", some(absent))
	}
	if len(there) == 1 {
		notes.warn("all training examples have the label %s: the model learns to say that of everything, and its accuracy says nothing", brief(there[0]))
	}
	return notes.notes
}
