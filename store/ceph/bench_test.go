//go:build ceph && cgo

package ceph_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rados"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
)

const (
	benchBytes = 16 << 10
	benchCalls = 32
	benchTurn  = 4 * time.Second
	benchTurns = 5
)

var writesPerSecond = regexp.MustCompile(`Average IOPS:\s+(\d+)`)

// BenchmarkPutAgainstRadosBench writes new keys for as long and with as many calls at a time as `rados bench`, in turns, and reports both rates and the
// ratio of their medians.
func BenchmarkPutAgainstRadosBench(b *testing.B) {
	dir := cluster(b)
	conf := filepath.Join(dir, "ceph.conf")
	s := open(b, ceph.Config{Conf: conf, Calls: benchCalls})
	const space = "bench-put"
	key := func(turn, call, i int) string { return fmt.Sprintf("%02d/%02d/%08d", turn, call, i) }
	// The object has the size of those of rados bench: what stands before the value has 40 bytes and the key with 2 more.
	value := make([]byte, benchBytes-42-len(key(0, 0, 0)))
	var ours, theirs []float64
	for turn := range benchTurns * 2 {
		if turn%2 == 0 {
			out, err := exec.CommandContext(b.Context(), "rados", "-c", conf, "-p", "millrace", "bench", strconv.Itoa(int(benchTurn.Seconds())), "write",
				"-b", strconv.Itoa(benchBytes), "-t", strconv.Itoa(benchCalls)).CombinedOutput()
			found := writesPerSecond.FindSubmatch(out)
			if err != nil || found == nil {
				b.Fatalf("rados bench: %v\n%s", err, out)
			}
			rate, err := strconv.ParseFloat(string(found[1]), 64)
			if err != nil {
				b.Fatal(err)
			}
			theirs = append(theirs, rate)
			continue
		}
		var n atomic.Int64
		var all sync.WaitGroup
		began := time.Now()
		for c := range benchCalls {
			all.Go(func() {
				for i := 0; time.Since(began) < benchTurn; i++ {
					e := store.Entry{Info: store.Info{Key: key(turn, c, i), Revision: 1}, Value: value}
					if err := s.Put(context.Background(), space, e); err != nil {
						b.Error(err)
						return
					}
					n.Add(1)
				}
			})
		}
		all.Wait()
		ours = append(ours, float64(n.Load())/time.Since(began).Seconds())
		if err := s.Drop(b.Context(), space); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(median(ours), "puts/s")
	b.ReportMetric(median(theirs), "radosbench/s")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGetAgainstLibrados reads a key through the store and another one through librados alone, in turns, and reports the medians of the times and
// their ratio.
func BenchmarkGetAgainstLibrados(b *testing.B) {
	dir := cluster(b)
	s := open(b, ceph.Config{Conf: filepath.Join(dir, "ceph.conf"), Calls: benchCalls})
	const space, count = "bench-get", 500
	ctx := b.Context()
	value := make([]byte, benchBytes)
	var objects []string
	for i := range count {
		if err := s.Put(ctx, space, store.Entry{Info: store.Info{Key: strconv.Itoa(i), Revision: 1}, Value: value}); err != nil {
			b.Fatal(err)
		}
		objects = append(objects, strconv.Itoa(i))
	}
	var ours, theirs []float64
	for i := range 4 * count {
		began := time.Now()
		if _, err := s.Get(ctx, space, objects[i%count]); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, float64(time.Since(began).Microseconds()))
		// Another object, which the cluster does not have at hand from the read before.
		object := objects[(i+count/2)%count]
		err := s.Raw(ctx, space, func(io *rados.IOContext) error {
			began := time.Now()
			buffer := make([]byte, benchBytes+4096)
			_, err := io.Read(object, buffer, 0)
			theirs = append(theirs, float64(time.Since(began).Microseconds()))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Drop(ctx, space); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(median(ours), "get-us")
	b.ReportMetric(median(theirs), "librados-us")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
	b.ReportMetric(0, "ns/op")
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
