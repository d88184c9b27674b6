package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/disk"
)

// writerDir names the folder to a process that writes until it is killed.
const writerDir = "MILLRACE_TEST_STORE_DIR"

const writers = 4

// killed is what a writer wrote as its nth: values of several sizes, batches, and now and then a delete.
func killed(writer, n int) store.Entry {
	e := store.Entry{Info: store.Info{Key: fmt.Sprintf("%d/%d", writer, n%50), Revision: uint64(n + 1)}}
	if n%7 == 6 {
		e.Deleted = true
		return e
	}
	e.Value = bytes.Repeat([]byte{byte(n), byte(writer)}, n*n%5000)
	return e
}

// write is the process that is killed: it says what the store has acknowledged.
func write(dir string) {
	s, err := disk.Open(disk.Config{Dir: dir, BufferBytes: 1 << 20})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	ctx := context.Background()
	var out sync.Mutex
	for writer := range writers {
		go func() {
			first := 0
			for i := range 50 {
				if h, err := s.Stat(ctx, "n", fmt.Sprintf("%d/%d", writer, i)); err == nil {
					first = max(first, int(h.Revision))
				}
			}
			for n := first; ; n += 3 {
				if errs := s.PutAll(ctx, "n", []store.Entry{killed(writer, n), killed(writer, n+1), killed(writer, n+2)}); errs != nil {
					for _, err := range errs {
						// After a restart a delete may have been the newest.
						if err != nil && !errors.Is(err, store.ErrStale) {
							fmt.Println("put:", err)
							os.Exit(1)
						}
					}
				}
				out.Lock()
				fmt.Println("stored", writer, n+2)
				out.Unlock()
			}
		}()
	}
	select {}
}

// TestKill is invariant 1 for the disk store: what was acknowledged survives kill -9, again and again in one folder.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	stored := make([]int, writers)
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerDir+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		scanner := bufio.NewScanner(pipe)
		for scanner.Scan() {
			var writer, n int
			if _, err := fmt.Sscanf(scanner.Text(), "stored %d %d", &writer, &n); err != nil {
				// The last line may be cut by the kill.
				if lines <= 200+50*round {
					t.Errorf("the writer says %q", scanner.Text())
				}
				continue
			}
			stored[writer] = max(stored[writer], n)
			if lines++; lines == 200+50*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || lines < 200 {
			t.Fatalf("the writer ended by itself after %d lines: %v", lines, err)
		}
		check(t, dir, stored)
	}
}

// check looks that every key has its newest acknowledged entry, or one that came after.
func check(t *testing.T, dir string, stored []int) {
	s, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copies := map[string]store.Info{}
	for i, err := range s.List(t.Context(), "n", store.ListOptions{Deleted: true}) {
		if err != nil {
			t.Fatal(err)
		}
		copies[i.Key] = i
	}
	for writer, last := range stored {
		for n := max(0, last-49); n <= last; n++ {
			want := killed(writer, n)
			got, ok := copies[want.Key]
			if !ok || got.Revision < want.Revision || got.Revision == want.Revision && got.Deleted != want.Deleted {
				t.Errorf("%s has %+v, and revision %d was acknowledged", want.Key, got, want.Revision)
				continue
			}
			if got.Deleted {
				continue
			}
			e, err := s.Get(t.Context(), "n", want.Key)
			if err != nil || !bytes.Equal(e.Value, killed(writer, int(e.Revision)-1).Value) {
				t.Errorf("%s: %v, %d bytes", want.Key, err, len(e.Value))
			}
		}
	}
}
