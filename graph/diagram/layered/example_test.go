package layered_test

import (
	"fmt"

	"github.com/millrace/millrace/graph/diagram/layered"
)

func ExamplePlace() {
	boxes := []layered.Box{{Width: 40, Height: 20}, {Width: 40, Height: 20}, {Width: 40, Height: 20}}
	lines := []layered.Line{{From: 0, To: 1}, {From: 0, To: 2}}
	d, err := layered.Place(boxes, lines, layered.Options{BoxGap: 20, RankGap: 30})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Boxes)
	// Output: [{30 0} {0 50} {60 50}]
}
