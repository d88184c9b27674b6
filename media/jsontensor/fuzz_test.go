package jsontensor_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/tensor"
)

var seeds = []string{
	"[1,2,3,4]", "[[1,2],[3,4]]", "[]", "[[],[]]", "[[[1]],[[2]]]", "[0.1,-0.0,16777217,1.00000005960464477540]", "[3.4028236e38,1e-46,1e400,-1]", "[true,false]",
	`["a\n\"]","\u00e9","\ud83d\ude00","\ud800"]`, "[9223372036854775808,18446744073709551615,-9223372036854775808]", "[NaN,null,-Infinity,Infinity]", "[1,[2]]", "[[1],2]", "[1 ,\t2\r\n]", "7", "[01]", "[1.]",
	"[1,2", `{"a":[1]}`, "[-0,-1,255,256,65535,65536]",
}

// FuzzData holds that what is taken has the values that encoding/json reads, and that everything else is one of the two
// errors.
func FuzzData(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), byte(i), byte(4), byte(0))
		f.Add([]byte(s), byte(0), byte(2), byte(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, kind, rows, columns byte) {
		shape := []int{int(rows % 9)}
		if columns%5 > 0 {
			shape = append(shape, int(columns%5)-1)
		}
		s := jsontensor.NewScanner(text, strict)
		got, err := s.Data(dtypes[int(kind)%len(dtypes)], shape, nil)
		if err == nil && s.End() {
			check(t, text, got)
		}
		if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errShape) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzInto holds the same where the nesting says the shape.
func FuzzInto(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), byte(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, kind byte) {
		dst := tensor.Must(tensor.New(dtypes[int(kind)%len(dtypes)], 16))
		s := jsontensor.NewScanner(text, strict)
		shape, err := s.Into(dst, 0, 16)
		if err != nil || !s.End() {
			if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errShape) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			var wide *json.UnmarshalTypeError // a number that float64 cannot hold
			if !errors.As(err, &wide) {
				t.Fatalf("%q is taken: %v", text, err)
			}
		}
		got := tensor.Must(tensor.Must(dst.Slice(0, shape.Size())).Reshape(shape...))
		check(t, text, got)
		if want := nesting(tree); tree != nil && !shape.Equal(want) {
			t.Errorf("%q has shape %v, want %v", text, shape, want)
		}
	})
}

func nesting(v any) tensor.Shape {
	shape := tensor.Shape{}
	for {
		list, ok := v.([]any)
		if !ok {
			return shape
		}
		shape = append(shape, len(list))
		if len(list) == 0 {
			return shape
		}
		v = list[0]
	}
}

// FuzzAppend holds that what is written reads back as the same bits.
func FuzzAppend(f *testing.F) {
	for i := range dtypes {
		f.Add([]byte("some bytes that become elements, 16 or more of them"), byte(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, kind byte) {
		d := dtypes[int(kind)%len(dtypes)]
		var want *tensor.Tensor
		if d == tensor.String {
			want = tensor.Vector(string(raw), "b")
		} else {
			n := len(raw) / d.Size()
			want = tensor.Must(tensor.FromBytes(d, raw[:n*d.Size()], n))
		}
		text := jsontensor.Append(nil, want)
		if !json.Valid(text) {
			t.Fatalf("%v was written as %q", want, text)
		}
		if jsontensor.NotFinite(want) >= 0 || jsontensor.NotText(want) >= 0 {
			return
		}
		got, err := jsontensor.NewScanner(text, strict).Data(d, want.Shape(), nil)
		if err != nil || !reflect.DeepEqual(got.Raw(), want.Raw()) {
			t.Errorf("%v was read back as %v: %v", want, got, err)
		}
	})
}

// FuzzSkip holds that what is passed over is JSON.
func FuzzSkip(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"a":[1,{"b":null}],"c":"d","e":-1.5e3,"f":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := jsontensor.NewScanner(text, strict)
		err := s.Skip()
		if err == nil && s.End() && !json.Valid(text) {
			t.Errorf("%q is taken", text)
		}
		if err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
