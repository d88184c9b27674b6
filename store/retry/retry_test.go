package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/retry"
	"github.com/millrace/millrace/store/storetest"
)

func over(t *testing.T, under store.Store, c retry.Config) *retry.Store {
	t.Helper()
	s, err := retry.New(under, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Over a store that fails in four calls of ten, half of them when the work is done, nothing is to be noticed.
func TestSuite(t *testing.T) {
	var faults []*faultstore.Store
	storetest.Run(t, storetest.Under{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			f := faultstore.New(storetest.NewMemory(now), 7, faultstore.Faults{Before: 0.2, After: 0.2, Delay: 50 * time.Microsecond})
			faults = append(faults, f)
			return over(t, f, retry.Config{Attempts: 60, First: 10 * time.Microsecond, Longest: time.Millisecond})
		},
		Faulty: true,
	})
	if len(faults) == 0 || faults[0].Calls() < 1000 {
		t.Errorf("the suite did not go through the faults: %d", len(faults))
	}
}

func entry(key string, revision uint64) store.Entry {
	return store.Entry{Info: store.Info{Key: key, Revision: revision}}
}

func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
		f.Down()
		s := over(t, f, retry.Config{Attempts: 6, First: time.Second, Longest: 4 * time.Second})
		began := time.Now()
		err := s.Put(t.Context(), "n", entry("k", 1))
		// 1, 2, 4, 4 and 4 s at most.
		if took := time.Since(began); !store.Retryable(err) || f.Calls() != 6 || took > 15*time.Second || took == 0 {
			t.Errorf("%v after %d calls and %v", err, f.Calls(), took)
		}
		for i := range 3 {
			if err := s.PutAll(t.Context(), "n", []store.Entry{entry("a", 1), entry("b", 1)})[i%2]; !store.Retryable(err) {
				t.Error(err)
			}
		}
	})
}

func TestOnlyWhatIsRetryable(t *testing.T) {
	for _, permanent := range []error{store.ErrCorrupt, store.ErrFull, store.ErrDenied, errors.New("unknown")} {
		f := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{Before: 1, Err: permanent})
		s := over(t, f, retry.Config{})
		if err := s.Put(t.Context(), "n", entry("k", 1)); !errors.Is(err, permanent) || f.Calls() != 1 {
			t.Errorf("%v after %d calls", err, f.Calls())
		}
		if _, err := s.Get(t.Context(), "n", "k"); !errors.Is(err, permanent) || f.Calls() != 2 {
			t.Errorf("%v after %d calls", err, f.Calls())
		}
	}
}

// A wait ends with its context, and none is begun that would not.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
		f.Down()
		s := over(t, f, retry.Config{Attempts: 100, First: time.Hour, Longest: time.Hour})
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		began := time.Now()
		err := s.Put(ctx, "n", entry("k", 1))
		if took := time.Since(began); !errors.Is(err, context.Canceled) || !store.Retryable(err) || took != time.Second {
			t.Errorf("%v after %v", err, took)
		}
		ctx, stop = context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err = s.Put(ctx, "n", entry("k", 1)); !store.Retryable(err) {
			t.Error(err)
		}
	})
}

// What failed is written again, and nothing else.
func TestBatch(t *testing.T) {
	under := &partly{Store: storetest.NewMemory(nil), fail: map[int][]int{1: {1, 2}, 2: {0}}}
	s := over(t, under, retry.Config{First: time.Microsecond})
	got := s.PutAll(t.Context(), "n", []store.Entry{entry("a", 1), entry("b", 1), entry("c", 1), entry("b", 2), entry("", 1)})
	if diff := cmp.Diff([]error{nil, nil, nil, nil, store.ErrInvalid}, got, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"abcb", "bc", "b"}, under.batches); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if i, err := s.Stat(t.Context(), "n", "b"); err != nil || i.Revision != 2 {
		t.Errorf("%v, %v", i, err)
	}
}

// partly fails some entries of some batches, without writing them.
type partly struct {
	store.Store
	batches []string
	fail    map[int][]int
}

func (p *partly) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	keys := ""
	for _, e := range entries {
		keys += e.Key
	}
	p.batches = append(p.batches, keys)
	outcomes := make([]error, len(entries))
	for _, i := range p.fail[len(p.batches)] {
		outcomes[i] = store.ErrUnavailable
	}
	for i, e := range entries {
		if outcomes[i] == nil {
			outcomes[i] = p.Put(ctx, namespace, e)
		}
	}
	return outcomes
}

func TestValidate(t *testing.T) {
	_, err := retry.New(storetest.NewMemory(nil), retry.Config{Attempts: -1, First: -1, Longest: -1})
	if !errors.Is(err, store.ErrConfig) || err.Error() != "store configuration not usable: attempts: -1 must be from 1 to 100, or 0 for 5\n"+
		"first: -1ns must not be negative\nlongest: -1ns must not be negative" {
		t.Error(err)
	}
}
