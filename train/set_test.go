package train_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// idx writes an IDX file.
func idx(code byte, data []byte, dims ...uint32) []byte {
	b := []byte{0, 0, code, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, data...)
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadIDX(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want *tensor.Tensor
		err  string
	}{
		{"bytes", idx(0x08, []byte{1, 2, 3, 4}, 2, 2), tensor.Must(tensor.Of([]uint8{1, 2, 3, 4}, 2, 2)), ""},
		{"int16 is big-endian", idx(0x0B, []byte{1, 2, 0xff, 0xfe}, 2), tensor.Vector[int16](0x102, -2), ""},
		{"float32", idx(0x0D, []byte{0x3f, 0x80, 0, 0}, 1), tensor.Vector[float32](1), ""},
		{"float64", idx(0x0E, []byte{0x3f, 0xf0, 0, 0, 0, 0, 0, 0}, 1), tensor.Vector[float64](1), ""},
		{"gzip", zipped(t, idx(0x08, []byte{7}, 1)), tensor.Vector[uint8](7), ""},
		{"empty", nil, nil, "magic"},
		{"no IDX", []byte("hello"), nil, "not an IDX file"},
		{"cut", idx(0x08, []byte{1, 2, 3}, 2, 2), nil, "3 of 4 bytes"},
		{"cut gzip", zipped(t, idx(0x08, []byte{1, 2, 3, 4}, 2, 2))[:20], nil, ""},
		{"too long", idx(0x08, []byte{1, 2, 3}, 2), nil, "bytes after the last element"},
		{"huge", idx(0x08, nil, 0xffffffff, 0xffffffff), nil, "more than"},
		{"large but absent", idx(0x08, nil, 1<<20, 1<<10), nil, "0 of 1073741824 bytes"},
		{"no dimensions", []byte{0, 0, 8, 0}, nil, "0 dimensions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := train.ReadIDX(bytes.NewReader(c.data))
			if c.want == nil {
				if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want ErrData with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.DType() != c.want.DType() || !got.Shape().Equal(c.want.Shape()) || !bytes.Equal(got.Bytes(), c.want.Bytes()) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idx(0x08, []byte{1, 2, 3, 4}, 2, 2))
	f.Add(idx(0x0C, []byte{1, 2, 3, 4}, 1))
	f.Add(idx(0x08, nil, 0xffff, 0xffff))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := train.ReadIDX(bytes.NewReader(data))
		if err != nil && !errors.Is(err, train.ErrData) {
			t.Errorf("error %v is no ErrData", err)
		}
		if err == nil && x.Size()*x.DType().Size() != len(x.Bytes()) {
			t.Errorf("%v has %d bytes", x, len(x.Bytes()))
		}
	})
}

func TestReadCSV(t *testing.T) {
	pixels := strings.Repeat(",12", 64)
	for _, c := range []struct {
		name, text string
		shape      tensor.Shape
		labels     []string
		classes    []int
		err        string
	}{
		{"numbers", "0.5,2,1\n-1,3,0\n", tensor.Shape{2}, []string{"0", "1"}, []int{1, 0}, ""},
		{"header", "a,b,label\n1,2,cat\n3,4,ant\n", tensor.Shape{2}, []string{"ant", "cat"}, []int{1, 0}, ""},
		{"words without header", "cat,1,2\nant,3,4\n", tensor.Shape{2}, []string{"ant", "cat"}, []int{1, 0}, ""},
		{"labels by value", "1,10\n2,9\n", tensor.Shape{1}, []string{"9", "10"}, []int{1, 0}, ""},
		{"picture", "3" + pixels + "\n", tensor.Shape{1, 8, 8}, []string{"3"}, []int{0}, ""},
		{"no value", "1,2\n2,NaN\n", nil, nil, nil, "line 2 (row 2): column 2: the label is empty"},
		{"a word", "1,2,0\n2,x,1\n", nil, nil, nil, `"x" is not a finite number`},
		{"uneven", "1,2\n2,3,4\n", nil, nil, nil, "line 2"},
		{"empty", "", nil, nil, nil, "no rows"},
		{"label alone", "1\n2\n", nil, nil, nil, "at least one number"},
		{"empty label", "2,1\n3,\n", nil, nil, nil, "label is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := train.ReadCSV(strings.NewReader(c.text), train.Options{})
			if c.err != "" {
				if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want ErrData with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var classes []int
			for e, err := range s.Examples() {
				if err != nil {
					t.Fatal(err)
				}
				classes = append(classes, e.Label)
			}
			if !s.Shape().Equal(c.shape) || !slices.Equal(s.Labels(), c.labels) || !slices.Equal(classes, c.classes) {
				t.Errorf("got shape %v labels %v classes %v", s.Shape(), s.Labels(), classes)
			}
		})
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add([]byte("label,a,b\n1,2,3\n"))
	f.Add([]byte("x,1\ny,2\n"))
	f.Add([]byte("\"1\n,2"))
	f.Add([]byte("\xef\xbb\xbflabel,0,1,2\r1,2,3,4\r\n0,4,5,6"))
	f.Add([]byte("0,1,2,3\n1,9,3,4\n"))
	f.Add([]byte(utf16Of(binary.LittleEndian, "digit,0,1,2\n1,2,3,4\n")))
	f.Add([]byte(utf16Of(binary.BigEndian, "a,𝄞\r\nb,1")))
	f.Add([]byte("id;time;temp;state;kind\r\n1;2026-01-02;1,5;open;0\r\n2;2026-01-03;;shut;1\r\n"))
	f.Add([]byte("a\tb\tlabel\n1\t\tx\n\t2\ty\n"))
	f.Add([]byte(",a,b,state\n0,1,none,1.5\n1,NA,-,2\n"))
	f.Add([]byte("temp,state,load\n1,open,2\n"))
	columns := []media.Column{{Name: "temp", Type: media.NumberColumn, Missing: new(1.5)}, {Name: "state", Type: media.CategoryColumn, Categories: []string{"open", "shut"}}}
	options := []train.Options{
		{}, {Missing: "mean"}, {Missing: "drop", Ignore: []string{"1"}}, {Task: "regression"}, {Label: "-1", Missing: "mean"},
		{Model: &model.Metadata{Columns: columns, Ignored: []string{"id"}, Target: "load"}},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range options {
			s, err := train.ReadCSV(bytes.NewReader(data), o)
			if err != nil {
				if !errors.Is(err, train.ErrData) {
					t.Errorf("error %v is no ErrData", err)
				}
				continue
			}
			if s.Len() == 0 || len(s.Labels()) == 0 && o.Task == "" || len(s.Notes()) == 0 {
				t.Errorf("an empty set without an error: %v", s.Notes())
			}
			for e := range s.Examples() {
				if e.Input.DType() == tensor.Float32 && media.CheckNaN(e.Input) != nil {
					t.Errorf("NaN in %v", tensor.Data[float32](e.Input))
				}
			}
			// A small table is one that training takes, and its model is one that can be used.
			if s.Shape().Size() < 20 {
				g, err := train.NewModel(train.MLP, s, 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := model.New(g); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func picture(t *testing.T, c color.Color, w, h int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = color.GrayModel.Convert(c).(color.Gray).Y
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, m); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "dark/a.png", picture(t, color.Gray{10}, 6, 4))
	write(t, dir, "dark/b.PNG", picture(t, color.Gray{20}, 12, 8))
	write(t, dir, "light/a.png", picture(t, color.Gray{250}, 6, 4))
	write(t, dir, "light/notes.txt", []byte("no picture"))
	s, err := train.Open(dir, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || !s.Shape().Equal(tensor.Shape{1, 4, 6}) || !slices.Equal(s.Labels(), []string{"dark", "light"}) || !s.Picture() {
		t.Fatalf("%d examples of %v, labels %v", s.Len(), s.Shape(), s.Labels())
	}
	want := []uint8{10, 20, 250}
	i := 0
	for e := range s.Examples() {
		if got := tensor.Data[uint8](e.Input)[0]; got != want[i] {
			t.Errorf("example %d has pixel %d, want %d", i, got, want[i])
		}
		i++
	}
	write(t, dir, "light/z.png", []byte("not a picture"))
	if _, err := train.Open(dir, train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "z.png") {
		t.Errorf("error %v does not name the bad file", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := train.Open(dir, train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "idx") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := train.Open(filepath.Join(dir, "absent"), train.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent directory: %v", err)
	}
	write(t, dir, "t10k-images-idx3-ubyte", idx(0x08, []byte{9}, 1, 1, 1))
	write(t, dir, "t10k-labels-idx1-ubyte", idx(0x08, []byte{0}, 1))
	if s, err := train.Open(dir, train.Options{}); err != nil || s.Len() != 1 {
		t.Errorf("a test set alone: %v", err)
	}
	write(t, dir, "train-images-idx3-ubyte.gz", zipped(t, idx(0x08, []byte{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2)))
	write(t, dir, "train-labels-idx1-ubyte", idx(0x08, []byte{2, 0}, 2))
	s, err := train.Open(dir, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 2 || !s.Shape().Equal(tensor.Shape{1, 2, 2}) || s.Label(0) != 2 || len(s.Labels()) != 3 {
		t.Errorf("%d examples of %v, label %d of %v", s.Len(), s.Shape(), s.Label(0), s.Labels())
	}
	write(t, dir, "train-labels-idx1-ubyte", idx(0x08, []byte{2}, 1))
	if _, err := train.Open(dir, train.Options{}); !errors.Is(err, train.ErrData) {
		t.Errorf("one label for two pictures: %v", err)
	}
}

func TestSplit(t *testing.T) {
	s, err := train.ReadCSV(strings.NewReader("0.1,0\n0.2,1\n0.3,0\n0.4,1\n0.5,0\n0.6,1\n0.7,0\n0.8,1\n0.9,0\n1.5,1\n"), train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	values := func(s *train.Set) (v []float32) {
		for e := range s.Examples() {
			v = append(v, tensor.Data[float32](e.Input)[0])
		}
		return v
	}
	a, b, err := s.Split("3", 1)
	if err != nil || a.Len() != 7 || !slices.Equal(values(b), []float32{0.8, 0.9, 1.5}) {
		t.Errorf("the last three: %d, %v, %v", a.Len(), values(b), err)
	}
	a, b, err = s.Split("20%", 1)
	if err != nil || a.Len() != 8 || b.Len() != 2 {
		t.Fatalf("20%%: %v", err)
	}
	all := append(values(a), values(b)...)
	slices.Sort(all)
	if !slices.Equal(all, values(s)) {
		t.Errorf("the parts together are %v", all)
	}
	_, again, _ := s.Split("20%", 1)
	if !slices.Equal(values(b), values(again)) {
		t.Error("the same seed draws another part")
	}
	if a, b, err := s.Split("0", 1); a != s || b != nil || err != nil {
		t.Errorf("none: %v, %v, %v", a, b, err)
	}
	for _, part := range []string{"10", "-1", "x", "100%", "x%"} {
		if _, _, err := s.Split(part, 1); err == nil {
			t.Errorf("part %q is taken", part)
		}
	}
}

// What nobody meant is left out and told, and a label without pictures is none.
func TestOpenFolderLeavesOut(t *testing.T) {
	dir := t.TempDir()
	junk := []byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
	for _, label := range []string{"dark", "light"} {
		for _, name := range []string{"1.png", "2.png"} {
			write(t, dir, label+"/"+name, picture(t, color.Gray{200}, 6, 4))
			write(t, dir, label+"/._"+name, junk)
		}
		for _, name := range []string{".DS_Store", "Thumbs.db", "desktop.ini", "1.png~", ".ipynb_checkpoints/1-checkpoint.png", "@eaDir/1.png/x.jpg"} {
			write(t, dir, label+"/"+name, junk)
		}
	}
	write(t, dir, "dark/notes.txt", []byte("no picture"))
	write(t, dir, "dark/more/1.png", picture(t, color.Gray{200}, 6, 4))
	write(t, dir, "README.md", []byte("no picture"))
	write(t, dir, "._dark", junk)
	write(t, dir, "__MACOSX/dark/._1.png", junk)
	write(t, dir, ".ipynb_checkpoints/1.png", junk)
	write(t, dir, "third/words.txt", []byte("no picture"))
	if err := os.MkdirAll(filepath.Join(dir, "fourth"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := train.Open(dir, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 4 || !slices.Equal(s.Labels(), []string{"dark", "light"}) {
		t.Errorf("%d examples, labels %v", s.Len(), s.Labels())
	}
	var all, warnings []string
	for _, n := range s.Notes() {
		all = append(all, n.Text)
		if n.Warning {
			warnings = append(warnings, n.Text)
		}
	}
	for _, want := range []string{"19 files that systems or editors left behind", "3 files that are no pictures by their names", "1 directory inside of a label's (dark/more)"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%q does not say %q", all, want)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "fourth, third") {
		t.Errorf("warnings %q", warnings)
	}
	empty := t.TempDir()
	write(t, empty, "a/._1.png", junk)
	write(t, empty, "b/1.txt", junk)
	if _, err := train.Open(empty, train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("no picture at all: %v", err)
	}
	// The other kinds of data sets, beside what a system left.
	for name, data := range map[string][]byte{"a.csv": []byte("1,2\n0,3\n"), "train-images-idx3-ubyte": idx(0x08, []byte{1, 2, 3, 4}, 1, 2, 2)} {
		dir := t.TempDir()
		write(t, dir, name, data)
		write(t, dir, "._"+name, junk)
		write(t, dir, name+"~", junk)
		write(t, dir, "train-labels-idx1-ubyte", idx(0x08, []byte{0}, 1))
		write(t, dir, "__MACOSX/._"+name, junk)
		if _, err := train.Open(dir, train.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenFolderTurns: a photograph is upright in the set, as where it is served, and gives the set its size so.
func TestOpenFolderTurns(t *testing.T) {
	dir := t.TempDir()
	upright := image.NewGray(image.Rect(0, 0, 2, 3))
	upright.Pix = []byte{10, 20, 30, 40, 50, 60}
	var file bytes.Buffer
	lying := image.NewGray(image.Rect(0, 0, 3, 2)) // orientation 6: the first row is the right side, the first column the top
	lying.Pix = []byte{20, 40, 60, 10, 30, 50}
	if err := png.Encode(&file, lying); err != nil {
		t.Fatal(err)
	}
	exif := append([]byte("eXIfMM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"), 0, 0, 0, 0)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(exif)-4))
	chunk = binary.BigEndian.AppendUint32(append(chunk, exif...), crc32.ChecksumIEEE(exif))
	const head = 8 + 25
	write(t, dir, "a/1.png", slices.Concat(file.Bytes()[:head], chunk, file.Bytes()[head:]))
	write(t, dir, "a/2.png", slices.Concat(file.Bytes()[:head], chunk, file.Bytes()[head:]))
	file.Reset()
	if err := png.Encode(&file, upright); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "b/1.png", file.Bytes())
	for orientation, want := range map[string]tensor.Shape{"": {1, 3, 2}, "exif": {1, 3, 2}, "ignore": {1, 2, 3}} {
		s, err := train.Open(dir, train.Options{Orientation: orientation})
		if err != nil {
			t.Fatal(err)
		}
		first := lying.Pix
		if orientation != "ignore" {
			first = upright.Pix
		}
		for e := range s.Examples() {
			if got := tensor.Data[uint8](e.Input); !s.Shape().Equal(want) || !slices.Equal(got, first) {
				t.Errorf("%q: %v %v, want %v %v", orientation, s.Shape(), got, want, first)
			}
			break
		}
		// The model says what its training took.
		g, err := train.NewModel(train.MLP, s, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Metadata["millrace.orientation"]; got == "ignore" != (orientation == "ignore") {
			t.Errorf("%q: the model's metadata says %q", orientation, got)
		}
	}
}
