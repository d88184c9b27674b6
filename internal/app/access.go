package app

import "github.com/millrace/millrace/grid"

// Grid is the node's grid, for programs that use it without HTTP. It is closed with the node.
func (n *Node) Grid() *grid.Grid { return n.grid }
