package train

import (
	"fmt"
	"slices"
)

// What is done with a photograph's orientation, as in media.Spec.
const (
	useExif    = "exif"
	ignoreExif = "ignore"
)

// Options say how a data set is read. The zero value is the usual way.
type Options struct {
	// Header is whether a CSV file's first row is a header: "auto" (also ""), "yes" or "no".
	Header Header
	// Orientation is what is done with the orientation that a photograph's file names: "exif" (also "") turns the picture upright, "ignore" takes
	// the pixels as they lie.
	Orientation string
}

// Validate returns what is wrong with o.
func (o Options) Validate() error {
	if !slices.Contains([]Header{"", HeaderAuto, HeaderYes, HeaderNo}, o.Header) {
		return fmt.Errorf("header %q is none of auto, yes, no", o.Header)
	}
	if !slices.Contains([]string{"", useExif, ignoreExif}, o.Orientation) {
		return fmt.Errorf("orientation %q is neither exif nor ignore", o.Orientation)
	}
	return nil
}

// A Note is what whoever uses a data set should know about how it was read.
type Note struct {
	Text string
	// Warning says that the data is probably not what was meant.
	Warning bool
}

// Notes returns what was decided and left out when the set was read. The caller must not change them.
func (s *Set) Notes() []Note { return s.notes }

func (s *Set) note(format string, args ...any) {
	s.notes = append(s.notes, Note{Text: fmt.Sprintf(format, args...)})
}

func (s *Set) warn(format string, args ...any) {
	s.notes = append(s.notes, Note{Text: fmt.Sprintf(format, args...), Warning: true})
}
