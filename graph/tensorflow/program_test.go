package tensorflow_test

import (
	"fmt"
	"strings"
)

// program makes a graph in the text form of lines of a small language, so that a test can be read. A line is
//
//	name = Op input input key=value
//	name = int 3        or   name = ints 1 2 3
//	name = float 1.5    or   name = floats 1 2 3
//	func name(a, b) (c, d)    begins a function, whose lines follow
//	main                      begins the graph
//
// The placeholder x is a float of shape [-1], unless the graph has one of its own.
func program(text string) string {
	var main, functions strings.Builder
	inFunction := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		head, _, _ := strings.Cut(line, " ")
		switch {
		case line == "":
		case line == "main":
			if inFunction {
				functions.WriteString("}\n")
			}
			inFunction = false
		case head == "func":
			if inFunction {
				functions.WriteString("}\n")
			}
			inFunction = true
			functions.WriteString(header(strings.TrimPrefix(line, "func ")))
		case inFunction:
			functions.WriteString("node_def" + strings.TrimPrefix(statement(line), "node"))
		default:
			main.WriteString(statement(line))
		}
	}
	if !strings.Contains(main.String(), `name: "x"`) {
		main.WriteString(placeholderText("x", "DT_FLOAT", -1))
	}
	return main.String() + "library {\n" + functions.String() + "}\nversions { producer: 1000 }\n"
}

func header(text string) string {
	name, rest, _ := strings.Cut(text, "(")
	in, out, _ := strings.Cut(rest, ")")
	var b strings.Builder
	fmt.Fprintf(&b, "function { signature { name: %q ", name)
	for _, a := range fields(in) {
		fmt.Fprintf(&b, `input_arg { name: %q type: DT_FLOAT } `, a)
	}
	results := fields(strings.Trim(strings.TrimSpace(out), "()"))
	for i := range results {
		fmt.Fprintf(&b, `output_arg { name: "r%d" type: DT_FLOAT } `, i)
	}
	b.WriteString("}\n")
	for i, r := range results {
		fmt.Fprintf(&b, `ret { key: "r%d" value: %q }`+"\n", i, r)
	}
	return b.String()
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func statement(line string) string {
	name, rest, _ := strings.Cut(line, " = ")
	words := strings.Fields(rest)
	op, words := words[0], words[1:]
	if n := len(words); n == 2 && words[1][0] == '^' && (op == "int" || op == "float") { // a constant that waits for a node
		return strings.Replace(statement(name+" = "+op+" "+words[0]), "node {", fmt.Sprintf("node { input: %q", words[1]), 1)
	}
	switch op {
	case "int":
		return int32Scalar(name, number(words[0]))
	case "ints":
		var v []int
		for _, w := range words {
			v = append(v, number(w))
		}
		return ints32(name, v...)
	case "float":
		return constText(name, "DT_FLOAT", nil, "float_val: "+words[0])
	case "floats":
		return constText(name, "DT_FLOAT", []int{len(words)}, "float_val: ["+strings.Join(words, ",")+"]")
	}
	var inputs, attrs []string
	for _, w := range words {
		key, v, is := strings.Cut(w, "=")
		switch {
		case !is:
			inputs = append(inputs, w)
		case key == "frame_name":
			attrs = append(attrs, key, fmt.Sprintf("s: %q", v))
		case key == "branches":
			attrs = append(attrs, key, "list { func { name: \""+strings.ReplaceAll(v, ",", "\" } func { name: \"")+"\" } }")
		case strings.HasPrefix(v, "DT_"):
			attrs = append(attrs, key, "type: "+v)
		case v == "true" || v == "false":
			attrs = append(attrs, key, "b: "+v)
		case strings.Trim(v, "-0123456789") == "":
			attrs = append(attrs, key, "i: "+v)
		default:
			attrs = append(attrs, key, fmt.Sprintf("func { name: %q }", v))
		}
	}
	return nodeText(name, op, inputs, attrs...)
}

func number(word string) int {
	var n int
	if _, err := fmt.Sscan(word, &n); err != nil {
		panic(err)
	}
	return n
}
