package bench_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every row is measured on a real node, and no result is lost or comes twice: the flood itself fails then.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for row, err := range bench.Run(t.Context(), bench.Options{Samples: 20, Keys: 500, Engine: "native", Dir: dir}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Value <= 0 || row.Unit == "" {
			t.Errorf("row %+v has no value", row)
		}
		names = append(names, row.Name)
	}
	for _, want := range []string{
		"durable, in process: put to result event, p50", "durable, loopback: flood of 500 keys",
		"volatile, in process: flood of 500 keys", "volatile, loopback: put to result event, p99",
	} {
		if !strings.Contains(strings.Join(names, "\n"), want) {
			t.Errorf("row %q is missing in %q", want, names)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range bench.Run(ctx, bench.Options{Samples: 5, Keys: 50, Engine: "native", Dir: t.TempDir()}) {
		last = err
		cancel() // with the first node's rows; the next one does not start
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("error %v, want %v", last, context.Canceled)
	}
}
