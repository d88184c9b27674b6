package train

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/fault"
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

// Headers and Orientations list what Options may say.
var (
	Headers      = []Header{HeaderAuto, HeaderYes, HeaderNo}
	Orientations = []string{useExif, ignoreExif}
)

// Validate reports every fault of o at once, as fault.Errors.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(o.Header == "" || slices.Contains(Headers, o.Header), "header", "%q is not one of %v", o.Header, Headers)
	l.Check(o.Orientation == "" || slices.Contains(Orientations, o.Orientation), "orientation", "%q is not one of %v", o.Orientation, Orientations)
	return l.Err()
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
