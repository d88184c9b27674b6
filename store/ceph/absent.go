//go:build !ceph || !cgo

package ceph

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/store"
)

// Store is what a program with librados has. There is none in this one.
type Store struct{ store.Store }

// Open says how to get a program that has this store, as a store.ErrNotBuilt.
func Open(_ context.Context, c Config) (*Store, error) {
	if err := c.withDefaults().Validate(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: Ceph needs librados; build with `CGO_ENABLED=1 go build -tags ceph,pacific ./cmd/millrace` where librados-dev is installed", store.ErrNotBuilt)
}
