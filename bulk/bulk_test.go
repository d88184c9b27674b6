package bulk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

func readAll(t testing.TB, in bulk.Reader, err error) []bulk.Record {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []bulk.Record
	for {
		r, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
}

// TestComesBack: JSON lines and tar give back every record that a cache can have, byte for byte.
func TestComesBack(t *testing.T) {
	for _, format := range []bulk.Format{bulk.JSONLines, bulk.Tar} {
		t.Run(string(format), rapid.MakeCheck(func(t *rapid.T) {
			text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("{}[]\":,1 \n\\/.%"))), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
			span := rapid.OneOf(rapid.Just(time.Duration(0)), rapid.Just(time.Duration(-1)), rapid.Map(rapid.Int64Range(1, 1e12), func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }))
			var want []bulk.Record
			for range rapid.IntRange(0, 5).Draw(t, "records") {
				r := bulk.Record{
					Key: text.Filter(func(s string) bool { return s != "" && len(s) <= grid.MaxKeyBytes }).Draw(t, "key"), Value: []byte(text.Draw(t, "value")),
					ContentType: rapid.SampledFrom([]string{"", "application/json", "text/plain", "text/plain; charset=latin1", "image/png", "application/x+json"}).Draw(t, "type"),
					Lifespan:    span.Draw(t, "lifespan"), MaxIdle: span.Draw(t, "idle"),
				}
				if rapid.Bool().Draw(t, "json") {
					r.Value = []byte(fmt.Sprintf(`{"a":%d,"b":[null,"<é>"]}`, len(want)))
				}
				if rapid.Bool().Draw(t, "labelled") {
					r.Labels = map[string]string{"a": rapid.String().Draw(t, "label"), "é\"": ""}
				}
				want = append(want, r)
			}
			var file bytes.Buffer
			w, err := bulk.NewWriter(&file, format)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if err := w.Write(&want[i]); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			in, err := bulk.NewReader(&file, format, bulk.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; ; i++ {
				r, err := in.Next()
				if errors.Is(err, io.EOF) && i == len(want) {
					return
				}
				if err != nil || i >= len(want) {
					t.Fatalf("record %d of %d: %v", i, len(want), err)
				}
				if diff := cmp.Diff(want[i], r, cmpopts.EquateEmpty()); diff != "" {
					t.Fatal(diff)
				}
			}
		}))
	}
}

// TestNPZComesBack: rows and keys of an .npz come back, of every element type.
func TestNPZComesBack(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Uint8, tensor.Float32, tensor.Int64, tensor.Bool, tensor.Complex128} {
		var want []bulk.Record
		for i := range 3 {
			v, err := tensor.New(d, 2, 3)
			if err != nil {
				t.Fatal(err)
			}
			v.Bytes()[0] = byte(i % 2)
			var npy bytes.Buffer
			if err := media.WriteNPY(&npy, v); err != nil {
				t.Fatal(err)
			}
			want = append(want, bulk.Record{Key: fmt.Sprint("ü", i), Value: npy.Bytes(), ContentType: "application/x-npy"})
		}
		var file bytes.Buffer
		i := 0
		if err := bulk.WriteNPZ(&file, len(want), func() (bulk.Record, error) {
			if i++; i > len(want) {
				return bulk.Record{}, io.EOF
			}
			return want[i-1], nil
		}); err != nil {
			t.Fatal(err)
		}
		in, err := bulk.NewNPZReader(bytes.NewReader(file.Bytes()), int64(file.Len()), bulk.Options{})
		if diff := cmp.Diff(want, readAll(t, in, err)); diff != "" {
			t.Errorf("%v: %s", d, diff)
		}
	}
}

// TestNPZWithoutElements: a header of a few bytes may not announce a thousand million rows.
func TestNPZWithoutElements(t *testing.T) {
	x, err := tensor.New(tensor.Float32, 1_000_000_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := media.WriteNPZ(&file, map[string]*tensor.Tensor{"x": x}); err != nil {
		t.Fatal(err)
	}
	_, err = bulk.NewNPZReader(bytes.NewReader(file.Bytes()), int64(file.Len()), bulk.Options{})
	if err == nil || !strings.Contains(err.Error(), "rows of [0] have no elements") {
		t.Errorf("rows without elements: %v", err)
	}
}

// TestNPZOfNumPy reads what numpy.savez writes of several tensors, by the one that is named.
func TestNPZOfNumPy(t *testing.T) {
	x, err := tensor.New(tensor.Float32, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	y, err := tensor.New(tensor.Int64, 2)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := media.WriteNPZ(&file, map[string]*tensor.Tensor{"x": x, "y": y}); err != nil {
		t.Fatal(err)
	}
	open := func(array string) (bulk.Reader, error) {
		return bulk.NewNPZReader(bytes.NewReader(file.Bytes()), int64(file.Len()), bulk.Options{Array: array, Prefix: "r"})
	}
	if _, err := open(""); err == nil || !strings.Contains(err.Error(), `"x", "y"; name the array`) {
		t.Errorf("two tensors: %v", err)
	}
	if _, err := open("z"); err == nil || !strings.Contains(err.Error(), `no tensor "z"; there is "x", "y"`) {
		t.Errorf("no such tensor: %v", err)
	}
	in, err := open("x")
	if got := readAll(t, in, err); len(got) != 2 || got[1].Key != "r2" || got[1].ContentType != "application/x-npy" {
		t.Errorf("%+v", got)
	}
}

// TestFileName: the name never leaves its folder, differs for keys that differ, and is never one that a reader of a folder passes over.
func TestFileName(t *testing.T) {
	for key, want := range map[string]string{
		"7": "7.png", "a/b.png": "a/b.png", "../x": "%2E%2E/x.png", "/": "%/%.png", ".hidden": "%2Ehidden.png", "a\\b": "a%5Cb.png",
		"C:": "C%3A.png", "": "%.png", "a.PNG": "a.PNG", "x.jpg": "x.jpg.png", "Thumbs.db": "%Thumbs.db.png", "a\x00": "a%00.png", "50%": "50%25.png", "x.part/y": "%x.part/y.png",
	} {
		if got := bulk.FileName(&bulk.Record{Key: key, ContentType: "image/png"}); got != want {
			t.Errorf("%q is in %q, want %q", key, got, want)
		}
	}
	long := strings.Repeat("k", 1000)
	if a, b := bulk.FileName(&bulk.Record{Key: long + "a"}), bulk.FileName(&bulk.Record{Key: long + "b"}); a == b || len(a) > 255 {
		t.Errorf("%q and %q", a, b)
	}
}

// TestReadersAreBounded: a file cannot make a reader take more memory than a record may have.
func TestReadersAreBounded(t *testing.T) {
	endless := func(s string) io.Reader { return io.LimitReader(&repeat{s: s}, 1<<30) }
	for name, file := range map[string]struct {
		format bulk.Format
		from   io.Reader
	}{
		"line": {bulk.JSONLines, endless("1")}, "csv row": {bulk.CSV, io.MultiReader(strings.NewReader("a\n"), endless("xx,"))},
		"csv quote": {bulk.CSV, io.MultiReader(strings.NewReader("a\n\""), endless("x\n"))}, "csv header": {bulk.CSV, endless("xx,")},
	} {
		in, err := bulk.NewReader(file.from, file.format, bulk.Options{MaxBytes: 1 << 20})
		if err == nil {
			_, err = in.Next()
		}
		if !errors.Is(err, grid.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// repeat is a text again and again.
type repeat struct {
	s  string
	at int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.s[r.at%len(r.s)]
		r.at++
	}
	return len(p), nil
}

// TestSeparatorFound: the columns of a file are those that training finds in it; all lines that have come count, not the first one alone.
func TestSeparatorFound(t *testing.T) {
	for text, want := range map[string]string{
		"a,b\n1,2\n":                     `{"a":1,"b":2}`,
		"a;b\n1,5;2\n":                   `{"a":1.5,"b":2}`,
		"a\tb\n1\t2\n":                   `{"a":1,"b":2}`,
		"a|b\n1|2\n":                     `{"a":1,"b":2}`,
		"x, y, z;b\n1;2\n":               `{"x, y, z":1,"b":2}`,
		"load (kW, h, max)|b\n1,5|2,5\n": `{"load (kW, h, max)":1.5,"b":2.5}`,
	} {
		in, err := bulk.NewReader(strings.NewReader(text), bulk.CSV, bulk.Options{})
		if got := readAll(t, in, err); len(got) != 1 || string(got[0].Value) != want {
			t.Errorf("%q: %s, want %s", text, got[0].Value, want)
		}
	}
}
