package catalogue

import (
	"fmt"
	"strings"
)

// refusals says why native does not run what the standard has.
var refusals = map[string]string{
	"Col2Im":     "only numbers are summed; ONNX lets strings, booleans and complex numbers be its input and does not say what their sum is",
	"Erf":        "ONNX lets integers be its input and gives no rounding for the result",
	"GridSample": "integers, booleans, strings and complex numbers have no interpolation that ONNX specifies",
	"Unique":     "complex numbers have no order",
	"ai.onnx.preview.training.Gradient": "it differentiates the graph around it, so its meaning is not that of a node; " +
		"`millrace train` and package graph/gradient differentiate whole graphs",
}

// forms are what native refuses of operators that it has.
const forms = `- ImageDecoder: JPEG 2000, when such a file comes. A baseline JPEG has the samples that libjpeg makes; those of a progressive one may be off by 1 or 2.
- Constant and initializers: sparse tensors.
- Complex numbers are moved, and nothing is computed with them.
`

// Cell is how a result stands in the table: "yes", or what is missing.
func Cell(r Result) string {
	switch {
	case len(r.Runs) == 0:
		return "no"
	case len(r.Lacks) > 0:
		return "not: " + Words(r.Lacks)
	}
	return "yes"
}

const head = "| operator | versions | types | native | onnxruntime |"

// Doc writes docs/operators.md. others are onnxruntime's cells by operator, of its version.
func Doc(native map[string]Result, others map[string]string, version string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `# Operators

The operators of ONNX's own domain up to opset %d, of ai.onnx.ml up to version %d, and of the domains in which ONNX tries operators out. This page is
made by

    go test ./engine/native -run TestOperatorsDoc -update
    go test ./engine/onnxruntime -run TestOperatorsDoc -update      # its column; needs the library

and the same tests without -update hold it against what runs: a small example of each operator, at its newest version, for every element type.
*Versions* are those of the domain in which an operator was made or changed. *Types* are what ONNX lets the operator's main input be.
native also runs most operators for types that ONNX does not list. onnxruntime is what Millrace's engine makes of version %s, which computes in
a near type where the library has no kernel; of what it lacks at the newest version an older one may run.

Groups of types: numbers are floats and integers; floats are float16, bfloat16, float32 and float64; float8 and smaller are float8e4m3fn, float8e4m3fnuz, float8e5m2,
float8e5m2fnuz, float8e8m0, float4e2m1, int4, uint4, int2 and uint2.
`, Opset, ML, version)
	domain := "-"
	var missing []string
	for _, o := range Operators() {
		if o.Domain != domain {
			domain = o.Domain
			name := domain
			if name == "" {
				name = "ai.onnx"
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n| --- | --- | --- | --- | --- |\n", name, head)
		}
		r, ok := native[o.String()]
		if !ok {
			return "", fmt.Errorf("%v has no result", o)
		}
		other := others[o.String()]
		if other == "" {
			other = "not known"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", o.Name, strings.Trim(strings.ReplaceAll(fmt.Sprint(o.Versions), " ", ", "), "[]"), Words(o.Types), Cell(r), other)
		why, listed := refusals[o.String()]
		if listed != (len(r.Lacks) > 0) {
			return "", fmt.Errorf("%v: native lacks %s (%s), and the list of refusals says %q", o, Words(r.Lacks), r.Why, why)
		}
		if listed {
			missing = append(missing, fmt.Sprintf("- %v (%s): %s.\n", o, Words(r.Lacks), why))
		}
	}
	fmt.Fprintf(&b, "\n## What native refuses\n\n%s%s", strings.Join(missing, ""), forms)
	return b.String(), nil
}

// Others returns the cells of onnxruntime that a page has, by operator, and the version that they are of.
func Others(page string) (cells map[string]string, version string) {
	cells = map[string]string{}
	domain := ""
	for line := range strings.Lines(page) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			if domain = strings.TrimSpace(name) + "."; domain == "ai.onnx." {
				domain = ""
			}
		}
		if _, rest, ok := strings.Cut(line, "engine makes of version "); ok {
			version, _, _ = strings.Cut(rest, ",")
		}
		if cell := strings.Split(line, " | "); len(cell) == 5 && strings.HasPrefix(line, "| ") {
			cells[domain+strings.TrimPrefix(cell[0], "| ")] = strings.TrimSuffix(strings.TrimSpace(cell[4]), " |")
		}
	}
	return cells, version
}
