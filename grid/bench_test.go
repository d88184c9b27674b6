package grid_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// value is as large as a digit's image.
var value = bytes.Repeat([]byte{7}, 784)

// classes runs a benchmark over both classes.
func classes(b *testing.B, run func(*testing.B, *grid.Grid, grid.Class)) {
	for _, class := range []grid.Class{grid.Durable, grid.Volatile} {
		b.Run(string(class), func(b *testing.B) {
			run(b, open(b, grid.Config{Dir: b.TempDir()}), class)
		})
	}
}

func BenchmarkPut(b *testing.B) {
	classes(b, func(b *testing.B, g *grid.Grid, class grid.Class) {
		c := cache(b, g, grid.CacheConfig{Name: "digits", Class: class})
		for i := 0; b.Loop(); i++ {
			if _, err := c.Put(b.Context(), fmt.Sprint(i%10000), value, grid.PutOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	classes(b, func(b *testing.B, g *grid.Grid, class grid.Class) {
		c := cache(b, g, grid.CacheConfig{Name: "digits", Class: class})
		for i := range 1000 {
			if _, err := c.Put(b.Context(), fmt.Sprint(i), value, grid.PutOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		for i := 0; b.Loop(); i++ {
			if _, err := c.Get(b.Context(), fmt.Sprint(i%1000)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPutMade(b *testing.B) {
	for _, size := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			classes(b, func(b *testing.B, g *grid.Grid, class grid.Class) {
				c := cache(b, g, grid.CacheConfig{Name: "digits", Class: class})
				n := 0
				for b.Loop() {
					putBatch(b, c, &n, size)
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "puts/s")
			})
		})
	}
}

// putBatch puts the next size new keys as a pipeline puts results.
func putBatch(b *testing.B, c *grid.Cache, n *int, size int) {
	made := make([]grid.Made, size)
	for i := range made {
		made[i] = grid.Made{Key: fmt.Sprint(*n), Value: value, Reader: "p", Revision: 1}
		*n++
	}
	for _, err := range c.PutMade(b.Context(), made) {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutToListener reports the time from the beginning of a put until its event is read.
func BenchmarkPutToListener(b *testing.B) {
	classes(b, func(b *testing.B, g *grid.Grid, class grid.Class) {
		c := cache(b, g, grid.CacheConfig{Name: "digits", Class: class})
		l, err := c.Listen(b.Context(), grid.ListenOptions{Values: true})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		began := make(chan time.Time)
		go func() {
			defer close(began)
			for i := 0; b.Loop(); i++ {
				began <- time.Now()
				if _, err := c.Put(b.Context(), fmt.Sprint(i%10000), value, grid.PutOptions{}); err != nil {
					b.Error(err)
					return
				}
			}
		}()
		var took []time.Duration
		for at := range began {
			if _, err := l.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(at))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
	})
}

// BenchmarkFlood is the way of the data without the model: puts, a reader that writes a result
// for each, a listener that waits for them all.
func BenchmarkFlood(b *testing.B) {
	const inputs = 50_000
	classes(b, func(b *testing.B, g *grid.Grid, class grid.Class) {
		rounds := 0
		from := cache(b, g, grid.CacheConfig{Name: "digits", Class: class})
		to := cache(b, g, grid.CacheConfig{Name: "predictions", Class: class})
		for b.Loop() {
			flood(b, g, from, to, rounds*inputs, inputs)
			rounds++
		}
		b.ReportMetric(float64(rounds*inputs)/b.Elapsed().Seconds(), "results/s")
	})
}

func flood(b *testing.B, g *grid.Grid, from, to *grid.Cache, first, inputs int) {
	reader, err := g.Read(b.Context(), grid.ReaderConfig{Name: "flood", Cache: from.Name()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := reader.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	}()
	l, err := to.Listen(b.Context(), grid.ListenOptions{Values: true})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	errs := make(chan error, 2)
	go func() { errs <- putAll(b, from, first, inputs) }()
	go func() { errs <- work(b, reader, to, inputs) }()
	for range inputs {
		if _, err := l.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	for range 2 {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

func putAll(b *testing.B, c *grid.Cache, first, count int) error {
	const size = 64
	for at := first; at < first+count; at += size {
		puts := make([]grid.Put, 0, size)
		for i := at; i < min(at+size, first+count); i++ {
			puts = append(puts, grid.Put{Key: fmt.Sprint(i), Value: value})
		}
		if err := putResults(b, c, puts); err != nil {
			return err
		}
	}
	return nil
}

func work(b *testing.B, reader *grid.Reader, to *grid.Cache, count int) error {
	result := bytes.Repeat([]byte("r"), 300)
	for done := 0; done < count; {
		changes, err := reader.Next(b.Context(), 256)
		if err != nil {
			return err
		}
		made := make([]grid.Made, len(changes))
		for i, c := range changes {
			have, err := to.MadeOf(b.Context(), c.Entry.Key)
			if err != nil {
				return err
			}
			made[i] = grid.Made{Key: c.Entry.Key, Value: result, Reader: "flood", Revision: c.Entry.Revision, Expect: have.Sequence}
		}
		for _, err := range to.PutMade(b.Context(), made) {
			if err != nil {
				return err
			}
		}
		reader.Done(changes)
		done += len(changes)
	}
	return nil
}

func putResults(b *testing.B, c *grid.Cache, puts []grid.Put) error {
	results, err := c.PutBatch(b.Context(), puts)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// processorTime is what this process took so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTake is what a new owner of partitions does before it answers: it reads the headers of all messages into the index. A grid of a million keys is read by
// partitions, one at a time and all at a time. The files are in the system's memory, as after a failure of another node they mostly are.
func BenchmarkTake(b *testing.B) {
	const keys = 1_000_000
	for _, partitions := range []int{1, 8} {
		b.Run(fmt.Sprint(partitions, " partitions"), func(b *testing.B) {
			g := open(b, grid.Config{Dir: b.TempDir(), Partitions: partitions})
			c := cache(b, g, grid.CacheConfig{Name: "digits"})
			if err := putAll(b, c, 0, keys); err != nil {
				b.Fatal(err)
			}
			all := make([]int, partitions)
			for i := range all {
				all[i] = i
			}
			for n := 1; n <= partitions; n *= 2 {
				numbers := all[:n]
				b.Run(fmt.Sprint("take ", len(numbers)), func(b *testing.B) {
					var took, cpu []time.Duration
					var indexed uint64
					for b.Loop() {
						grid.Yield(g, numbers...)
						before := heap()
						began, used := time.Now(), processorTime(b)
						if err := grid.Take(b.Context(), g, numbers...); err != nil {
							b.Fatal(err)
						}
						took, cpu = append(took, time.Since(began)), append(cpu, processorTime(b)-used)
						indexed = max(heap(), before) - before
					}
					slices.Sort(took)
					slices.Sort(cpu)
					share := float64(len(numbers)) * keys / float64(partitions)
					b.ReportMetric(took[len(took)/2].Seconds(), "s/take")
					b.ReportMetric(float64(cpu[len(cpu)/2].Nanoseconds())/1e3/share, "cpu-us/key")
					if n == partitions { // of fewer it is lost in what else changes
						b.ReportMetric(float64(indexed)/share, "B/key")
					}
				})
			}
		})
	}
}
