package train_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/train"
)

// A table with a label in each row becomes a classifier.
func ExampleRun() {
	var table strings.Builder
	table.WriteString("length,weight,label\n")
	for i := range 100 {
		fmt.Fprintf(&table, "%d,%d,mouse\n%d,%d,cat\n", 8+i%5, 20+i%7, 40+i%9, 3900+i%11*100)
	}
	set, err := train.ReadCSV(strings.NewReader(table.String()), train.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := train.Run(context.Background(), train.Config{Set: set, Eval: "20%", Batch: 20, Epochs: 20, Engine: native.New(native.Config{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d of %d right\n", result.Evaluation.Correct, result.Evaluation.Examples)
	// Output: 40 of 40 right
}
