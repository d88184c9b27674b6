package storetest_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Under{
		Open: func(_ *testing.T, now func() time.Time) store.Store { return storetest.NewMemory(now) },
	})
}
