package train_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/millrace/millrace/train"
)

// reading is a row of a file of Parquet.
type reading struct {
	ID      int64     `parquet:"id"`
	Time    time.Time `parquet:"time,timestamp(millisecond)"`
	Day     int32     `parquet:"day,date"`
	Temp    float64   `parquet:"temp"`
	Load    *float32  `parquet:"load,optional"`
	Price   int64     `parquet:"price,decimal(2:10)"`
	Count   uint32    `parquet:"count"`
	Running bool      `parquet:"running"`
	State   string    `parquet:"state,dict,snappy"`
	Tags    []string  `parquet:"tags,list"`
	Kind    int32     `parquet:"kind"`
}

func parquetOf[T any](tb testing.TB, rows []T, options ...parquet.WriterOption) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	if _, err := w.Write(rows); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func readParquet(data []byte, o train.Options) (*train.Set, error) {
	return train.ReadParquet(bytes.NewReader(data), int64(len(data)), o)
}

// A file of Parquet is read as the same table in CSV.
func TestParquet(t *testing.T) {
	var rows []reading
	text := "id,time,day,temp,load,price,count,running,state,tags,kind\n"
	for i := range 600 {
		at := time.Date(2026, 1, 2, 3, i, 0, 0, time.UTC)
		load := new(float32(i) / 8)
		row := reading{int64(i), at, int32(20000 + i), float64(i%700) / 4, load, int64(i*7 - 500), 1<<31 + uint32(i), i%2 == 0, []string{"open", "shut"}[i%2], []string{"x", "y"}, int32(i % 3)}
		field := fmt.Sprint(*load)
		if i%200 == 199 {
			row.Load, field = nil, ""
		}
		rows = append(rows, row)
		text += fmt.Sprintf("%d,%s,%s,%v,%s,%.2f,%d,%v,%s,x,%d\n", i, at.Format(time.RFC3339), time.Unix(int64(row.Day)*86400, 0).UTC().Format(time.DateOnly),
			row.Temp, field, float64(row.Price)/100, row.Count, row.Running, row.State, row.Kind)
	}
	o := train.Options{Ignore: []string{"id", "tags"}, Label: "kind", Missing: "mean"}
	want := csvSetOf(t, text, o)
	for name, options := range map[string][]parquet.WriterOption{
		"plain": nil, "many groups and pages": {parquet.MaxRowsPerRowGroup(170), parquet.PageBufferSize(256)}, "zstd": {parquet.Compression(&parquet.Zstd)},
		"gzip, old pages": {parquet.Compression(&parquet.Gzip), parquet.DataPageVersion(1)}, "brotli": {parquet.Compression(&parquet.Brotli)},
	} {
		got, err := readParquet(parquetOf(t, rows, options...), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(rowsOf(t, want), rowsOf(t, got)); diff != "" {
			t.Errorf("%s: %.2000s", name, diff)
		}
		note := got.Notes()[0].Text
		if !strings.HasPrefix(note, `Parquet: 600 examples of 6 columns; the label is in column 11 ("kind"), as --label says, with 3 classes (0, 1, 2); the columns are temp, load, price, count, running (false, true), state (open, shut)`) {
			t.Errorf("%s: the note is %s", name, note)
		}
		if len(got.Notes()) < 3 || !strings.Contains(got.Notes()[1].Text, `column 2 ("time") has timestamps`) || !strings.Contains(got.Notes()[2].Text, `column 3 ("day") has timestamps`) {
			t.Errorf("%s: notes %v", name, got.Notes())
		}
	}
	data := parquetOf(t, rows)
	for _, c := range []struct {
		o    train.Options
		want string
	}{
		{train.Options{Ignore: []string{"id"}, Label: "kind", Missing: "mean"}, `column 10 ("tags") has lists or groups, not one value a row: --ignore tags leaves it out`},
		{train.Options{Ignore: []string{"id", "tags"}, Label: "kind"}, `Parquet row 200: column 5 ("load"): "" is no value`},
		{train.Options{Ignore: []string{"tags", "none"}}, `--ignore: there is no column "none"`},
		{train.Options{Ignore: []string{"id", "tags"}, Label: "state", Task: "regression", Missing: "mean"}, `row 1: column 9 ("state"): "open" is not a finite number`},
	} {
		if _, err := readParquet(data, c.o); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}
	dir := t.TempDir()
	write(t, dir, "Readings.Parquet", data)
	if s, err := train.Open(dir+"/Readings.Parquet", o); err != nil || s.Len() != 600 {
		t.Errorf("a file: %v", err)
	}
}

func TestParquetValues(t *testing.T) {
	type bad struct {
		A    float32 `parquet:"a"`
		Raw  []byte  `parquet:"raw"`
		Kind string  `parquet:"kind"`
	}
	for name, c := range map[string]struct {
		row  bad
		want string
	}{
		"an infinity":    {bad{float32(math.Inf(1)), []byte("x"), "k"}, `"+Inf" is not a finite number`},
		"no number":      {bad{float32(math.NaN()), []byte("x"), "k"}, `"NaN" is no value`},
		"bytes":          {bad{1, []byte("\xff\xfe"), "k"}, `row 2: column 2 ("raw"): these bytes are no text in UTF-8`},
		"an empty label": {bad{1, []byte("x"), ""}, `column 3 ("kind"): the label is empty`},
	} {
		_, err := readParquet(parquetOf(t, []bad{{2, []byte("y"), "k"}, c.row, {3, []byte("y"), "l"}}), train.Options{Label: "kind"})
		if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for name, data := range map[string]string{"empty": "", "text": "a,b\n1,2\n", "the magic alone": "PAR1PAR1", "a footer that is too long": "PAR1\xff\xff\xff\x7fPAR1", "cut off": string(parquetOf(t, []bad{{1, []byte("x"), "k"}})[:100])} {
		if _, err := readParquet([]byte(data), train.Options{}); !errors.Is(err, train.ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readParquet(parquetOf(t, []bad{}), train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "no rows") {
		t.Errorf("no rows: %v", err)
	}
}

func FuzzReadParquet(f *testing.F) {
	row := reading{1, time.Unix(1, 0), 2, 3.5, nil, 4, 5, true, "open", []string{"x"}, 1}
	for _, o := range [][]parquet.WriterOption{nil, {parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1)}} {
		f.Add(parquetOf(f, []reading{row, row}, o...))
	}
	few := parquetOf(f, vibrations()[:20])
	f.Add(pack(f, few, format.Lz4Raw, block))
	f.Add(pack(f, few, format.Lz4, hadoop))
	f.Add(pack(f, few, format.Lz4, frame))
	f.Add([]byte("PAR1\x15\x00PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := readParquet(data, train.Options{Ignore: []string{"tags"}, Missing: "mean"})
		if err != nil {
			if !errors.Is(err, train.ErrData) {
				t.Errorf("error %v is no ErrData", err)
			}
			return
		}
		if s.Len() == 0 || s.Shape().Size() == 0 {
			t.Error("an empty set without an error")
		}
	})
}
