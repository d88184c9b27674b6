package onnx_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// pb makes protobuf messages by hand: pairs of a field number and an int, float32, string, or pb (a message or bytes).
func pb(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		num := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		default:
			panic("pb: what is that?")
		}
	}
	return b
}

// model puts a GraphProto's fields into a model of opset 17.
func model(graphFields ...any) []byte {
	return pb(1, 8, 8, pb(2, 17), 7, pb(graphFields...))
}

func join(parts ...[]any) []any {
	var all []any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// relu is the smallest valid graph.
func relu() []any {
	typ := pb(1, pb(1, 1, 2, pb(1, pb(1, 2))))
	return []any{1, pb(1, "x", 2, "y", 3, "act", 4, "Relu"), 2, "g", 11, pb(1, "x", 2, typ), 12, pb(1, "y", 2, typ)}
}

func withInit(fields ...any) []byte {
	return model(join(relu(), []any{5, pb(append(fields, 8, "w")...)})...)
}

func withAttr(fields ...any) []byte {
	return model(11, pb(1, "x"), 1, pb(1, "x", 2, "y", 3, "conv1", 4, "Conv", 5, pb(fields...)), 12, pb(1, "y"))
}

func TestDecodeErrors(t *testing.T) {
	long := strings.Repeat("x", 100)
	tests := []struct {
		name string
		data []byte
		want error
		say  []string
	}{
		{"empty", nil, onnx.ErrFormat, []string{"empty"}},
		{"text", []byte("hello, world"), onnx.ErrFormat, []string{"model:"}},
		{"no graph", pb(1, 8), onnx.ErrFormat, []string{"no graph"}},
		{"no version", pb(7, pb()), onnx.ErrFormat, []string{"ir_version is 0"}},
		{"newer version", pb(1, 14, 7, pb()), onnx.ErrUnsupported, []string{"IR version 14", "13"}},
		{"two graphs", pb(1, 8, 7, pb(relu()...), 7, pb()), onnx.ErrFormat, []string{"two graphs"}},
		{"wrong wire type", pb(1, 8, 7, 3), onnx.ErrFormat, []string{"graph (field 7) has wire type 0"}},
		{"truncated", model(relu()...)[:40], onnx.ErrFormat, []string{"truncated at byte"}},
		{"no outputs", model(11, pb(1, "x")), onnx.ErrFormat, []string{"no outputs"}},
		{"opset twice", pb(1, 8, 8, pb(2, 17), 8, pb(1, "ai.onnx", 2, 16), 7, pb(relu()...)), onnx.ErrFormat, []string{"opset_import", "16"}},
		{"opset 0", pb(1, 8, 8, pb(1, "d"), 7, pb(relu()...)), onnx.ErrFormat, []string{"version 0"}},
		{"no operator", model(1, pb(2, "y", 3, "a")), onnx.ErrFormat, []string{`graph: node[0] "a"`, "op_type"}},
		{"missing value", model(1, pb(1, "z", 2, "y", 3, "a", 4, "Relu"), 12, pb(1, "y")), graph.ErrInvalid, []string{`"a" (Relu)`, `"z"`}},
		{"cycle", model(1, pb(1, "b", 2, "a", 3, "first", 4, "Relu"), 1, pb(1, "a", 2, "b", 3, "second", 4, "Relu"), 12, pb(1, "a")), graph.ErrInvalid, []string{"cycle", `"first"`, `"second"`}},
		{"attribute's wire type", withAttr(1, "pads", 8, "\xff\xff\xff"), onnx.ErrFormat, []string{`graph: node[0] "conv1": attribute[0] "pads": ints`}},
		{"attribute's floats", withAttr(1, "scales", 7, "12345"), onnx.ErrFormat, []string{`"scales"`, "5 bytes"}},
		{"attribute without a name", withAttr(3, 1), onnx.ErrFormat, []string{"attribute[0]: ", "no name"}},
		{"attribute without a value", withAttr(1, "a"), onnx.ErrFormat, []string{"neither type nor value"}},
		{"attribute of two types", withAttr(1, "a", 3, 1, 20, 1), onnx.ErrFormat, []string{"its type is FLOAT, its value INT"}},
		{"attribute of no type", withAttr(1, "a", 3, 1, 20, 99), onnx.ErrFormat, []string{"type 99"}},
		{"attribute of a sparse tensor", withAttr(1, "a", 22, pb(), 20, 11), onnx.ErrUnsupported, []string{"SPARSE_TENSOR"}},
		{"attribute reference", withAttr(1, "a", 21, "b", 20, 2), onnx.ErrFormat, []string{"outside a function"}},
		{"long name", withAttr(1, long, 20, 99), onnx.ErrFormat, []string{long[:80] + "..."}},
		{"attribute twice", model(1, pb(2, "y", 4, "Conv", 5, pb(1, "a", 3, 1), 5, pb(1, "a", 3, 1))), onnx.ErrFormat, []string{`two attributes "a"`}},
		{"huge shape", withInit(1, 1<<40, 1, 1<<20, 2, 1, 9, "1234"), onnx.ErrFormat, []string{`graph: initializer[0] "w"`, "too many elements"}},
		{"large shape, no data", withInit(1, 1<<40, 2, 1), onnx.ErrFormat, []string{"needs 4398046511104 bytes", "there are 0"}},
		{"negative dimension", withInit(1, -1, 2, 1, 9, "1234"), onnx.ErrFormat, []string{"dimension 0 is -1"}},
		{"too little data", withInit(1, 2, 2, 1, 9, "1234"), onnx.ErrFormat, []string{"float32[2] needs 8 bytes", "there are 4"}},
		{"too few numbers", withInit(1, 2, 2, 7, 7, 1), onnx.ErrFormat, []string{"[2] has 2 elements, the data 1"}},
		{"number too large", withInit(1, 1, 2, 2, 5, 256), onnx.ErrFormat, []string{"element 0 is 256", "uint8"}},
		{"wrong field", withInit(1, 1, 2, 7, 5, 1), onnx.ErrFormat, []string{"int64 data in field 5"}},
		{"data twice", withInit(1, 1, 2, 6, 5, 1, 9, "1234"), onnx.ErrFormat, []string{"both raw and typed"}},
		{"raw strings", withInit(1, 1, 2, 8, 9, "1234"), onnx.ErrFormat, []string{"strings as raw data"}},
		{"float8 too long", withInit(1, 1, 2, 17, 9, "12"), onnx.ErrFormat, []string{"float8e4m3fn[1] needs 1 bytes", "there are 2"}},
		{"int4 not packed", withInit(1, 3, 2, 22, 9, "123"), onnx.ErrFormat, []string{"int4[3] needs 2 bytes", "there are 3"}},
		{"int2 not packed", withInit(1, 5, 2, 26, 5, 1, 5, 1, 5, 1), onnx.ErrFormat, []string{"int2 [5] needs 2 bytes, not 3"}},
		{"float8 code", withInit(1, 1, 2, 19, 5, 256), onnx.ErrFormat, []string{"integer 0 of float8e5m2 data is 256"}},
		{"unknown type", withInit(1, 1, 2, 99, 9, "1"), onnx.ErrFormat, []string{"element type 99"}},
		{"no type", withInit(1, 1, 9, "1"), onnx.ErrFormat, []string{"element type 0"}},
		{"many dimensions", withInit(1, strings.Repeat("\x01", 65), 2, 1, 9, "1234"), onnx.ErrUnsupported, []string{"64 dimensions"}},
		{"external", withInit(1, 1, 2, 1, 14, 1, 13, pb(1, "location", 2, "w.bin")), onnx.ErrExternal, []string{`"w.bin"`, "without its folder"}},
		{"sparse initializer", model(join(relu(), []any{15, pb(1, pb(8, "sp"))})...), onnx.ErrUnsupported, []string{`sparse initializer "sp"`}},
		{"map type", model(11, pb(1, "m", 2, pb(5, pb()))), onnx.ErrUnsupported, []string{`input[0] "m"`, "map"}},
		{"group", append(pb(1, 8), 0x3b), onnx.ErrFormat, []string{"wire type 3"}},
		{"deep graphs", pb(1, 8, 8, pb(2, 17), 7, nested(40)), onnx.ErrFormat, []string{"nested more than 32"}},
		{"deep types", model(11, pb(1, "x", 2, sequence(40))), onnx.ErrFormat, []string{"nested more than 32"}},
		{"function that calls itself", pb(1, 8, 8, pb(2, 17), 7, pb(relu()...), 25, pb(1, "F", 10, "d", 4, "a", 5, "b", 7, pb(1, "a", 2, "b", 4, "F", 7, "d"))), graph.ErrInvalid, []string{"d.F calls itself"}},
		{"function without a name", pb(1, 8, 7, pb(relu()...), 25, pb(4, "a")), onnx.ErrFormat, []string{"function[0]", "no name"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := onnx.Decode(tt.data, onnx.Options{})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v; want %v", err, tt.want)
			}
			for _, part := range tt.say {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
}

// nested makes graphs in attributes, n deep.
func nested(n int) []byte {
	g := pb(relu()...)
	for range n {
		g = pb(1, pb(2, "y", 4, "If", 5, pb(1, "then_branch", 6, g)), 12, pb(1, "y"))
	}
	return g
}

// sequence makes a type of sequences, n deep.
func sequence(n int) []byte {
	b := pb(1, pb(1, 1))
	for range n {
		b = pb(4, pb(1, b))
	}
	return b
}

// inAttr makes a model of one attribute with those fields.
func inAttr(fields []byte) []byte {
	return pb(1, 8, 7, pb(1, pb(2, "y", 4, "Conv", 5, append(pb(1, "a"), fields...))))
}

// Whatever a file asks for, reading it takes no more than a small multiple of its size.
func TestDecodeMemory(t *testing.T) {
	const n = 200_000
	many := func(fields ...any) []byte {
		var all []byte
		one := pb(fields...)
		for range n {
			all = append(all, one...)
		}
		return all
	}
	files := map[string][]byte{
		"huge shape":         withInit(1, 1<<40, 2, 1),
		"huge strings":       withInit(1, 1<<40, 2, 8, 6, "a"),
		"empty nodes":        pb(1, 8, 7, many(1, pb(4, "a"))),
		"small attributes":   pb(1, 8, 7, many(1, pb(4, "a", 5, pb(1, "b", 3, 1)))),
		"outputs":            pb(1, 8, 7, many(1, pb(2, "", 4, "a"))),
		"empty inputs":       pb(1, 8, 7, many(11, pb())),
		"empty strings":      pb(1, 8, 7, pb(5, append(pb(1, n, 2, 8), many(6, "a")...))),
		"strings":            pb(1, 8, 7, pb(5, append(pb(1, n, 2, 8), many(6, "")...))),
		"small numbers":      pb(1, 8, 7, pb(5, append(pb(1, n, 2, 7), many(7, 1)...))),
		"packed numbers":     withInit(1, n, 2, 7, 7, strings.Repeat("\x01", n)),
		"bytes as varints":   withInit(1, n, 2, 3, 5, strings.Repeat("\x01", n)),
		"functions":          append(pb(1, 8, 7, pb(relu()...)), many(25, pb(1, "f"))...),
		"opsets":             append(pb(1, 8, 7, pb(relu()...)), many(8, pb(2, 1))...),
		"properties":         append(pb(1, 8, 7, pb(relu()...)), many(14, pb())...),
		"empty tensors":      pb(1, 8, 7, many(5, pb(1, 0, 2, 1))),
		"tensor attributes":  inAttr(many(10, pb(2, 1, 9, "1234"))),
		"unknown dimensions": model(11, pb(1, "x", 2, pb(1, pb(1, 1, 2, many(1, pb()))))),
		"external":           pb(1, 8, 7, pb(5, append(pb(1, 1, 2, 1, 14, 1), many(13, "")...))),
		"subgraphs":          inAttr(many(11, pb())),
		"dimensions":         withInit(1, strings.Repeat("\x01", n), 2, 1, 9, "1234"),
	}
	var chain []byte
	for i := range n {
		chain = append(chain, pb(1, pb(1, strconv.Itoa(i), 2, strconv.Itoa(i+1), 4, "Abs"))...)
	}
	files["nodes"] = pb(1, 8, 7, append(chain, pb(11, pb(1, "0"), 12, pb(1, strconv.Itoa(n)))...))
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := onnx.Decode(data, onnx.Options{})
			runtime.ReadMemStats(&after)
			// All that was ever allocated counts, garbage too.
			used := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes made %d (%.1f times): %.100v", len(data), used, float64(used)/float64(len(data)), err)
			if limit := 24*uint64(len(data)) + 4<<20; used > limit {
				t.Errorf("%d bytes made it allocate %d, more than %d (%v)", len(data), used, limit, err)
			}
		})
	}
}

// Every beginning of a model, and models with bytes changed, are read or refused, and what is read can be used.
func TestDecodeDamaged(t *testing.T) {
	whole := sample(t)
	data, err := onnx.Encode(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if _, err := onnx.Decode(data[:i], onnx.Options{}); err == nil && i < len(data)/2 {
			t.Errorf("the first %d of %d bytes were read without an error", i, len(data))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		bad := append([]byte{}, data...)
		for range 1 + random.IntN(4) {
			bad[random.IntN(len(bad))] = byte(random.Uint32())
		}
		use(t, bad)
	}
	for range 2000 {
		bad := make([]byte, random.IntN(200))
		for i := range bad {
			bad[i] = byte(random.Uint32())
		}
		use(t, bad)
	}
}

// use does with the bytes what programs do with models; only a panic or an unstable file is wrong.
func use(t *testing.T, data []byte) {
	t.Helper()
	g, err := onnx.Decode(data, onnx.Options{})
	if err != nil {
		return
	}
	first, err := onnx.Encode(g)
	if err == nil {
		again, err := onnx.Decode(first, onnx.Options{})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%x", err, data)
		}
		second, err := onnx.Encode(again)
		if err != nil || string(first) != string(second) {
			t.Fatalf("writing twice gives other bytes (%v)\n%x", err, data)
		}
	}
	_ = infer.Shapes(g.Clone()) // it may find faults, but must return
	c := g.Clone()
	if err := c.Inline(nil); err == nil {
		if err := c.Validate(); err != nil {
			t.Fatalf("inlining a valid graph made an invalid one: %v\n%x", err, data)
		}
	}
	c.Prune()
}

// sample is a graph with something of everything.
func sample(t testing.TB) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder("sample")
	b.Function(&graph.Function{
		Domain: "ai.millrace", Name: "Scale", Inputs: []string{"a", "s"}, Outputs: []string{"c"}, Attrs: []string{"to"},
		Defaults: graph.Attrs{"axis": int64(1)},
		Nodes: []*graph.Node{
			{OpType: "Mul", Inputs: []string{"a", "s"}, Outputs: []string{"b"}},
			{OpType: "Softmax", Inputs: []string{"b"}, Outputs: []string{"d"}, Attrs: graph.Attrs{"axis": graph.AttrRef("axis")}},
			{OpType: "Cast", Inputs: []string{"d"}, Outputs: []string{"c"}, Attrs: graph.Attrs{"to": graph.AttrRef("to")}},
		},
	})
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}, {Size: 8}, {Size: -1}})
	w := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 2, 1, 3, 3)))
	y := b.Op("Conv", graph.Attrs{"pads": []int64{1, 1, 1, 1}, "auto_pad": "NOTSET", "group": int64(1)}, x, w)
	y = b.Op("LeakyRelu", graph.Attrs{"alpha": float32(0.25)}, y)
	y = b.Op("ai.millrace.Scale", graph.Attrs{"to": int64(tensor.Float64)}, y, b.Float(2))
	b.Output(b.Name(y, "y"))
	cond := b.Op("Constant", graph.Attrs{"value": tensor.Scalar(true)})
	branch := func(v float32) *graph.Graph {
		return &graph.Graph{Name: "branch", Nodes: []*graph.Node{{OpType: "Constant", Outputs: []string{b.Unique("inner")}, Attrs: graph.Attrs{"value_floats": []float32{v}}}}}
	}
	yes, no := branch(1), branch(2)
	for _, g := range []*graph.Graph{yes, no} {
		g.Outputs = []graph.Value{{Name: g.Nodes[0].Outputs[0]}}
	}
	b.Output(b.Op("If", graph.Attrs{"then_branch": yes, "else_branch": no}, cond))
	b.Output(b.Op("Identity", nil, b.Init("words", tensor.Vector("a", "", "ü"))))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	g.Doc, g.Producer, g.Metadata = "a sample", "test 1", map[string]string{"millrace.labels": `["a","b"]`, "author": "x"}
	return g
}

func FuzzDecode(f *testing.F) {
	data, err := onnx.Encode(sample(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(model(relu()...))
	f.Add(pb(1, 8, 7, nested(5)))
	f.Add(model(11, pb(1, "x", 2, sequence(3))))
	f.Add(withInit(1, 2, 2, 7, 7, "\x01\x02"))
	f.Add(withInit(1, 1, 2, 1, 14, 1, 13, pb(1, "location", 2, "w.bin")))
	f.Fuzz(func(t *testing.T, data []byte) { use(t, data) })
}

func FuzzDecodeTensor(f *testing.F) {
	for _, t := range allTypes() {
		data, err := onnx.EncodeTensor("t", t)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(pb(1, 2, 2, 10, 5, "\x80\x78\x01"))
	f.Add(pb(1, 1, 2, 15, 10, "1234567812345678"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := onnx.DecodeTensor(data)
		if err != nil {
			return
		}
		enc, err := onnx.EncodeTensor("t", v)
		if err != nil {
			t.Fatal(err)
		}
		back, err := onnx.DecodeTensor(enc)
		if err != nil || !sameTensor(v, back) {
			t.Fatalf("%v came back as %v (%v)", v, back, err)
		}
	})
}

func FuzzDecodeValue(f *testing.F) {
	t := pb(1, 1, 2, 7, 7, -5)
	f.Add(pb(1, "s", 2, 1, 3, t, 3, t), "sequence")
	f.Add(pb(1, "o", 2, 1, 3, t), "optional")
	f.Add(pb(2, 0), "optional")
	f.Add(pb(2, 3, 5, pb(2, 1, 3, t)), "optional(sequence)")
	f.Add(pb(2, 1, 3, t, 3, t), "optional")
	f.Add(t, "map")
	f.Fuzz(func(t *testing.T, data []byte, container string) {
		v, err := onnx.DecodeValue(data, container)
		if err == nil && v.Bytes() > int64(64*len(data)+4096) {
			t.Errorf("%d bytes became %d", len(data), v.Bytes())
		}
	})
}

func TestDecodeValue(t *testing.T) {
	one := pb(1, 1, 2, 7, 7, -5)
	for _, c := range []struct {
		data      []byte
		container string
		items     int
		err       string
	}{
		{pb(1, "s", 2, 1, 3, one, 3, one), "sequence", 2, ""},
		{pb(2, 0), "optional", 0, ""},
		{pb(2, 3, 5, pb(2, 1, 3, one)), "optional(sequence)", 1, ""},
		{pb(2, 1, 3, one, 3, one), "optional", 0, "an optional of two values"},
		{pb(2, 1, 5, one), "sequence", 0, `field 5 in place of "" in a sequence`},
		{pb(2, 1), "map", 0, `value of kind "map"`},
	} {
		v, err := onnx.DecodeValue(c.data, c.container)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %s", c.container, err, c.err)
			}
			continue
		}
		if err != nil || len(v.Items) != c.items || v.Kind.String() != strings.Split(c.container, "(")[0] {
			t.Errorf("%s: got %v, %v", c.container, v, err)
		}
	}
}
