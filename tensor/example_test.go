package tensor_test

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

func Example() {
	x, err := tensor.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	sum := float32(0)
	for _, v := range tensor.Data[float32](x) {
		sum += v
	}
	fmt.Println(x, "sum", sum)
	_, err = x.Reshape(4)
	fmt.Println(err)
	// Output:
	// float32[2,3]{1 2 3 4 5 6} sum 21
	// shape does not fit: [2,3] cannot become [4]
}
