package train

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/media"
)

// Open reads a data set: a CSV or Parquet file, an .npz file of arrays (see [FromArrays]), a directory with the two IDX files of a set (images and labels, gzipped or not; a training set's before a test set's),
// or a directory that has a directory of pictures (PNG, JPEG, GIF, WebP, TIFF) for each label; train/, val/ and test/ may stand above those. Pictures are scaled to
// one size, grey where all are; a directory without pictures is no label. [Set.Notes] has what was found, made of it and left out.
func Open(path string, o Options) (*Set, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	if !info.IsDir() {
		if isCSV(path) {
			return openCSV(path, o)
		}
		if strings.EqualFold(filepath.Ext(path), ".parquet") {
			return openParquet(path, o)
		}
		if strings.EqualFold(filepath.Ext(path), ".npz") {
			return openNPZ(path, o)
		}
		return nil, fmt.Errorf("%w: %s: a data set is a .csv, .tsv, .parquet or .npz file or a directory", ErrData, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var files, dirs []string
	left := leftOut{}
	for _, e := range entries {
		switch {
		case media.Leftover(e.Name()):
			left.add(leftover, e.Name())
		case isDir(path, e):
			dirs = append(dirs, e.Name())
		default:
			files = append(files, e.Name())
		}
	}
	if images, labels := findIDX(files); images != "" && labels != "" {
		return openIDX(path, images, labels)
	}
	if i := slices.IndexFunc(files, isCSV); i >= 0 && len(dirs) == 0 {
		return openCSV(filepath.Join(path, files[i]), o)
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%w: %s holds neither IDX files (train-images-idx3-ubyte and train-labels-idx1-ubyte, .gz or not), nor a .csv file, nor a directory of pictures for each label", ErrData, path)
	}
	for _, f := range files {
		left.add(otherFile, f)
	}
	if parts := divided(dirs); parts != nil {
		return openDivided(path, parts, left, o)
	}
	s, _, err := openPictures(path, "", dirs, nil, nil, left, o)
	if err == nil && len(left) > 0 {
		s.note("left out: %s", left)
	}
	return s, err
}

// isCSV goes by the end of a file's name, as bulk does.
func isCSV(name string) bool {
	ext := filepath.Ext(name)
	return strings.EqualFold(ext, ".csv") || strings.EqualFold(ext, ".tsv")
}

// pictures lists the pictures of a label's directory in order. What is left out is told of by its path from place.
func pictures(dir, place, label string, left leftOut) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, label))
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(place, label, e.Name())
		switch ext := strings.ToLower(filepath.Ext(e.Name())); {
		case media.Leftover(e.Name()):
			left.add(leftover, name)
		case isDir(filepath.Join(dir, label), e):
			left.add(directory, name)
		case slices.Contains(pictureEnds, ext):
			files = append(files, filepath.Join(dir, label, e.Name()))
		default:
			left.add(otherFile, name)
		}
	}
	return files, nil
}

// leftOut has, by kind, what was left out of a folder.
type leftOut map[string][]string

// Kinds of files that are left out, with one and with several.
const (
	leftover  = "file that a system or an editor left behind|files that systems or editors left behind"
	otherFile = "file that is no picture by its name|files that are no pictures by their names"
	directory = "directory inside of a label's|directories inside of a label's"
)

func (l leftOut) add(kind, name string) { l[kind] = append(l[kind], name) }

// String counts them and names one of each kind.
func (l leftOut) String() string {
	var parts []string
	for _, kind := range []string{leftover, otherFile, directory} {
		one, more, _ := strings.Cut(kind, "|")
		switch names := l[kind]; len(names) {
		case 0:
		case 1:
			parts = append(parts, fmt.Sprintf("1 %s (%s)", one, names[0]))
		default:
			parts = append(parts, fmt.Sprintf("%d %s (such as %s)", len(names), more, names[0]))
		}
	}
	return strings.Join(parts, ", ")
}

// some lists the first names, each briefly, and says how many more there are.
func some(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = brief(name)
	}
	return few(list)
}

// few is some for what is brief.
func few(texts []string) string {
	const most = 10
	if len(texts) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], ", "), len(texts)-most)
	}
	return strings.Join(texts, ", ")
}

// brief cuts a name, which may be a text of megabytes, for people.
func brief(name string) string {
	const most = 80
	n := 0
	for i := range name {
		if n++; n > most {
			return name[:i] + "..."
		}
	}
	return name
}

// isDir follows links, of which data sets are made where several share pictures.
func isDir(dir string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(filepath.Join(dir, e.Name()))
	return err == nil && info.IsDir()
}

func readPicture(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPictureBytes {
		return nil, fmt.Errorf("%d bytes are more than the %d that a picture may have", info.Size(), maxPictureBytes)
	}
	return os.ReadFile(name)
}
