package train

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// unreadable are the faults of pictures that cannot be read, each with its file's name. It is ErrData.
type unreadable struct {
	faults []error
	all    bool // there are no others
}

func (u *unreadable) Unwrap() error { return ErrData }

func (u *unreadable) Error() string {
	const most = 10
	if len(u.faults) == 1 && !u.all {
		return fmt.Sprintf("%v: %v (--skip-bad leaves it out)", ErrData, u.faults[0])
	}
	text := fmt.Sprintf("%v: %d pictures cannot be read (--skip-bad leaves them out)", ErrData, len(u.faults))
	if u.all {
		text = fmt.Sprintf("%v: none of the pictures can be read", ErrData)
	}
	for _, err := range u.faults[:min(most, len(u.faults))] {
		text += "\n  " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	if n := len(u.faults) - most; n > 0 {
		text += fmt.Sprintf("\n  and %d more", n)
	}
	return text
}

var errEmptyFile = errors.New("the file is empty")

// take gathers the faults of another part, and returns any other error, and one that leaves a part without pictures.
func (u *unreadable) take(err error) error {
	var more *unreadable
	if !errors.As(err, &more) || more.all {
		return err
	}
	u.faults = append(u.faults, more.faults...)
	return nil
}

// readPictures fills the set with the pictures of files, as the decoder makes them, or one for what is usual among them. read tells which ones are
// there: all, or with Options.SkipBad those that can be read. Where the error is unreadable the decoder is of use all the same, for others' faults.
func (s *Set) readPictures(files []string, decoder *media.Decoder, o Options) (read []bool, d *media.Decoder, err error) {
	read = make([]bool, len(files))
	faults := make([]error, len(files))
	for {
		var at []int // of the pictures without a fault so far
		var good []string
		for i, name := range files {
			if read[i] = faults[i] == nil; read[i] {
				at, good = append(at, i), append(good, name)
			}
		}
		if len(good) == 0 {
			return nil, decoder, &unreadable{faults, true}
		}
		found, bad, err := s.try(good, decoder, o)
		if err != nil {
			return nil, nil, err
		}
		again := false
		for k, err := range bad {
			faults[at[k]] = err
			again = again || err != nil
		}
		switch {
		case again && (o.SkipBad || found.made == nil): // what is usual is to be of those that remain
		case !again && (o.SkipBad || len(good) == len(files)):
			s.tell(found, faults, o)
			return read, found.made, nil
		default:
			return nil, found.made, &unreadable{faults: compact(faults)}
		}
	}
}

// try surveys and decodes pictures, and returns the fault of each; err is one that has to do with none of them.
func (s *Set) try(files []string, decoder *media.Decoder, o Options) (found surveyed, faults []error, err error) {
	if decoder == nil {
		if found, faults = survey(files, o); len(compact(faults)) > 0 {
			return found, faults, nil
		}
		if decoder, err = found.decoder(o); err != nil {
			return found, nil, err
		}
	}
	found.made = decoder
	faults, err = s.decode(files, decoder)
	return found, faults, err
}

// tell notes what was found and what was left out.
func (s *Set) tell(found surveyed, faults []error, o Options) {
	if len(found.sizes) > 0 {
		s.note("%s", found.text(found.made.Spec().Shape, o))
	}
	const most = 100
	left := compact(faults)
	for _, err := range left[:min(most, len(left))] {
		s.warn("left out: %v", err)
	}
	if n := len(left) - most; n > 0 {
		s.warn("left out: %d more pictures that cannot be read", n)
	}
}

func compact(faults []error) []error {
	return slices.DeleteFunc(slices.Clone(faults), func(err error) bool { return err == nil })
}

// each calls do for every file, several at a time, and returns the fault of each with its name.
func each(files []string, do func(i int, name string) error) []error {
	faults := make([]error, len(files))
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range files {
		work.Go(func() error {
			if err := do(i, name); err != nil {
				faults[i] = fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	_ = work.Wait() // the faults are all there is
	return faults
}

// decode fills the set with the pictures of files, and returns the fault of each.
func (s *Set) decode(files []string, decoder *media.Decoder) ([]error, error) {
	shape := decoder.Spec().Shape
	s.shape, s.size = shape.Clone(), shape.Size()
	all, err := tensor.New(tensor.Uint8, append(tensor.Shape{len(files)}, shape...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %d pictures of %v: %w", ErrData, len(files), shape, err)
	}
	s.bytes = tensor.Data[uint8](all)
	return each(files, func(i int, name string) error {
		data, err := readPicture(name)
		if err != nil {
			return err
		}
		kind := media.Sniff("", data)
		switch {
		case len(data) == 0:
			return errEmptyFile
		case !media.IsPicture(kind):
			return errors.New("neither PNG, JPEG, GIF, WebP nor TIFF")
		}
		return decoder.DecodeInto(all, i, kind, data)
	}), nil
}
