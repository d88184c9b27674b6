package checkpoint_test

import (
	"fmt"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
)

func Example() {
	c, err := checkpoint.Open("testdata/tf1-partitioned-v2/model.ckpt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for v := range c.List() {
		fmt.Println(v.Name, v.DType, v.Shape, "in", len(v.Slices), "slices")
	}
	bias, err := c.Read("net/b1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bias.Shape())
	// Output:
	// net/b1 float32 [14] in 3 slices
	// net/w1 float32 [10,14] in 3 slices
	// out/w2 float32 [14,6] in 2 slices
	// [14]
}
