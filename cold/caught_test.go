package cold_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/store/faultstore"
)

// failing is a test that may fail, which says why.
type failing struct {
	name string

	mu     sync.Mutex
	failed bool
	log    strings.Builder
}

func (f *failing) Helper()              {}
func (f *failing) Name() string         { return f.name }
func (f *failing) Log(args ...any)      { f.note(fmt.Sprint(args...)) }
func (f *failing) Error(args ...any)    { f.Log(args...); f.Fail() }
func (f *failing) Fatal(args ...any)    { f.Log(args...); f.FailNow() }
func (f *failing) Skip(...any)          { runtime.Goexit() }
func (f *failing) Skipf(string, ...any) { runtime.Goexit() }
func (f *failing) SkipNow()             { runtime.Goexit() }

func (f *failing) Logf(format string, args ...any) { f.note(fmt.Sprintf(format, args...)) }
func (f *failing) Errorf(format string, args ...any) {
	f.Logf(format, args...)
	f.Fail()
}
func (f *failing) Fatalf(format string, args ...any) {
	f.Logf(format, args...)
	f.FailNow()
}

func (f *failing) FailNow() {
	f.Fail()
	runtime.Goexit()
}

func (f *failing) Fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
}

func (f *failing) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *failing) note(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.WriteString(s + "\n")
}

// TestModelCatches: the model notices each of the faults that would lose an entry, or bring one back.
func TestModelCatches(t *testing.T) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		old := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		defer flag.Set(name, old)
	}
	for name, bug := range map[string]func(*cold.Cold){
		"stub before the store answered":    cold.BugStubBeforeStore,
		"stub before a pipeline has passed": cold.BugStubBeforeReader,
		"activation after a delete":         cold.BugBackAfterDelete,
		"activation of what has expired":    cold.BugBackWhenExpired,
	} {
		t.Run(name, func(t *testing.T) {
			faults := faultstore.Faults{Before: 0.1, After: 0.1}
			for round := range 100 {
				f := &failing{name: t.Name()}
				done := make(chan struct{})
				go func() {
					defer close(done)
					rapid.Check(f, func(rt *rapid.T) {
						m := newModel(t.Context(), rt, filepath.Join(t.TempDir(), fmt.Sprint(round)), faults, true, bug)
						defer m.close()
						for range modelSteps {
							m.step(rt)
						}
						m.finish()
					})
				}()
				<-done
				if f.Failed() {
					reason, _, _ := strings.Cut(f.log.String(), "\nTo reproduce")
					t.Logf("round %d: %s", round+1, reason)
					return
				}
			}
			t.Error("nothing was noticed")
		})
	}
}
