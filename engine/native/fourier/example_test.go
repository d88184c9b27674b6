package fourier_test

import (
	"fmt"

	"github.com/millrace/millrace/engine/native/fourier"
)

func Example() {
	x := []complex128{1, 0, 0}
	fourier.New(len(x), false).Run(x)
	re, im := fourier.Parts(x[2])
	fmt.Printf("%.0f %.0f\n", re, im*im)
	// Output: 1 0
}
