package train

// classNotes warns where a class cannot be learned from the set: one without examples, or the only one.
func (s *Set) classNotes() []Note {
	if s.targets != nil {
		return nil
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
		notes.warn("all training examples have the label %s: the model learns to say that of everything, and its accuracy says nothing", there[0])
	}
	return notes.notes
}
