package diagram_test

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/diagram"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func ExampleDraw() {
	b := graph.NewBuilder("net")
	b.Output(b.Op("Relu", nil, b.Input("x", tensor.Float32, graph.Dims(1, 3))))
	g, err := infer.Build(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := diagram.Draw(g, diagram.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var svg bytes.Buffer
	if err := d.WriteSVG(&svg); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Nodes, "node,", d.Boxes, "boxes,", strings.Count(svg.String(), ">1×3<"), "times the shape")
	// Output: 1 node, 3 boxes, 4 times the shape
}
