package tensorflow_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// counting is a condition for loops whose first variable counts to 4.
const counting = `
func four(i, a) (r)
	n = int 4
	r = Less i n
`

// Loops, conditions and lists, each with what comes out for x = 1 2 3.
func TestControl(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []float64
		loops, ifs int
	}{
		{"counted", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	b = AddV2 a a
main
	zero = int 0
	w = While zero x cond=four body=body
	y = Identity w:1`, []float64{16, 32, 48}, 1, 0},
		{"the counter itself", counting + `
func body(i, a) (j, b)
	three = int 3
	j = AddV2 i three
	b = Identity a
main
	zero = int -1
	w = While zero x cond=four body=body
	f = Cast w:0 SrcT=DT_INT32 DstT=DT_FLOAT
	y = AddV2 f x`, []float64{6, 7, 8}, 0, 0},
		{"down, with a limit of its own", `
func cond(i, a) (r)
	n = int 1
	r = GreaterEqual i n
func body(i, a) (j, b)
	two = int 2
	j = Sub i two
	two2 = int -2
	k = AddV2 i two2
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = AddV2 a f
main
	s = Shape x
	n = Sum s zeroaxis keep_dims=false
	zeroaxis = ints 0
	w = While n x cond=cond body=body
	y = Identity w:1`, []float64{5, 6, 7}, 1, 0},
		{"as long as it is small", `
func cond(a) (r)
	axes = ints 0
	s = Sum a axes
	n = float 100
	r = Less s n
func body(a) (b)
	b = AddV2 a a
main
	w = While x cond=cond body=body
	y = Identity w`, []float64{32, 64, 96}, 1, 0},
		{"never", `
func cond(i, a) (r)
	r = Less i i
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	b = AddV2 a a
main
	n = int 0
	w = While n x cond=cond body=body
	y = Identity w:1`, []float64{1, 2, 3}, 0, 0},
		{"not once, by a limit that is no constant", `
func cond(i, n, a) (r)
	r = Less i n
func body(i, n, a) (j, m, b)
	one = int 1
	j = AddV2 i one
	m = Identity n
	b = AddV2 a a
main
	i = int 7
	axes = ints 0
	s = Shape x
	n = Sum s axes
	w = While i n x cond=cond body=body
	f = Cast w:0 SrcT=DT_INT32 DstT=DT_FLOAT
	y = AddV2 w:2 f`, []float64{8, 9, 10}, 1, 0},
		{"in each other", counting + `
func inner(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	ones = float 1
	b = AddV2 a ones
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	w = While i a cond=four body=inner
	b = Identity w:output:1
main
	zero = int 0
	w = While zero x cond=four body=body
	y = Identity w:1`, []float64{11, 12, 13}, 2, 0},
		{"a state that grows", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	axis = int 0
	last = floats 7
	b = ConcatV2 a last axis
main
	zero = int 0
	w = While zero x cond=four body=body
	y = Identity w:1`, []float64{1, 2, 3, 7, 7, 7, 7}, 1, 0},
		{"a list, element by element", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListSetItem a i f
main
	zero = int 0
	four = int 4
	any = int -1
	l = TensorListReserve any four element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{0, 1, 2, 3}, 1, 0},
		{"a longer list", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListSetItem a i f
main
	zero = int 0
	six = int 6
	any = ints
	l = TensorListReserve any six element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{0, 1, 2, 3, 0, 0}, 1, 0},
		{"a list from its end", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	three = int 3
	at = Sub three i
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListSetItem a at f
main
	zero = int 0
	four = int 4
	any = int -1
	l = TensorListReserve any four element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{3, 2, 1, 0}, 1, 0},
		{"one element, written each time", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	at = int 1
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListSetItem a at f
main
	zero = int 0
	two = int 2
	any = ints
	l = TensorListReserve any two element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{0, 3}, 1, 0},
		{"what was written before is read", `
func cond(i, a) (r)
	n = int 6
	r = Less i n
func body(i, a) (j, b)
	one = int 1
	two = int 2
	j = AddV2 i one
	p = Sub i one
	q = Sub i two
	any = ints
	u = TensorListGetItem a p any element_dtype=DT_FLOAT
	v = TensorListGetItem a q any element_dtype=DT_FLOAT
	s = AddV2 u v
	b = TensorListSetItem a i s
main
	i = int 2
	six = int 6
	any = ints
	ones = floats 1 1 0 0 0 0
	l = TensorListFromTensor ones any
	w = While i l cond=cond body=body
	y = TensorListStack w:1 any`, []float64{1, 1, 2, 3, 5, 8}, 1, 0},
		{"places that data says", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	places = ints 2 0 2 1
	axis = int 0
	at = GatherV2 places i axis
	f = Cast j SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListSetItem a at f
main
	zero = int 0
	four = int 4
	any = ints
	l = TensorListReserve any four element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{2, 4, 3, 0}, 1, 0},
		{"a list that grows", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	f = Cast i SrcT=DT_INT32 DstT=DT_FLOAT
	b = TensorListPushBack a f
main
	zero = int 0
	any = ints
	l = EmptyTensorList any zero element_dtype=DT_FLOAT
	l2 = TensorListPushBack l nine
	nine = float 9
	w = While zero l2 cond=four body=body
	y = TensorListStack w:1 any`, []float64{9, 0, 1, 2, 3}, 1, 0},
		{"a list that is emptied", counting + `
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	any = ints
	b = TensorListPopBack a any element_dtype=DT_FLOAT
main
	zero = int 0
	any = ints
	six = floats 6 5 4 3 2 1
	l = TensorListFromTensor six any
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{6, 5}, 1, 0},
		{"a list whose elements one branch writes", counting + `
func write(i, a) (b)
	f = float 5
	b = TensorListSetItem a i f
func leave(i, a) (b)
	b = Identity a
func body(i, a) (j, b)
	one = int 1
	j = AddV2 i one
	c = Less one i
	b = If c i a then_branch=write else_branch=leave
main
	zero = int 0
	four = int 4
	any = ints
	l = TensorListReserve any four element_dtype=DT_FLOAT
	w = While zero l cond=four body=body
	y = TensorListStack w:1 any`, []float64{0, 0, 5, 5}, 1, 1},
		{"two branches", `
func yes(a) (b)
	b = AddV2 a a
func no(a) (b)
	b = Neg a
main
	axes = ints 0
	s = Sum x axes
	n = float 6
	c = Less s n
	y = If c x then_branch=yes else_branch=no`, []float64{-1, -2, -3}, 0, 1},
		{"three cases and a number that none has", `
func a(v) (b)
	b = AddV2 v v
func b(v) (b)
	b = Neg v
func c(v) (b)
	b = Mul v v
main
	s = Shape x
	axes = ints 0
	n = Sum s axes
	y = Case n x branches=a,b,c`, []float64{1, 4, 9}, 0, 2},
		{"a branch whose condition is constant", `
func yes(a) (b)
	b = AddV2 a a
func no(a) (b)
	b = Unheard a
main
	one = int 1
	y = If one x then_branch=yes else_branch=no`, []float64{2, 4, 6}, 0, 0},
		{"lists without a loop", `
main
	any = ints -1
	two = int 2
	zero = int 0
	one = int 1
	l = TensorListReserve any two element_dtype=DT_FLOAT
	l1 = TensorListSetItem l one x
	l2 = TensorListSetItem l1 zero n
	n = Neg x
	y = TensorListConcatV2 l2 any any`, []float64{-1, -2, -3, 1, 2, 3}, 0, 0},
		{"parts in any order", `
main
	any = ints
	at = ints 2 0 1
	n = int -1
	l = TensorListScatterV2 x at any n
	back = ints 0 0 2
	y = TensorListGather l back any`, []float64{2, 2, 1}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := program(c.text)
			feeds := map[string]*tensor.Tensor{}
			if strings.Contains(c.text, " x") {
				feeds["x:0"] = tensor.Vector[float32](1, 2, 3)
			}
			checkOutput(t, c.name, text, feeds, "y:0", []int{len(c.want)}, c.want)
			g, _, err := importText(t, "graph.pbtxt", text, tensorflow.Options{Outputs: []string{"y:0"}})
			if err != nil {
				t.Fatal(err)
			}
			loops, ifs := 0, 0
			graph.Walk(g.Nodes, func(n *graph.Node) {
				switch n.OpType {
				case "Loop":
					loops++
				case "If":
					ifs++
				}
			})
			if loops != c.loops || ifs != c.ifs {
				t.Errorf("%d loops and %d conditions, want %d and %d", loops, ifs, c.loops, c.ifs)
			}
		})
	}
}
