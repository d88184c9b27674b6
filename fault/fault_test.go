package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/fault"
)

var errConfig = errors.New("configuration not usable")

func validate(size int, name string) error {
	var l fault.Errors
	l.Check(size > 0, "size", "%d is not positive", size)
	l.Check(name != "", "name", "is missing")
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	return nil
}

func TestErr(t *testing.T) {
	if err := validate(1, "x"); err != nil {
		t.Error(err)
	}
	if err := fault.Errors(nil).Err(); err != nil {
		t.Errorf("no fault is %v", err)
	}
	err := validate(0, "")
	if !errors.Is(err, errConfig) || err.Error() != "configuration not usable: size: 0 is not positive\nname: is missing" {
		t.Errorf("%v", err)
	}
}

func TestTake(t *testing.T) {
	var l fault.Errors
	rename := func(path string) (string, bool) { return "caches.c." + path, path != "name" }
	l.Take(nil, rename)
	l.Take(validate(0, ""), rename)
	l.Take(errors.New("the disk is gone"), func(string) (string, bool) { return "", true })
	want := fault.Errors{{Path: "caches.c.size", Msg: "0 is not positive"}, {Msg: "the disk is gone"}}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A package's Validate reports every fault at once.
func Example() {
	var l fault.Errors
	threads := -2
	l.Check(threads >= 0, "threads", "%d must not be negative", threads)
	l.Check(false, "device", "%q must be cpu or cuda:N", "tpu")
	fmt.Println(l.Err())
	// Output:
	// threads: -2 must not be negative
	// device: "tpu" must be cpu or cuda:N
}
