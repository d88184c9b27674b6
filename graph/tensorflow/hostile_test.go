package tensorflow_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// pb makes protobuf messages by hand: pairs of a field number and an int, string, or bytes.
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

// node makes a NodeDef; attributes are pairs of a name and an AttrValue.
func node(name, op string, inputs []string, attrs ...any) []byte {
	b := pb(1, name, 2, op)
	for _, in := range inputs {
		b = append(b, pb(3, in)...)
	}
	for i := 0; i < len(attrs); i += 2 {
		b = append(b, pb(5, pb(1, attrs[i], 2, attrs[i+1]))...)
	}
	return b
}

func typeAttr(d int) []byte { return pb(6, d) }

// shape makes a TensorShapeProto.
func shape(dims ...int) []byte {
	var b []byte
	for _, d := range dims {
		b = append(b, pb(2, pb(1, d))...)
	}
	return b
}

// graphOf puts nodes, and functions behind them, into a GraphDef.
func graphOf(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, pb(1, p)...)
	}
	return b
}

func libraryOf(functions ...[]byte) []byte {
	var b []byte
	for _, f := range functions {
		b = append(b, pb(1, f)...)
	}
	return pb(2, b)
}

// function takes and gives one float.
func functionOf(name, ret string, nodes ...[]byte) []byte {
	b := pb(1, pb(1, name, 2, pb(1, "a", 3, 1), 3, pb(1, "r", 3, 1)))
	for _, n := range nodes {
		b = append(b, pb(3, n)...)
	}
	return append(b, pb(4, pb(1, "r", 2, ret))...)
}

func callOf(name, f, in string) []byte {
	return node(name, "PartitionedCall", []string{in}, "f", pb(10, pb(1, f)))
}

func floatInput(name string) []byte {
	return node(name, "Placeholder", nil, "dtype", typeAttr(1), "shape", pb(7, shape(4)))
}

type hostileFile struct {
	name, want string
	data       []byte
}

// hostile are files that ask for more than they can justify, or contradict themselves.
func hostile() []hostileFile {
	constant := func(dims ...int) []byte {
		return node("c", "Const", nil, "dtype", typeAttr(1), "value", pb(8, pb(1, 1, 2, shape(dims...))))
	}
	add := func(a, b string) []byte { return node("y", "Add", []string{a, b}, "T", typeAttr(1)) }
	deep := []byte{}
	for range 2000 {
		deep = pb(10, pb(1, "f", 2, pb(1, "f", 2, deep)))
	}
	chain := [][]byte{floatInput("x")}
	for i := range 20000 {
		in := "x"
		if i > 0 {
			in = fmt.Sprintf("n%d", i-1)
		}
		chain = append(chain, node(fmt.Sprintf("n%d", i), "Neg", []string{in}, "T", typeAttr(1)))
	}
	var twice [][]byte
	for i := range 40 {
		twice = append(twice, functionOf(fmt.Sprintf("f%d", i), "r:output:0",
			callOf("p", fmt.Sprintf("f%d", i+1), "a"), callOf("q", fmt.Sprintf("f%d", i+1), "p:output:0"), node("r", "Identity", []string{"q:output:0"}, "T", typeAttr(1))))
	}
	twice = append(twice, functionOf("f40", "n:y:0", node("n", "Neg", []string{"a"}, "T", typeAttr(1))))
	return []hostileFile{
		{"empty", "empty", nil},
		{"text", "not a valid TensorFlow file", []byte("node { name: \"x\" op: ")},
		{"a varint without end", "varint without end", append(pb(1, node("x", "NoOp", nil)), 0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1)},
		{"truncated", "truncated", graphOf(floatInput("x"))[:20]},
		{"a shape of 2^62", "4611686018427387904", graphOf(floatInput("x"), constant(1<<62, 4), add("x", "c"))},
		{"a shape of 2^62 elements", "too many elements", graphOf(floatInput("x"), constant(1<<31, 1<<31, 4), add("x", "c"))},
		{"a negative dimension", "dimension 0", graphOf(floatInput("x"), constant(-5), add("x", "c"))},
		{"a node that takes itself", "takes its own result", graphOf(floatInput("x"), add("x", "y"), node("z", "Neg", []string{"y"}, "T", typeAttr(1)))},
		{"a node that is not there", `no node "nothing"`, graphOf(floatInput("x"), add("x", "nothing"))},
		{"a function that calls itself", "calls itself", append(graphOf(floatInput("x"), callOf("y", "f", "x")), libraryOf(functionOf("f", "c:output:0", callOf("c", "f", "a")))...)},
		{"functions that call each other", "calls itself", append(graphOf(floatInput("x"), callOf("y", "f", "x")),
			libraryOf(functionOf("f", "c:output:0", callOf("c", "g", "a")), functionOf("g", "c:output:0", callOf("c", "f", "a")))...)},
		{"functions that double", "than its size can justify", append(graphOf(floatInput("x"), callOf("y", "f0", "x")), libraryOf(twice...)...)},
		{"a function that is not there", `no function "f"`, graphOf(floatInput("x"), callOf("y", "f", "x"))},
		{"attributes that nest", "", graphOf(floatInput("x"), node("y", "PartitionedCall", []string{"x"}, "f", deep))},
		{"a graph that is deep", "", graphOf(chain...)},
		{"a split into 2^40", "pieces", graphOf(floatInput("x"), node("d", "Const", nil, "dtype", typeAttr(3), "value", pb(8, pb(1, 3, 7, 0))), node("y", "Split", []string{"d", "x"}, "num_split", pb(3, 1<<40)))},
		{"a wrong wire type", "wire type", pb(1, 7)},
	}
}

// TestHostile: each is refused by name, and none takes long.
func TestHostile(t *testing.T) {
	for _, tt := range hostile() {
		t.Run(tt.name, func(t *testing.T) {
			err := importBytes(t.Context(), tt.data, graphdef.GraphDef)
			switch {
			case tt.want == "" && err != nil && !strings.Contains(err.Error(), "no function"):
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
