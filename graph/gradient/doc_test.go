package gradient_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/catalogue"
	"github.com/millrace/millrace/graph/gradient"
)

var update = flag.Bool("update", false, "write docs/gradients.md anew")

// A docRow is a line of docs/gradients.md: a form of an operator whose gradient was held against differences.
type docRow struct {
	op, form, shapes string
	worst            float64
}

// TestOperators holds the gradient of every operator in its forms against central differences in float64, and docs/gradients.md against what was held.
func TestOperators(t *testing.T) {
	var rows []docRow
	for _, part := range []struct {
		name  string
		forms int
		check func(*testing.T) []docRow
	}{
		{"of elements", len(opCases), checkOperators}, {"If", 4, checkIf}, {"Scan", 4, checkScan}, {"Loop", 4, checkLoop}, {"nested", 1, checkNested},
	} {
		whole := true
		t.Run(part.name, func(t *testing.T) {
			some := part.check(t)
			rows = append(rows, some...)
			whole = len(some) == part.forms
		})
		if !whole {
			t.Skip("only some forms were chosen: docs/gradients.md is left alone")
		}
	}
	if len(rows) > len(opCases) && !t.Failed() {
		holdDoc(t, rows)
	}
}

const page = "../../docs/gradients.md"

// holdDoc holds the page against the rows. A difference depends on the processor's rounding, so that the page's may be ten times what is seen, or a tenth.
func holdDoc(t *testing.T, rows []docRow) {
	t.Helper()
	slices.SortStableFunc(rows, func(a, b docRow) int { return strings.Compare(a.op, b.op) })
	want := doc(rows)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	old, now := strings.Split(string(have), "\n"), strings.Split(want, "\n")
	for i, line := range now {
		if i >= len(old) || !alike(old[i], line) {
			t.Fatalf("%s is not what was held, from line %d on; go test ./graph/gradient -run TestOperators -update writes it. It is to be\n%s", page, i+1, line)
		}
	}
	if len(old) != len(now) {
		t.Errorf("%s has %d lines, and is to have %d", page, len(old), len(now))
	}
}

// alike reports whether two lines are the same but for a difference at their end.
func alike(a, b string) bool {
	left, x, ok1 := number(a)
	right, y, ok2 := number(b)
	if !ok1 || !ok2 {
		return a == b
	}
	const least = 1e-9 // below it the differences are all rounding
	return left == right && (x <= 10*max(y, least) && y <= 10*max(x, least))
}

// number cuts a row's difference off.
func number(line string) (rest string, v float64, ok bool) {
	cells := strings.Split(line, "|")
	if len(cells) < 3 {
		return "", 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(cells[len(cells)-2]), 64)
	return strings.Join(cells[:len(cells)-2], "|"), v, err == nil
}

func doc(rows []docRow) string {
	var b strings.Builder
	b.WriteString(`# Gradients

Made by ` + "`go test ./graph/gradient -run TestOperators -update`" + `. Each row is a form of an operator whose gradient, by each of its variables, was held against central differences of
the loss (a step of 1e-5) in float64 on the native engine. The *difference* is the largest one between a gradient's element and what the differences say, divided by that where it is above
1; the differences themselves are right to about 1e-9. Both engines agree on all these training graphs in float32, where onnxruntime has the forward operator.

| operator | form | shapes of the variables | difference |
| --- | --- | --- | ---: |
`)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %.0e |\n", r.op, r.form, r.shapes, r.worst)
	}
	var stops, none []string
	for _, o := range catalogue.Operators() {
		switch {
		case o.Domain != "" || gradient.HasRule(o.Name):
		case gradient.Stops(o.Name):
			stops = append(stops, o.Name)
		default:
			none = append(none, o.Name)
		}
	}
	fmt.Fprintf(&b, `
What stops gradients, since it is piecewise constant or of no numbers: %s.

Whatever else is between a variable and the loss is named before training starts; freezing the variables before it, or a model without it, is the way out. Of ONNX's own operators
these have no gradient; most are of whole numbers, strings or sequences, or draw numbers: %s.
`, strings.Join(stops, " "), strings.Join(none, " "))
	return b.String()
}
