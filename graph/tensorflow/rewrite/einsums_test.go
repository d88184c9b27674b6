package rewrite_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/graph"
)

func TestEinsums(t *testing.T) {
	const order = "Transpose perm="
	for _, c := range []struct {
		equation      string
		first, second []int
		constant      bool  // the second is
		bias          []int // that is added
		after         string
	}{
		{"abc,cde->abde", []int{2, 3, 4}, []int{4, 5, 6}, true, nil, "MatMul, Reshape"},
		{"abc,cde->abde", []int{2, 3, 4}, []int{4, 5, 6}, true, []int{5, 6}, "MatMul, Add, Reshape"},
		{"abc,cde->abde", []int{2, 3, 4}, []int{4, 5, 6}, true, []int{3, 1, 6}, "MatMul, Reshape, Add"},
		{"abc,cde->abde", []int{2, 3, 4}, []int{4, 5, 6}, true, []int{1, 6}, "MatMul, Reshape, Add"},
		{"abc,dce->abde", []int{2, 3, 4}, []int{5, 4, 6}, true, nil, "MatMul, Reshape"},
		{"abcd,cde->abe", []int{2, 3, 4, 5}, []int{4, 5, 6}, true, []int{6}, "Reshape, MatMul, Add"},
		{"abcd,dce->abe", []int{2, 3, 4, 5}, []int{5, 4, 6}, true, nil, "Reshape, MatMul"},
		{"ab,bc->ac", []int{2, 3}, []int{3, 4}, true, nil, "MatMul"},
		{"ab,bc->ac", []int{2, 3}, []int{3, 4}, false, nil, "MatMul"},
		{"ab,cb->ca", []int{2, 3}, []int{4, 3}, false, nil, order + "[1 0], MatMul"},
		{"aecd,abcd->acbe", []int{2, 5, 3, 4}, []int{2, 6, 3, 4}, false, nil, order + "[0 2 1 3], " + order + "[0 2 3 1], MatMul"},
		{"acbe,aecd->abcd", []int{2, 3, 6, 5}, []int{2, 5, 3, 4}, false, nil, order + "[0 2 1 3], MatMul, " + order + "[0 2 1 3]"},
		{"abc,cde->abde", []int{2, 3, 4}, []int{4, 5, 6}, false, nil, ""},
		{"ab,b->a", []int{2, 3}, []int{3}, false, nil, ""},
		{"ab,cb->a", []int{2, 3}, []int{4, 3}, false, nil, ""},
		{"aab,bc->ac", []int{3, 3, 2}, []int{2, 4}, false, nil, ""},
		{"ab,cd->abcd", []int{2, 3}, []int{4, 5}, false, nil, ""},
	} {
		t.Run(fmt.Sprint(c.equation, c.constant, c.bias), func(t *testing.T) {
			n := newNet()
			first := n.input("x", c.first...)
			var second string
			if c.constant {
				second = n.weights("w", c.second...)
			} else {
				second = n.input("z", c.second...)
			}
			y, before := n.Op("Einsum", graph.Attrs{"equation": c.equation}, first, second), "Einsum"
			if c.bias != nil {
				y, before = n.Op("Add", nil, n.weights("b", c.bias...), y), "Einsum, Add"
			}
			after := c.after
			if after == "" {
				after = before
			}
			testPass(t, "einsums", n, before, after, y)
		})
	}
}
