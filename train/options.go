package train

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
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
	// Separator is what stands between the fields of a CSV file's line; 0 finds it.
	Separator rune
	// Orientation is what is done with the orientation that a photograph's file names: "exif" (also "") turns the picture upright, "ignore" takes
	// the pixels as they lie.
	Orientation string
	// Size is what the pictures of a folder become, as "WIDTHxHEIGHT" or one number; "" lets [Open] choose.
	Size string
	// SkipBad leaves out the pictures of a folder that cannot be read, and warns; otherwise they are an error that names them.
	SkipBad bool
	// Label is the column of a table that has the labels, by its name or its number from 1; "" lets [ReadCSV] choose.
	Label string
	// Ignore are columns of a table that are left out, by name or number.
	Ignore []string
	// Missing is what is done where a table has no value: "error" (also ""), "mean", which takes the column's mean, or its most frequent text, or "drop",
	// which leaves the row out.
	Missing string
	// Task is "classification", "regression", which predicts a number, or "", which is a classification and refuses to train where the labels do not look
	// like classes.
	Task string
	// Model, where it has columns, is what the table is read for: its columns are taken by name, its categories have the model's numbers.
	Model *model.Metadata

	picture [3]int // channels, height and width of the pictures that the model takes; 0 for none
}

// What Options.Missing and Options.Task say.
const (
	missingError       = "error"
	missingMean        = "mean"
	missingDrop        = "drop"
	taskClassification = model.Classification
	taskRegression     = model.Regression
)

// For completes o as data for a model is read.
func (o Options) For(m model.Metadata) Options {
	o.Model = &m
	if o.Orientation == "" {
		o.Orientation = m.Orientation
	}
	if o.Task == "" {
		o.Task = m.Task
	}
	return o
}

// Of is For with the size of the pictures that the model takes.
func (o Options) Of(m *model.Model) Options {
	o = o.For(m.Metadata)
	if spec, err := m.Spec(); err == nil {
		if c, h, w, ok := spec.PictureSize(); ok {
			o.picture = [3]int{c, h, w}
		}
	}
	return o
}

// names are those that a table's header should have.
func (o Options) names() []string {
	var all []string
	for _, name := range append([]string{o.Label}, o.Ignore...) {
		if _, err := strconv.Atoi(name); err != nil && name != "" {
			all = append(all, name)
		}
	}
	if o.Model != nil {
		all = append(all, names(o.Model.Columns)...)
	}
	return all
}

// Headers, Orientations, Missings and Tasks list what Options may say.
var (
	Headers      = []Header{HeaderAuto, HeaderYes, HeaderNo}
	Orientations = []string{useExif, ignoreExif}
	Missings     = []string{missingError, missingMean, missingDrop}
	Tasks        = []string{taskClassification, taskRegression}
)

// Validate reports every fault of o at once, as fault.Errors.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(o.Header == "" || slices.Contains(Headers, o.Header), "header", "%q is not one of %v", o.Header, Headers)
	l.Check(o.Separator == 0 || media.IsSeparator(o.Separator), "separator", "%q cannot be one", o.Separator)
	l.Check(o.Orientation == "" || slices.Contains(Orientations, o.Orientation), "orientation", "%q is not one of %v", o.Orientation, Orientations)
	if o.Size != "" {
		_, _, err := parseSize(o.Size)
		l.Take(err, func(string) (string, bool) { return "size", true })
	}
	l.Check(o.Missing == "" || slices.Contains(Missings, o.Missing), "missing", "%q is not one of %v", o.Missing, Missings)
	l.Check(o.Task == "" || slices.Contains(Tasks, o.Task), "task", "%q is not one of %v", o.Task, Tasks)
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
