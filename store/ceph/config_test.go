package ceph_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
)

func TestValidate(t *testing.T) {
	for _, c := range []ceph.Config{
		{Conf: "/etc/ceph/ceph.conf"},
		{Monitors: []string{"mon1", "10.0.0.1:6789", "[::1]:3300"}, User: "millrace", Key: "k", Pool: "p", Calls: 8, Timeout: time.Minute},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	err := ceph.Config{Conf: "a", Monitors: []string{"a b"}, User: "client.x", Key: "k", Keyring: "r\n", Calls: -1, Timeout: 1}.Validate()
	if !errors.Is(err, store.ErrConfig) {
		t.Fatal(err)
	}
	for _, want := range []string{"exactly one of", "monitors[0]: ", "user: ", "keyring: is set", "keyring: must not", "calls: ", "timeout: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not have %q", err, want)
		}
	}
	if err := (ceph.Config{}).Validate(); !errors.Is(err, store.ErrConfig) {
		t.Error(err)
	}
}
