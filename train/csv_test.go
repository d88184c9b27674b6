package train_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// describe is a set in words: its shape, labels, and the classes of its first examples.
type describe struct {
	n       int
	shape   tensor.Shape
	labels  []string
	classes []int
}

func check(t *testing.T, s *train.Set, want describe) {
	t.Helper()
	var classes []int
	for i := range min(s.Len(), len(want.classes)) {
		classes = append(classes, s.Label(i))
	}
	if s.Len() != want.n || !s.Shape().Equal(want.shape) || !slices.Equal(s.Labels(), want.labels) || !slices.Equal(classes, want.classes) {
		t.Errorf("%d examples of %v, labels %q, classes %v; want %+v\nnotes %v", s.Len(), s.Shape(), s.Labels(), classes, want, s.Notes())
	}
}

// Files that others reported.
func TestCSVFiles(t *testing.T) {
	for name, want := range map[string]describe{
		"bom-wrong-label-column": {40, tensor.Shape{2}, []string{"0", "1"}, []int{0, 1, 0, 1}},
		"without-bom":            {40, tensor.Shape{2}, []string{"0", "1"}, []int{0, 1, 0, 1}},
		"bom-extra-class":        {40, tensor.Shape{2}, []string{"c", "d"}, []int{0}},
		"bom-quoted":             {60, tensor.Shape{4}, []string{"cat", "dog"}, nil},
		"cr-only":                {60, tensor.Shape{4}, []string{"cat", "dog"}, nil},
		"integer-header":         {40, tensor.Shape{1, 8, 8}, []string{"0", "1"}, nil},
		"numeric-header":         {60, tensor.Shape{4}, []string{"0", "1"}, nil},
		"one-class":              {40, tensor.Shape{2}, []string{"cat"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := train.Options{}
			if name == "numeric-header" { // whose last column has numbers
				o.Label = "0"
			}
			s, err := train.Open(filepath.Join("testdata", "csv", name+".csv"), o)
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, want)
		})
	}
	// What cannot be told is said, and can be said.
	file := filepath.Join("testdata", "csv", "numeric-header.csv")
	for header, n := range map[train.Header]int{train.HeaderAuto: 60, train.HeaderYes: 60, train.HeaderNo: 61} {
		s, err := train.Open(file, train.Options{Header: header})
		if err != nil || s.Len() != n {
			t.Errorf("header %s: %v", header, err)
			continue
		}
		if said := strings.Contains(s.Notes()[0].Text, "--header no"); said != (header == train.HeaderAuto) {
			t.Errorf("header %s: %v", header, s.Notes())
		}
	}
	if _, err := train.Open(file, train.Options{Header: "maybe"}); err == nil || !strings.Contains(err.Error(), "maybe") {
		t.Errorf("header maybe: %v", err)
	}
}

func TestCSVHeader(t *testing.T) {
	two := describe{2, tensor.Shape{3}, []string{"0", "1"}, []int{1, 0}}
	for _, c := range []struct {
		name, text string
		header     train.Header
		label      string
		want       describe
		err        string
	}{
		{name: "words", text: "label,a,b,c\n1,2,3,4\n0,4,5,6\n", want: two},
		{name: "the label last", text: "a,b,c,label\n2,3,4,1\n4,5,6,0\n", want: two},
		{name: "the label last, capital and spaces", text: "a,b,c, Label \n2,3,4,1\n4,5,6,0\n", want: two},
		{name: "target", text: "a,target,b,c\n2,1,3,4\n4,0,5,6\n", want: two},
		{name: "numbers but for the label", text: "label,0,1,2\n1,2,3,4\n0,4,5,6\n", want: two},
		{name: "numbers from 1 but for the label", text: "label,1,2,3\n1,2,3,4\n0,4,5,6\n", want: two},
		{name: "numbers but for the label, last", text: "0,1,2,label\n2,3,4,1\n4,5,6,0\n", want: two},
		{name: "numbers but for another word, last", text: "0,1,2,digit\n2,3,4,1\n4,5,6,0\n", want: two},
		{name: "numbers but for another word", text: "digit,0,1,2\n1,2,3,4\n0,4,5,6\n", want: two},
		{name: "any numbers but for a word above numbers", text: "digit,7,3,9\n1,2,3,4\n0,4,5,6\n", want: two},
		{name: "a usual name above words", text: "class,7,3,9\nb,2,3,4\na,4,5,6\n", want: describe{2, tensor.Shape{3}, []string{"a", "b"}, []int{1, 0}}},
		{name: "a usual name that is a label", text: "target,7,3,9\nnoise,2,3,4\ntarget,4,5,6\n", want: describe{3, tensor.Shape{3}, []string{"noise", "target"}, []int{1, 0, 1}}},
		{name: "a word that counts up above words", text: "species,0,1,2\nb,2,3,4\na,4,5,6\n", want: describe{2, tensor.Shape{3}, []string{"a", "b"}, []int{1, 0}}},
		{name: "words for labels, no header", text: "c,7,3,9\nb,2,3,4\na,4,5,6\n", want: describe{3, tensor.Shape{3}, []string{"a", "b", "c"}, []int{2, 1, 0}}},
		{name: "words for labels, no header, said", text: "class,7,3,9\nb,2,3,4\n", header: train.HeaderNo, want: describe{2, tensor.Shape{3}, []string{"b", "class"}, []int{1, 0}}},
		{name: "one row", text: "c,1,2,3\n", want: describe{1, tensor.Shape{3}, []string{"c"}, []int{0}}},
		{name: "one row of numbers", label: "1", text: "0,1,2,3\n", want: describe{1, tensor.Shape{3}, []string{"0"}, []int{0}}},
		{name: "numbers that count up", label: "0", text: "0,1,2,3\n1,9,3,4\n0,9,5,6\n", want: two},
		{name: "numbers that count up from 1", label: "1", text: "1,2,3,4\n1,9,3,4\n0,9,5,6\n", want: two},
		{name: "numbers that count up, said to be data", label: "1", text: "0,1,2,3\n1,9,3,4\n0,9,5,6\n", header: train.HeaderNo, want: describe{3, tensor.Shape{3}, []string{"0", "1"}, []int{0, 1, 0}}},
		{name: "all count up", label: "1", text: "0,1,2,3\n1,2,3,4\n", want: describe{2, tensor.Shape{3}, []string{"0", "1"}, []int{0, 1}}},
		{name: "three that count up", label: "1", text: "0,1,2\n1,9,3\n", want: describe{2, tensor.Shape{2}, []string{"0", "1"}, []int{0, 1}}},
		{name: "numbers that count by two", label: "1", text: "0,2,4,6\n1,9,3,4\n", want: describe{2, tensor.Shape{3}, []string{"0", "1"}, []int{0, 1}}},
		{name: "numbers, said to be a header", text: "7,8,9,7.5\n1,9,3,4\n0,9,5,6\n", header: train.HeaderYes, label: "7", want: two},
		{name: "one name twice", text: "label,7,7,7\n1,9,3,4\n", err: `column 2 ("7") and column 3 ("7") have one name`},
		{name: "no number in the header's place", text: "a,b,c,d\n1,9,3,4\n", header: train.HeaderNo, err: `column 1: "a" is not a finite number, as the 1 others are`},
		{name: "a value that is missing", text: "1,NA,2,3\n0,1,2,3\n", err: `line 1 (row 1): column 2: "NA" is no value`},
		{name: "a word's value that is missing", text: "cat,?,2,3\ndog,1,2,3\n", err: `line 1 (row 1): column 2: "?" is no value`},
		{name: "no value", text: "cat,1,,3\ndog,1,2,3\n", err: `line 1 (row 1): column 3: "" is no value`},
		{name: "NaN", text: "1,NaN,2,3\n1,2,2,3\n", err: `line 1 (row 1): column 2: "NaN" is no value`},
		{name: "an infinity", text: "1,inf,2,3\n1,2,2,3\n", err: `"inf" is not a finite number`},
		{name: "no value at all", text: "1,NaN,2,3\n", err: `column 2 has no value in any row: --ignore 2`},
		{name: "a word among numbers", text: "1,7,x,3\n0,1,2,3\n", err: `"x" is not a finite number`},
		{name: "a header alone", text: "label,a,b\n", err: "no rows of data"},
		{name: "a picture's row above 255 is the header", text: "label," + strings.Repeat(",300", 64)[1:] + "\n1" + strings.Repeat(",3", 64) + "\n0" + strings.Repeat(",4", 64),
			want: describe{2, tensor.Shape{1, 8, 8}, []string{"0", "1"}, []int{1, 0}}},
		{name: "a picture's first row is no picture", label: "1", text: "1" + strings.Repeat(",300", 64) + "\n0" + strings.Repeat(",4", 64),
			want: describe{2, tensor.Shape{64}, []string{"0", "1"}, []int{1, 0}}},
		{name: "fields differ", text: "label,a,b\n1,2\n", err: "line 2: wrong number of fields: not as many as in the first row"},
		{name: "semicolons", text: "label;a;b\n1;2;3\n0;2;3\n", want: describe{2, tensor.Shape{2}, []string{"0", "1"}, []int{1, 0}}},
		{name: "tabs", text: "1\t2\t3\n4\t5\t6\n", want: describe{2, tensor.Shape{2}, []string{"3", "6"}, []int{0, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := train.ReadCSV(strings.NewReader(c.text), train.Options{Header: c.header, Label: c.label})
			if c.err != "" {
				if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want ErrData with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			check(t, s, c.want)
		})
	}
}

// utf16Of is a text as UTF-16, with its byte order mark.
func utf16Of(order binary.AppendByteOrder, text string) string {
	b := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// A text is the same in every encoding that is read, with marks and with any ends of lines; of others it is said what they are.
func TestCSVEncodings(t *testing.T) {
	const lines = "label,a,b\nÄpfel,1,2\nzoë 𝄞,3,4\nÄpfel,5,6\n"
	want := describe{3, tensor.Shape{2}, []string{"zoë 𝄞", "Äpfel"}, []int{1, 0, 1}}
	quoted := strings.NewReplacer("\n", "\"\n\"", ",", `","`)
	const mark = "\uFEFF"
	ends := map[string]string{}
	for name, end := range map[string]string{"LF": "\n", "CRLF": "\r\n", "CR": "\r", "CR CR LF": "\r\r\n", "LF CR": "\n\r"} {
		text := strings.ReplaceAll(lines, "\n", end)
		ends[name] = text
		ends[name+", no last end"] = strings.TrimRight(text, "\r\n")
		ends[name+", quoted"] = strings.ReplaceAll(strings.TrimSuffix(`"`+quoted.Replace(lines), `"`), "\n", end)
		ends[name+", without header"] = strings.Join(strings.Split(text, end)[1:], end)
	}
	for name, text := range ends {
		for encoding, data := range map[string]string{
			"UTF-8": text, "UTF-8 with a mark": mark + text, "two marks": mark + mark + text, "UTF-16 LE": utf16Of(binary.LittleEndian, text),
			"UTF-16 BE": utf16Of(binary.BigEndian, text), "a mark before each line": strings.ReplaceAll(strings.ReplaceAll(mark+text, "\n", "\n"+mark), "\r", "\r"+mark),
		} {
			s, err := train.ReadCSV(strings.NewReader(data), train.Options{})
			if err != nil {
				t.Errorf("%s, %s: %v", encoding, name, err)
				continue
			}
			check(t, s, want)
		}
	}
	wide := utf16Of(binary.LittleEndian, lines)
	for name, c := range map[string][2]string{
		"Latin-1":                {"label,a\ncaf\xe9,1\n", "line 2 is not UTF-8"},
		"Latin-1 with CR":        {"label,a\rb,2\rcaf\xe9,1\r", "line 3 is not UTF-8"},
		"UTF-16 LE, no mark":     {wide[2:], "UTF-16 without a byte order mark"},
		"UTF-16 BE, no mark":     {utf16Of(binary.BigEndian, lines)[2:], "UTF-16 without a byte order mark"},
		"UTF-16, cut":            {wide[:len(wide)-1], "half of a character"},
		"UTF-16, half a pair":    {"\xff\xfe\x34\xd8,\x00", "half of a pair"},
		"UTF-16, cut in a pair":  {"\xff\xfe\x34\xd8", "half of a pair"},
		"UTF-32 LE":              {"\xff\xfe\x00\x00l\x00\x00\x00", "UTF-32"},
		"UTF-32 BE":              {"\x00\x00\xfe\xff\x00\x00\x00l", "UTF-32"},
		"a workbook":             {"PK\x03\x04\x14\x00", "workbook"},
		"gzip":                   {"\x1f\x8b\x08\x00", "gzip"},
		"a byte 0":               {"label,a\nb,\x00\n", "line 2 has a byte 0"},
		"nothing but a mark":     {mark, "no rows of data"},
		"nothing but UTF-16":     {"\xff\xfe", "no rows of data"},
		"an open quotation mark": {mark + "\"label,a\nb,1\n", "CSV"},
	} {
		if _, err := train.ReadCSV(strings.NewReader(c[0]), train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want ErrData with %q", name, err, c[1])
		}
	}
}

// A reader that fails is no bad data.
func TestCSVReaderFails(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "a.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := train.ReadCSV(f, train.Options{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
