package train

// Augmenter returns a function that writes example i of a set of pictures, changed by these seeds, as numbers from 0 to 255.
func Augmenter(s *Set, a Augment) func(seed, i uint64) []float32 {
	f := newFiller(s, scaling{scale: 1}, false, a)
	out := make([]float32, s.size)
	return func(seed, i uint64) []float32 {
		f.fill(out, int(i), seed, i)
		return out
	}
}

// Augmented returns example i of a set of pictures, changed by these seeds, as numbers from 0 to 255.
func Augmented(s *Set, a Augment, seed, i uint64) []float32 {
	return Augmenter(s, a)(seed, i)
}

// Balance is the weights of classes.
var Balance = balance
