package graphdef

import "io"

// ShrinkFrom is Shrink with another size from which a field is large.
func ShrinkFrom(large int64, kind string, r io.ReaderAt, size int64) ([]byte, *Elements, error) {
	s := &shrinker{r: r, size: size, most: large}
	return s.shrink(kind)
}
