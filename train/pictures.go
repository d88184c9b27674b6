package train

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

const (
	// maxSide is the longer side of the pictures of a folder where no size is given: larger ones are scaled down to it. It tells most kinds of
	// things apart, and a convolutional net learns from 300 such pictures in seconds.
	maxSide = 96
	// maxSize bounds a side that is given.
	maxSize = 1024
	// maxPictureBytes limits one picture's file.
	maxPictureBytes = 64 << 20
	// headBytes is what of a file is read to find its size: what follows matters seldom.
	headBytes = 256 << 10
)

// pictureEnds are the ends of names of pictures.
var pictureEnds = []string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff"}

// roles are the names of the parts of a data set that is divided already.
var roles = map[string]string{
	"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test", "testing": "test",
}

// divided returns the directories of a data set's parts, by role, where all directories are such and there are at least two.
func divided(dirs []string) map[string]string {
	parts := map[string]string{}
	for _, d := range dirs {
		role := roles[strings.ToLower(d)]
		if role == "" || parts[role] != "" {
			return nil
		}
		parts[role] = d
	}
	if parts["train"] == "" || len(parts) < 2 {
		return nil
	}
	return parts
}

// openDivided reads train/, and val/ and test/ for what they are called.
func openDivided(dir string, parts map[string]string, left leftOut, o Options) (*Set, error) {
	names, err := directories(filepath.Join(dir, parts["train"]), parts["train"], left)
	if err != nil {
		return nil, err
	}
	var bad unreadable // of all parts
	s, decoder, err := openPictures(filepath.Join(dir, parts["train"]), parts["train"], names, nil, nil, left, o)
	if err = bad.take(err); err != nil {
		return nil, err
	}
	if s == nil { // the other parts are read for their faults alone
		s = &Set{names: names}
	}
	told := []string{fmt.Sprintf("%s (%d pictures) is trained on", parts["train"], s.Len())}
	for _, role := range []string{"val", "test"} {
		name := parts[role]
		if name == "" {
			continue
		}
		if names, err = directories(filepath.Join(dir, name), name, left); err != nil {
			return nil, err
		}
		part, _, err := openPictures(filepath.Join(dir, name), name, names, s.names, decoder, left, o)
		if err = bad.take(err); err != nil {
			return nil, err
		}
		if part == nil {
			continue
		}
		if role == "val" {
			s.validation = part
			told = append(told, fmt.Sprintf("%s (%d) validates each epoch", name, part.Len()))
		} else {
			s.test = part
			told = append(told, fmt.Sprintf("%s (%d) is looked at in the end alone", name, part.Len()))
		}
	}
	if len(bad.faults) > 0 {
		return nil, &bad
	}
	s.note("the set is divided: %s", strings.Join(told, ", "))
	if len(left) > 0 {
		s.note("left out: %s", left)
	}
	return s, nil
}

// directories lists the labels' directories of a part.
func directories(dir, part string, left leftOut) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		switch name := filepath.Join(part, e.Name()); {
		case media.Leftover(e.Name()):
			left.add(leftover, name)
		case isDir(dir, e):
			dirs = append(dirs, e.Name())
		default:
			left.add(otherFile, name)
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%w: %s has no directory of pictures for each label", ErrData, dir)
	}
	return dirs, nil
}

// openPictures reads the pictures in dir/LABEL/. Where labels and a decoder are given, they are another part's: no other label may be there,
// and the pictures are made as those are.
func openPictures(dir, place string, names, labels []string, decoder *media.Decoder, left leftOut, o Options) (*Set, *media.Decoder, error) {
	var files, of, empty []string // of has the label of each file
	given := labels != nil
	for _, name := range sortLabels(names) {
		found, err := pictures(dir, place, name, left)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 {
			empty = append(empty, name)
		}
		if len(found) > 0 && given && !slices.Contains(labels, name) {
			return nil, nil, fmt.Errorf("%w: %s: no picture that is trained on has the label %s; the labels are %s", ErrData, filepath.Join(dir, name), name, some(labels))
		}
		for _, f := range found {
			files, of = append(files, f), append(of, name)
		}
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("%w: %s: there is no picture (%s) in any of its directories: %s", ErrData, dir, strings.Join(pictureEnds, ", "), some(empty))
	}
	s := &Set{folder: true}
	read, decoder, err := s.readPictures(files, decoder, o)
	if err != nil {
		return nil, decoder, err
	}
	number := map[string]int64{}
	for i, name := range labels {
		number[name] = int64(i)
	}
	for i, name := range of {
		if _, known := number[name]; !known && read[i] {
			number[name], labels = int64(len(labels)), append(labels, name)
		}
	}
	for _, name := range slices.Compact(slices.Clone(of)) {
		if _, known := number[name]; !known {
			empty = append(empty, name) // none of its pictures can be read
		}
	}
	if len(labels) > maxLabels {
		return nil, nil, fmt.Errorf("%w: %d labels; from 1 to %d are possible", ErrData, len(labels), maxLabels)
	}
	s.names = labels
	for i, name := range of {
		if read[i] {
			s.labels = append(s.labels, number[name])
		}
	}
	if o.Orientation == ignoreExif {
		s.orientation = ignoreExif
	}
	if len(empty) > 0 {
		s.warn("left out as labels, since there is no picture in them that can be read: %s", some(empty))
	}
	return s, decoder, nil
}

// surveyed is what the heads of pictures say.
type surveyed struct {
	sizes [][2]int // width and height, from the smallest number of pixels
	// usual is the middle shape (width by height) with the middle number of pixels: where most pictures have one size, that one. A
	// single picture's size would not do: the middle one by pixels may be a panorama.
	usual [2]float64
	grey  int
	made  *media.Decoder // what makes pictures of the set of them
}

// survey looks at the heads of these pictures, and returns the fault of each.
func survey(files []string, o Options) (surveyed, []error) {
	s := surveyed{sizes: make([][2]int, len(files))}
	grey := make([]bool, len(files))
	faults := each(files, func(i int, name string) error {
		p, err := look(name, o.Orientation)
		s.sizes[i], grey[i] = [2]int{p.Width, p.Height}, p.Channels == 1
		return err
	})
	if slices.ContainsFunc(faults, func(err error) bool { return err != nil }) {
		return s, faults // they say nothing about what is usual
	}
	for _, g := range grey {
		if g {
			s.grey++
		}
	}
	slices.SortFunc(s.sizes, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0]*a[1], b[0]*b[1]), cmp.Compare(a[0], b[0])) })
	s.usual = usualSize(s.sizes)
	return s, faults
}

// usualSize returns the medians of the logarithms of shapes and areas as width and height.
func usualSize(sizes [][2]int) [2]float64 {
	shapes, areas := make([]float64, len(sizes)), make([]float64, len(sizes))
	for i, size := range sizes {
		w, h := math.Log(float64(size[0])), math.Log(float64(size[1]))
		shapes[i], areas[i] = w-h, w+h
	}
	shape, area := median(shapes), median(areas)
	return [2]float64{math.Exp((area + shape) / 2), math.Exp((area - shape) / 2)}
}

// median sorts v, which is not empty; of two in the middle it is the mean.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// look reads what it needs of a file: its head, and all of it where that is not enough.
func look(name, orientation string) (media.Picture, error) {
	f, err := os.Open(name)
	if err != nil {
		return media.Picture{}, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headBytes))
	if err != nil {
		return media.Picture{}, err
	}
	if len(head) == 0 {
		return media.Picture{}, errEmptyFile
	}
	p, err := media.Look(head, orientation)
	if err == nil || len(head) < headBytes {
		return p, err
	}
	data, err := readPicture(name)
	if err != nil {
		return p, err
	}
	return media.Look(data, orientation)
}

// target is what becomes of the pictures: the given size or the model's, else the usual size, scaled down to maxSide.
func (s surveyed) target(o Options) (channels, w, h int, err error) {
	channels = 3
	if s.grey == len(s.sizes) {
		channels = 1
	}
	if o.picture != [3]int{} {
		return o.picture[0], o.picture[2], o.picture[1], nil
	}
	if o.Size != "" {
		w, h, err = parseSize(o.Size)
		return channels, w, h, err
	}
	down := min(1, maxSide/max(s.usual[0], s.usual[1]))
	side := func(i int) int { return max(1, int(math.Round(s.usual[i]*down))) }
	return channels, side(0), side(1), nil
}

func (s surveyed) decoder(o Options) (*media.Decoder, error) {
	channels, w, h, err := s.target(o)
	if err != nil {
		return nil, err
	}
	return media.NewDecoder(media.Spec{
		DType: tensor.Uint8, Shape: tensor.Shape{channels, h, w}, Layout: media.NCHW, Orientation: o.Orientation,
	})
}

// text says which sizes there are and what becomes of them.
func (s surveyed) text(shape tensor.Shape, o Options) string {
	sizes := slices.Compact(slices.Clone(s.sizes))
	text := fmt.Sprintf("%d pictures", len(s.sizes))
	least, most := sizes[0], sizes[len(sizes)-1]
	if len(sizes) == 1 {
		text += fmt.Sprintf(" of %d x %d", least[0], least[1])
	} else {
		text += fmt.Sprintf(" of %d sizes, from %d x %d to %d x %d", len(sizes), least[0], least[1], most[0], most[1])
	}
	switch s.grey {
	case 0:
		text += ", in colour"
	case len(s.sizes):
		text += ", grey"
	default:
		text += fmt.Sprintf(", %d of them grey", s.grey)
	}
	becomes := fmt.Sprintf("%d x %d", shape[2], shape[1])
	if shape[0] == 1 {
		becomes += ", grey"
	} else {
		becomes += ", in colour"
	}
	switch {
	case o.picture != [3]int{}:
		return text + "; each becomes " + becomes + ", as the model takes them"
	case o.Size == "" && len(sizes) == 1 && least == [2]int{shape[2], shape[1]}:
		return text + ", which they keep (--size WIDTHxHEIGHT chooses another)"
	case o.Size == "":
		return text + "; each becomes " + becomes + " (--size WIDTHxHEIGHT chooses another)"
	}
	return text + "; each becomes " + becomes
}

// parseSize reads WIDTHxHEIGHT, or one number for both.
func parseSize(s string) (w, h int, err error) {
	a, b, two := strings.Cut(s, "x")
	if !two {
		b = a
	}
	w, errW := strconv.Atoi(strings.TrimSpace(a))
	h, errH := strconv.Atoi(strings.TrimSpace(b))
	if errW != nil || errH != nil || w < 1 || h < 1 || w > maxSize || h > maxSize {
		return 0, 0, fmt.Errorf("%q is not a size such as 96x72, of 1 to %d pixels a side", s, maxSize)
	}
	return w, h, nil
}
