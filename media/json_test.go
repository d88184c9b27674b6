package media_test

import (
	"errors"
	"math"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

func TestJSONKeepsEverything(t *testing.T) {
	body := []byte(`{"inputs":[`)
	want := map[string]*tensor.Tensor{}
	for name, w := range every() {
		if media.Datatype(w.DType()) == "" || name == "float32" {
			continue
		}
		if len(want) > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = media.AppendJSON(body, name, w); err != nil {
			t.Fatal(err)
		}
		want[name] = w
	}
	got, err := media.ParseTensors("application/json; charset=utf-8", append(body, "]}"...))
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range want {
		if g := got[name]; g == nil || !same(g, w) {
			t.Errorf("%s: %v, want %v", name, g, w)
		}
	}
}

func TestParseTensorsJSON(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       *tensor.Tensor
		is         error
	}{
		{"flat", `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2.5,-3e2,4]}]}`, tensor.Must(tensor.Of([]float32{1, 2.5, -300, 4}, 2, 2)), nil},
		{"nested", `{"inputs":[{"name":"x","shape":[2,1],"datatype":"INT64","data":[[9007199254740993],[-1]]}]}`, tensor.Must(tensor.Of([]int64{1<<53 + 1, -1}, 2, 1)), nil},
		{"output", `{"outputs":[{"name":"x","shape":[1],"datatype":"BOOL","data":[true]}]}`, tensor.Vector(true), nil},
		{"alone", `{"name":"x","shape":[1],"datatype":"BYTES","data":["a\n\"]"]}`, tensor.Vector("a\n\"]"), nil},
		{"Python's NaN", `{"name":"x","shape":[2],"datatype":"FP64","data":[Infinity,1]}`, nil, media.ErrMalformed},
		{"null", `{"name":"x","shape":[1],"datatype":"FP64","data":[null]}`, nil, media.ErrMalformed},
		{"too few", `{"name":"x","shape":[3],"datatype":"FP64","data":[1,2]}`, nil, media.ErrShape},
		{"too many", `{"name":"x","shape":[1],"datatype":"FP64","data":[1,2]}`, nil, media.ErrShape},
		{"nested otherwise", `{"name":"x","shape":[4,1],"datatype":"FP64","data":[[1,2],[3,4]]}`, nil, media.ErrShape},
		{"claims much", `{"name":"x","shape":[1000000000],"datatype":"FP64","data":[1]}`, nil, media.ErrShape},
		{"negative", `{"name":"x","shape":[-1],"datatype":"FP64","data":[1]}`, nil, media.ErrMalformed},
		{"lower case", `{"name":"x","shape":[1],"datatype":"fp32","data":[1]}`, nil, media.ErrMalformed},
		{"out of range", `{"name":"x","shape":[1],"datatype":"UINT8","data":[256]}`, nil, media.ErrMalformed},
		{"out of float's range", `{"name":"x","shape":[1],"datatype":"FP32","data":[1e39]}`, nil, media.ErrMalformed},
		{"no integer", `{"name":"x","shape":[1],"datatype":"INT8","data":[1.5]}`, nil, media.ErrMalformed},
		{"a number for a boolean", `{"name":"x","shape":[1],"datatype":"BOOL","data":[1]}`, nil, media.ErrMalformed},
		{"twice", `{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]},{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]}`, nil, media.ErrMalformed},
		{"nothing", `{"inputs":[]}`, nil, media.ErrMalformed},
		{"no JSON", `{"inputs":[`, nil, media.ErrMalformed},
	} {
		got, err := media.ParseTensors("application/json", []byte(c.body))
		if !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
		if c.want != nil && (got["x"] == nil || !same(got["x"], c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got["x"], c.want)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	s := spec(tensor.Float32, 1, 2, 2)
	for _, body := range []string{`[[[1,2],[3,4]]]`, `[1,2,3,4]`, ` [[1 ,2], [3,4e0]] `, `[[[[1,2],[3,4]]]]`,
		`{"inputs":[{"name":"any","shape":[1,1,2,2],"datatype":"INT32","data":[1,2,3,4]}]}`} {
		got := tensor.Data[float32](decode(t, s, "application/json", []byte(body)))
		for i, v := range got {
			if v != float32(i+1) {
				t.Errorf("%s: %v", body, got)
				break
			}
		}
	}
	for _, body := range []string{``, `[`, `[[1,2],[3,4]`, `[1,2,3]`, `[1,2,3,4,5]`, `[1,,2,3]`, `[01,2,3,4]`, `[+1,2,3,4]`, `[0x1,2,3,4]`, `[1_0,2,3,4]`,
		`[1.,2,3,4]`, `[.5,2,3,4]`, `[1,2,3,4]]`, `[1,2,3,4] x`, `[1 2,3,4]`, `[[1,2],3,4]`, `nul`, `{}`, `[true,1,2,3]`, `[1,2,3,-]`, `[1e,2,3,4]`} {
		if got, err := decoder(t, s).Decode("application/json", []byte(body)); err == nil {
			t.Errorf("%s was read as %v", body, got)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	got, err := media.AppendJSON(nil, "a\"b", tensor.Must(tensor.Of([]float32{1, -0.1, 1e-7, 3e38}, 2, 2)))
	if want := `{"name":"a\"b","shape":[2,2],"datatype":"FP32","data":[1,-0.1,1e-07,3e+38]}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	for _, bad := range []*tensor.Tensor{tensor.Vector(1, math.NaN()), tensor.Vector(float32(math.Inf(1)))} {
		if got, err := media.AppendJSON([]byte("x"), "t", bad); !errors.Is(err, media.ErrNotFinite) || string(got) != "x" {
			t.Errorf("%v: %s, %v", bad, got, err)
		}
	}
	for _, bad := range []*tensor.Tensor{tensor.Vector(1i), tensor.Vector("\xff")} {
		if _, err := media.AppendJSON(nil, "t", bad); !errors.Is(err, media.ErrUnsupportedType) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
