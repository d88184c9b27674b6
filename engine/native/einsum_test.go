package native_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// einsumByHand computes an equation without ellipsis element by element.
func einsumByHand(equation string, in []*tensor.Tensor) *tensor.Tensor {
	left, out, _ := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	size := map[byte]int{}
	var labels []byte
	for i, t := range terms {
		for k := range len(t) {
			if !slices.Contains(labels, t[k]) {
				labels = append(labels, t[k])
			}
			if d := in[i].Shape()[k]; d != 1 || size[t[k]] == 0 {
				size[t[k]] = d
			}
		}
	}
	shape := make([]int, len(out))
	for i := range out {
		shape[i] = size[out[i]]
	}
	y := tensor.Must(tensor.New(tensor.Float64, shape...))
	place := func(t string, shape tensor.Shape, at map[byte]int) int {
		p := 0
		for k := range len(t) {
			p = p*shape[k] + min(at[t[k]], shape[k]-1)
		}
		return p
	}
	at := map[byte]int{}
	var visit func(i int)
	visit = func(i int) {
		if i < len(labels) {
			for v := range size[labels[i]] {
				at[labels[i]] = v
				visit(i + 1)
			}
			return
		}
		product := 1.0
		for j, t := range terms {
			product *= tensor.Data[float64](in[j])[place(t, in[j].Shape(), at)]
		}
		tensor.Data[float64](y)[place(out, y.Shape(), at)] += product
	}
	visit(0)
	return y
}

func TestEinsum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	equations := []string{"ij,jk->ik", "ij,jk->ki", "bij,bjk->bik", "bij,bkj->bki", "ij->ji", "ii->i", "ii->", "iij->j", "i,i->", "i,j->ij", "ij,j->i", "ij,k->k",
		"abcd,abed->abce", "bhqd,bhkd->bhqk", "bhqk,bkhd->bqhd", "ijk,jil->kl", "ab,bc,cd->ad", "a,a,a->a", "a,b,c->", "ab,ab,ab->ba", "Aa,aA->A", "ijj,jk->ik", "->", ",->", "i,->i"}
	for range 150 {
		equations = append(equations, randomEquation(r))
	}
	for _, eq := range equations {
		left, _, _ := strings.Cut(eq, "->")
		size := map[byte]int{}
		var in []*tensor.Tensor
		n := node("Einsum", graph.Attrs{"equation": eq}, nil, "y0")
		for i, term := range strings.Split(left, ",") {
			var shape []int
			for k := range len(term) {
				if size[term[k]] == 0 {
					size[term[k]] = 1 + r.IntN(4)
				}
				d := size[term[k]]
				if d > 1 && r.IntN(12) == 0 && strings.Count(term, term[k:k+1]) == 1 {
					d = 1 // broadcast
				}
				shape = append(shape, d)
			}
			x := tensor.Must(tensor.New(tensor.Float64, shape...))
			for j := range tensor.Data[float64](x) {
				tensor.Data[float64](x)[j] = float64(r.IntN(7) - 2)
			}
			in = append(in, x)
			n.Inputs = append(n.Inputs, fmt.Sprintf("x%d", i))
		}
		want := einsumByHand(eq, in)
		for _, d := range signedTypes {
			typed := slices.Clone(in)
			for i := range typed {
				typed[i] = cast(t, in[i], d)
			}
			got, err := tryApply(t, 17, n, typed...)
			if err != nil {
				t.Fatalf("%s of %v: %v", eq, d, err)
			}
			if d == tensor.Int8 || d == tensor.Float16 || d == tensor.BFloat16 {
				continue // the numbers may be too large to be exact; TestTypes has small ones
			}
			if err := conformance.Alike(got[0], cast(t, want, d)); err != nil {
				t.Errorf("%s of %v: %v", eq, d, err)
			}
		}
	}
}

// randomEquation has up to three operands of up to four labels.
func randomEquation(r *rand.Rand) string {
	const letters = "abcdeF"
	var terms []string
	seen := ""
	for range 1 + r.IntN(3) {
		t := ""
		for range r.IntN(5) {
			t += string(letters[r.IntN(len(letters))])
		}
		terms = append(terms, t)
		seen += t
	}
	out := ""
	for _, i := range r.Perm(len(letters)) {
		if l := letters[i : i+1]; strings.Contains(seen, l) && r.IntN(2) == 0 {
			out += l
		}
	}
	return strings.Join(terms, ",") + "->" + out
}

// What letters do not say: the ellipsis, the implicit result, spaces.
func TestEinsumForms(t *testing.T) {
	vec := func(dims ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Float64, dims...))
		for i := range tensor.Data[float64](x) {
			tensor.Data[float64](x)[i] = float64(i*5%7 - 2)
		}
		return x
	}
	for _, tt := range []struct {
		form, plain string
		in          []*tensor.Tensor
	}{
		{"...ij,...jk->...ik", "abij,bjk->abik", []*tensor.Tensor{vec(2, 3, 4, 2), vec(3, 2, 5)}},
		{"i...,...i->...", "iab,bi->ab", []*tensor.Tensor{vec(2, 3, 4), vec(4, 2)}},
		{"...->...", "ab->ab", []*tensor.Tensor{vec(2, 3)}},
		{"...i->...", "abi->ab", []*tensor.Tensor{vec(2, 3, 4)}},
		{"i...->...i", "iab->abi", []*tensor.Tensor{vec(2, 3, 4)}},
		{"...i->i", "abi->i", []*tensor.Tensor{vec(2, 3, 4)}},
		{"...", "ab->ab", []*tensor.Tensor{vec(2, 3)}},
		{"ij,jk", "ij,jk->ik", []*tensor.Tensor{vec(2, 3), vec(3, 4)}},
		{"ba", "ba->ab", []*tensor.Tensor{vec(2, 3)}},
		{"bA", "bA->Ab", []*tensor.Tensor{vec(2, 3)}},
		{"ii", "ii->", []*tensor.Tensor{vec(3, 3)}},
		{"...ji,...i", "xji,xi->xj", []*tensor.Tensor{vec(2, 3, 4), vec(2, 4)}},
		{" i j , j k -> k i ", "ij,jk->ki", []*tensor.Tensor{vec(2, 3), vec(3, 4)}},
	} {
		n := node("Einsum", graph.Attrs{"equation": tt.form}, nil, "y0")
		for i := range tt.in {
			n.Inputs = append(n.Inputs, fmt.Sprintf("x%d", i))
		}
		got := apply(t, 12, n, tt.in...)[0]
		if err := conformance.Alike(got, einsumByHand(tt.plain, tt.in)); err != nil {
			t.Errorf("%s: %v", tt.form, err)
		}
	}
	for equation, say := range map[string]string{
		"ij->ik": "k on the right", "ij->ii": "i on the right", "i->i": "does not fit rank 2", "ijk->i": "does not fit rank 2", "i1->i": "no letter", "ij,jk->ik": "2 terms for 1 inputs",
		"ii->i": "both 2 and 3", "ij..->i": "no letter",
	} {
		_, err := tryApply(t, 17, node("Einsum", graph.Attrs{"equation": equation}, []string{"x0"}, "y0"), vec(2, 3))
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: got %v; want %q", equation, err, say)
		}
	}
}
