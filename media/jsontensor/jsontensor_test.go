package jsontensor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/tensor"
)

var (
	errMalformed = errors.New("malformed")
	errShape     = errors.New("shape")
	strict       = jsontensor.Dialect{Malformed: errMalformed, Shape: errShape}
	lax          = jsontensor.Dialect{Malformed: errMalformed, Shape: errShape, Null: true, Special: true}
)

var dtypes = []tensor.DType{
	tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
	tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Bool, tensor.String,
}

// check holds t's elements against what encoding/json reads of the same text.
func check(t *testing.T, text []byte, got *tensor.Tensor) {
	t.Helper()
	if !json.Valid(text) {
		t.Fatalf("%q is taken and no JSON", text)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	leaves := flat(nil, tree)
	if len(leaves) != got.Size() {
		t.Fatalf("%q: %d values became %d elements", text, len(leaves), got.Size())
	}
	for i, v := range leaves {
		if want, has := fmt.Sprint(read(t, got.DType(), v)), element(got, i); want != has {
			t.Errorf("%q: element %d is %v, want %v (%v)", text, i, has, want, got.DType())
		}
	}
}

func flat(to []any, v any) []any {
	list, ok := v.([]any)
	if !ok {
		return append(to, v)
	}
	for _, one := range list {
		to = flat(to, one)
	}
	return to
}

// read is what encoding/json makes of a value for a type.
func read(t *testing.T, d tensor.DType, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	into := func(p any) {
		if err := json.Unmarshal(text, p); err != nil {
			t.Errorf("%s was taken for %v: %v", text, d, err)
		}
	}
	var f float64
	switch d {
	case tensor.Float32:
		var v float32
		into(&v)
		return math.Float32bits(v)
	case tensor.Float64:
		into(&f)
		return math.Float64bits(f)
	case tensor.Float16:
		into(&f)
		return uint16(tensor.HalfOf64(f))
	case tensor.BFloat16:
		into(&f)
		return uint16(tensor.BHalfOf64(f))
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		n, err := strconv.ParseInt(string(text), 10, d.Size()*8)
		if err != nil {
			t.Errorf("%s was taken for %v: %v", text, d, err)
		}
		return n
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		n, err := strconv.ParseUint(strings.Replace(string(text), "-0", "0", 1), 10, d.Size()*8)
		if err != nil {
			t.Errorf("%s was taken for %v: %v", text, d, err)
		}
		return n
	case tensor.Bool:
		var b bool
		into(&b)
		return b
	}
	var s string
	into(&s)
	return strconv.Quote(s)
}

// element is an element as read gives it, floating-point numbers as their bits.
func element(t *tensor.Tensor, i int) string {
	switch d := t.Raw().(type) {
	case []float32:
		return fmt.Sprint(math.Float32bits(d[i]))
	case []float64:
		return fmt.Sprint(math.Float64bits(d[i]))
	case []tensor.Half:
		return fmt.Sprint(uint16(d[i]))
	case []tensor.BHalf:
		return fmt.Sprint(uint16(d[i]))
	case []int8:
		return fmt.Sprint(d[i])
	case []int16:
		return fmt.Sprint(d[i])
	case []int32:
		return fmt.Sprint(d[i])
	case []int64:
		return fmt.Sprint(d[i])
	case []uint8:
		return fmt.Sprint(d[i])
	case []uint16:
		return fmt.Sprint(d[i])
	case []uint32:
		return fmt.Sprint(d[i])
	case []uint64:
		return fmt.Sprint(d[i])
	case []bool:
		return fmt.Sprint(d[i])
	case []string:
		return strconv.Quote(d[i])
	}
	return "an element of another type"
}

// TestNumbers reads numbers at every edge, alone and in any company.
func TestNumbers(t *testing.T) {
	numbers := []string{
		"0", "-0", "0.0", "-0.0", "1", "-1", "0.1", "1e0", "1E+2", "1e-2", "123456789", "16777215", "16777216", "16777217", "16777219", "33554433", "0.0000001",
		"3.4028235e38", "3.4028235677973366e38", "1.1754944e-38", "1.4e-45", "7e-46", "1e-400", "0.5000000298023224", "1.00000005960464477540", "1.000000178813934326171875",
		"9007199254740993", "9223372036854775807", "18446744073709551615", "123456789012345678901234567890", "0.1234567890123456789", "8388608.5", "99999.99", "12345.678e-3",
		"2.2250738585072014e-308", "1.7976931348623157e308", "4.9e-324", "65504", "127", "-128", "255", "999999999", "9999999999", "0.123456789", "1.67772165",
	}
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
		var fit []string
		for _, n := range numbers {
			if _, err := strconv.ParseFloat(n, d.Size()*8); err == nil {
				fit = append(fit, n)
			}
		}
		for _, sep := range []string{",", " ,\n"} {
			text := []byte("[" + strings.Join(fit, sep) + "]")
			got, err := jsontensor.NewScanner(text, strict).Data(d, []int{len(fit)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			check(t, text, got)
		}
	}
	rng := rand.New(rand.NewPCG(4, 2))
	var all []string
	for range 5000 {
		all = append(all, strconv.FormatFloat(float64(math.Float32frombits(rng.Uint32()&^(1<<30))), "fge"[rng.IntN(3)], rng.IntN(20)-1, 32), strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10))
	}
	text := []byte("[" + strings.Join(all, ",") + "]")
	got, err := jsontensor.NewScanner(text, strict).Data(tensor.Float32, []int{len(all)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, text, got)
}

func TestIntegersAreExact(t *testing.T) {
	for d, text := range map[tensor.DType]string{
		tensor.Int64: "[9223372036854775807,-9223372036854775808,9007199254740993,-9007199254740993,-0]", tensor.Uint64: "[18446744073709551615,9007199254740993,0,-0]",
		tensor.Int32: "[2147483647,-2147483648]", tensor.Uint32: "[4294967295]", tensor.Int16: "[32767,-32768]", tensor.Uint16: "[65535]", tensor.Int8: "[127,-128]", tensor.Uint8: "[255,0]",
	} {
		got, err := jsontensor.NewScanner([]byte(text), strict).Data(d, []int{strings.Count(text, ",") + 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		check(t, []byte(text), got)
		if back := string(jsontensor.Append(nil, got)); back != strings.Replace(text, "-0]", "0]", 1) {
			t.Errorf("%s was written as %s", text, back)
		}
	}
}

// TestRefused lists what is refused, by which kind of error, and that the fault tells the element.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		dtype tensor.DType
		shape []int
		text  string
		is    error
		says  string
	}{
		{tensor.Int8, []int{3}, "[0,127,128]", errMalformed, "element 2: 128 is out of INT8's range"},
		{tensor.Int8, []int{2, 2}, "[[0,1],[2,-129]]", errMalformed, "element 3: -129 is out of INT8's range"},
		{tensor.Uint8, []int{2}, "[0,-1]", errMalformed, "element 1: -1 is out of UINT8's range"},
		{tensor.Int64, []int{2}, "[0,9223372036854775808]", errMalformed, "element 1: 9223372036854775808 is out of INT64's range"},
		{tensor.Uint64, []int{2}, "[0,18446744073709551616]", errMalformed, "element 1: 18446744073709551616 is no whole number of at most 64 bits"},
		{tensor.Int32, []int{2}, "[1,1.0]", errMalformed, "element 1: 1.0 is no whole number"},
		{tensor.Int32, []int{2}, "[1,1e3]", errMalformed, "element 1: 1e3 is no whole number"},
		{tensor.Float16, []int{2}, "[0,65520]", errMalformed, "element 1: 65520 is out of FP16's range"},
		{tensor.BFloat16, []int{2}, "[0,-3.4e38]", errMalformed, "element 1: -3.4e+38 is out of BF16's range"},
		{tensor.Float32, []int{4}, "[1,2.5,3,3.5e38]", errMalformed, "element 3: 3.5e38 is out of FP32's range"},
		{tensor.Float32, []int{2}, "[1,340282366920938463463374607431768211456]", errMalformed, "element 1"},
		{tensor.Float64, []int{2}, "[1,1e309]", errMalformed, "element 1: 1e309 is out of FP64's range"},
		{tensor.Float32, []int{1}, "[null]", errMalformed, "a number should be"},
		{tensor.Float32, []int{1}, "[NaN]", errMalformed, "a number should be"},
		{tensor.Float32, []int{1}, "[-Infinity]", errMalformed, "a number should be"},
		{tensor.Bool, []int{1}, "[1]", errMalformed, "true or false"},
		{tensor.String, []int{1}, "[1]", errMalformed, "a string should be"},
		{tensor.Float32, []int{1}, `["1"]`, errMalformed, "a number should be"},
		{tensor.Float32, []int{3}, "[1,2]", errShape, "2 elements"},
		{tensor.Float32, []int{1}, "[1,2]", errShape, "more elements"},
		{tensor.Float32, []int{1 << 30}, "[1]", errShape, "fewer"},
		{tensor.Float32, []int{-1}, "[1]", errMalformed, ""},
		{tensor.Float32, []int{1, 2}, "[[[1,2]]]", errShape, "deeper"},
		{tensor.Float32, []int{1, 1, 2}, "[[1,2]]", errShape, "less deep"},
		{tensor.Float32, []int{4, 1}, "[[1,2],[3,4]]", errShape, "in dimension 1"},
		{tensor.Float32, []int{2, 2}, "[[1,2],[3,4],[5,6]]", errShape, "more"},
		{tensor.Float32, []int{2, 2}, "[[1,2]]", errShape, "1 elements in dimension 0"},
		{tensor.Float32, []int{2}, "[1,2", errMalformed, "ends"},
		{tensor.Float32, []int{2}, "[1,2,]", errMalformed, "a number should be"},
		{tensor.Float32, []int{3}, "[1,2,]", errMalformed, "a number should be"},
		{tensor.Int8, []int{3}, "[1,2,]", errMalformed, "an element should be"},
		{tensor.Float32, []int{2}, "[01,2]", errMalformed, "as none can"},
		{tensor.Float32, []int{2}, "12345", errMalformed, "should be"},
		{tensor.Invalid, []int{1}, "[1]", nil, ""},
	} {
		got, err := jsontensor.NewScanner([]byte(c.text), strict).Data(c.dtype, c.shape, nil)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s for %v%v: %v, %v; want %v with %q", c.text, c.dtype, c.shape, got, err, c.is, c.says)
		}
	}
}

func TestSpecialNumbers(t *testing.T) {
	text := []byte("[NaN, Infinity,-Infinity,null,-1]")
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16} {
		got, err := jsontensor.NewScanner(text, lax).Data(d, []int{5}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if back := string(jsontensor.Append(nil, got)); back != "[null,null,null,null,-1]" || jsontensor.NotFinite(got) != 0 {
			t.Errorf("%v: %s", d, back)
		}
	}
	for _, bad := range []string{"[nan]", "[inf]", "[-NaN]", "[Inf]", "[+Infinity]", "[NaNs]"} {
		if got, err := jsontensor.NewScanner([]byte(bad), lax).Data(tensor.Float32, []int{1}, nil); err == nil {
			t.Errorf("%s is %v", bad, got)
		}
	}
	if _, err := jsontensor.NewScanner([]byte("[null]"), lax).Data(tensor.Int8, []int{1}, nil); err == nil {
		t.Error("null is an integer")
	}
}

func TestInto(t *testing.T) {
	deep := strings.Repeat("[", jsontensor.MaxRank) + "1" + strings.Repeat("]", jsontensor.MaxRank)
	for _, c := range []struct {
		text  string
		shape tensor.Shape
		is    error
	}{
		{"[[1,2],[3,4]]", tensor.Shape{2, 2}, nil}, {" [ [ [ 1 ] , [ 2 ] ] ] ", tensor.Shape{1, 2, 1}, nil}, {"5", tensor.Shape{}, nil}, {"[]", tensor.Shape{0}, nil},
		{"[[],[]]", tensor.Shape{2, 0}, nil}, {deep, nil, nil}, {"[" + deep + "]", nil, errMalformed}, {"[[1,2],[3]]", nil, errMalformed}, {"[[1],2]", nil, errMalformed},
		{"[1,[2]]", nil, errMalformed}, {"[[],[[1]]]", nil, errMalformed}, {"[1,2,3,4,5]", nil, errShape}, {"[[1,2],[3,4],[5,6]]", nil, errShape}, {"", nil, errMalformed}, {"[", nil, errMalformed},
	} {
		dst := tensor.Must(tensor.New(tensor.Int16, 6))
		shape, err := jsontensor.NewScanner([]byte(c.text), strict).Into(dst, 1, 4)
		if !errors.Is(err, c.is) || c.is == nil && c.shape != nil && !shape.Equal(c.shape) {
			t.Errorf("%.60s: %v, %v; want %v, %v", c.text, shape, err, c.shape, c.is)
		}
		if d := tensor.Data[int16](dst); d[0] != 0 || d[5] != 0 {
			t.Errorf("%s was written beside its place: %v", c.text, d)
		}
	}
	if _, err := jsontensor.NewScanner([]byte("1"), strict).Into(tensor.Must(tensor.New(tensor.Int8, 0)), 0, 0); !errors.Is(err, errShape) {
		t.Errorf("a value for no room: %v", err)
	}
}

// TestScratch reads two inputs into one memory, which grows between them.
func TestScratch(t *testing.T) {
	scratch := make([]float32, 0, 2)
	a, err := jsontensor.NewScanner([]byte("[1,2]"), strict).Data(tensor.Float32, []int{2}, &scratch)
	if err != nil {
		t.Fatal(err)
	}
	b, err := jsontensor.NewScanner([]byte("[[3],[4],[5]]"), strict).Data(tensor.Float32, []int{3, 1}, &scratch)
	if err != nil || len(scratch) != 5 {
		t.Fatalf("%v, %v", err, scratch)
	}
	if _, err := jsontensor.NewScanner([]byte("[1,2,x]"), strict).Data(tensor.Float32, []int{3}, &scratch); err == nil || len(scratch) != 5 {
		t.Errorf("what was refused stays: %v, %v", err, scratch)
	}
	check(t, []byte("[1,2]"), a)
	check(t, []byte("[3,4,5]"), b)
}

func TestSkip(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":[1,{"b":null}],"c":"d\u00e9","e":-1.5e3,"f":true}`: true, "[]": true, "{}": true, "[1,]": false, "{,}": false, `{"a"}`: false, `{"a":1,}`: false, "[1 2]": false, "NaN": false,
		strings.Repeat("[", jsontensor.MaxDepth) + strings.Repeat("]", jsontensor.MaxDepth): true, strings.Repeat("[", jsontensor.MaxDepth+1) + strings.Repeat("]", jsontensor.MaxDepth+1): false,
	} {
		s := jsontensor.NewScanner([]byte(text), strict)
		if err := s.Skip(); (err == nil && s.End()) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestNotText(t *testing.T) {
	if i := jsontensor.NotText(tensor.Vector("a", "\xff")); i != 1 {
		t.Errorf("got %d", i)
	}
	if got := string(jsontensor.Append(nil, tensor.Vector("a\"\\\n\x01\x7f<é", "\xff"))); got != `["a\"\\\n\u0001\u007f<é","`+"\uFFFD"+`"]` {
		t.Error(got)
	}
}
