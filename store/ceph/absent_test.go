//go:build !ceph || !cgo

package ceph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
)

func TestAbsent(t *testing.T) {
	_, err := ceph.Open(t.Context(), ceph.Config{Conf: "/etc/ceph/ceph.conf"})
	if !errors.Is(err, store.ErrNotBuilt) || !strings.Contains(err.Error(), "-tags ceph,pacific") || !strings.Contains(err.Error(), "librados-dev") {
		t.Error(err)
	}
}
