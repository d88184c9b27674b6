//go:build !ceph || !cgo

package main

import (
	"context"
	"fmt"
	"os"
)

// cephRows are left out where the program is built without librados, which not every machine has.
func cephRows(context.Context, options) ([]Row, error) {
	fmt.Fprintln(os.Stderr, "bench: the rows of Ceph are left out: they need a build with the tags ceph,pacific")
	return nil, nil
}
