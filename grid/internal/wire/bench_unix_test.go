//go:build unix

package wire_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid/internal/wire"
)

// Both clients do the same with the same server, one after the other, in one run. Processor time and allocations are those of the whole
// process, the server's too: what counts is the difference. On a machine that does other things, only they mean anything.

const (
	feedMessages = 100_000
	feedSize     = 784
)

// measure is what messages cost between calls of start and stop.
type measure struct {
	count            int
	spent, processor time.Duration
	allocs           uint64
}

func (m *measure) start() { m.add(-1) }

func (m *measure) stop(messages int) {
	m.add(1)
	m.count += messages
}

var origin = time.Now()

func (m *measure) add(sign int64) {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	m.allocs += uint64(sign) * s.Mallocs
	m.processor += time.Duration(sign * (u.Utime.Nano() + u.Stime.Nano()))
	m.spent += time.Duration(sign) * time.Since(origin)
}

func (m *measure) report(b *testing.B) {
	b.ReportMetric(float64(m.spent.Nanoseconds())/float64(m.count), "ns/msg")
	b.ReportMetric(float64(m.processor.Nanoseconds())/float64(m.count), "cpu-ns/msg")
	b.ReportMetric(float64(m.allocs)/float64(m.count), "allocs/msg")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFeed reads a stream from its start by a push consumer without acknowledgement or flow control.
func BenchmarkFeed(b *testing.B) {
	for _, storage := range []jetstream.StorageType{jetstream.FileStorage, jetstream.MemoryStorage} {
		b.Run(storage.String(), func(b *testing.B) {
			srv := serve(b, nil)
			js := stream(b, srv, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Storage: storage})
			fill(b, srv)
			b.Run("nats.go", func(b *testing.B) { benchFeed(b, srv, js, feedByNATS) })
			b.Run("wire", func(b *testing.B) { benchFeed(b, srv, js, feedByWire) })
		})
	}
}

func fill(b *testing.B, srv *server.Server) {
	c := dial(b, srv, nil)
	defer c.Close()
	stored := make(chan struct{}, feedMessages)
	subscribe(b, c, "stored", func(m *wire.Msg) {
		if bytes.Contains(m.Data, []byte(`"seq"`)) {
			stored <- struct{}{}
		}
	})
	value := bytes.Repeat([]byte{7}, feedSize)
	h := wire.Header(nil).Append("Content-Type", "image/png").Append("Millrace-Labels", "a=b")
	var out wire.Batch
	for i := range feedMessages {
		add(b, &out, "s.digits."+strconv.Itoa(i), "stored", h, value)
		if out.Len() == 100 {
			send(b, c, &out)
			for range 100 {
				within(b, stored)
			}
		}
	}
}

func benchFeed(b *testing.B, srv *server.Server, js jetstream.JetStream, subscribe func(testing.TB, *server.Server, string, func(subject string, data []byte)) func()) {
	var m measure
	for n := 0; b.Loop(); n++ {
		inbox := fmt.Sprintf("inbox.%s.%d", b.Name()[len("BenchmarkFeed/"):], n)
		inbox = string(bytes.ReplaceAll([]byte(inbox), []byte("nats.go"), []byte("nats")))
		done := make(chan struct{})
		got, size := 0, 0
		stop := subscribe(b, srv, inbox, func(_ string, data []byte) {
			size += len(data)
			if got++; got == feedMessages {
				close(done)
			}
		})
		runtime.GC()
		m.start()
		c, err := js.CreatePushConsumer(b.Context(), "S", jetstream.ConsumerConfig{
			DeliverSubject: inbox, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: time.Minute,
		})
		if err != nil {
			b.Fatal(err)
		}
		within(b, done)
		m.stop(got)
		if size != feedMessages*feedSize {
			b.Fatalf("%d bytes", size)
		}
		stop()
		if err := js.DeleteConsumer(b.Context(), "S", c.CachedInfo().Name); err != nil {
			b.Fatal(err)
		}
	}
	m.report(b)
}

func feedByNATS(b testing.TB, srv *server.Server, subject string, handle func(string, []byte)) func() {
	nc := other(b, srv)
	sub, err := nc.Subscribe(subject, func(m *nats.Msg) { handle(m.Reply, m.Data) })
	if err != nil {
		b.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		b.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	return nc.Close
}

func feedByWire(b testing.TB, srv *server.Server, subject string, handle func(string, []byte)) func() {
	c := dial(b, srv, nil)
	subscribe(b, c, subject, func(m *wire.Msg) { handle("", m.Data) })
	return c.Close
}

// BenchmarkIngest writes batches as fast ingest, each of which waits for its acknowledgement. A message has 200 bytes and
// three headers, one of them its condition.
func BenchmarkIngest(b *testing.B) {
	for _, storage := range []jetstream.StorageType{jetstream.FileStorage, jetstream.MemoryStorage} {
		for _, size := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", storage, size), func(b *testing.B) {
				// A server each: the second would find a larger stream.
				cfg := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Storage: storage, MaxMsgsPerSubject: 1, AllowBatchPublish: true}
				for name, newIngester := range map[string]func(*testing.B, *server.Server) ingester{"nats.go": ingestByNATS, "wire": ingestByWire} {
					b.Run(name, func(b *testing.B) {
						srv := serve(b, nil)
						stream(b, srv, cfg)
						benchIngest(b, size, newIngester(b, srv))
					})
				}
			})
		}
	}
}

// ingester sends one batch and waits for its acknowledgement.
type ingester func(first, size int)

var keys atomic.Int64 // each key is new

func benchIngest(b *testing.B, size int, ingest ingester) {
	var m measure
	rounds := 0
	runtime.GC()
	m.start()
	for b.Loop() {
		ingest(int(keys.Add(int64(size)))-size, size)
		rounds++
	}
	m.stop(rounds * size)
	m.report(b)
}

var ingested = bytes.Repeat([]byte{7}, 200)

func operation(n, size int) string {
	switch n {
	case size - 1:
		return ".2.$FI"
	case 0:
		return ".0.$FI"
	}
	return ".1.$FI"
}

func ingestByNATS(b *testing.B, srv *server.Server) ingester {
	nc := other(b, srv)
	acks, batch := make(chan struct{}, 1), 0
	if _, err := nc.Subscribe("acks.>", func(m *nats.Msg) { acked(b, m.Data, acks) }); err != nil {
		b.Fatal(err)
	}
	return func(first, size int) {
		batch++
		reply := "acks." + strconv.Itoa(batch) + ".512.ok."
		for n := range size {
			if err := nc.PublishMsg(&nats.Msg{
				Subject: "s.results." + strconv.Itoa(first+n),
				Reply:   reply + strconv.Itoa(n+1) + operation(n, size),
				Header: nats.Header{
					"Nats-Expected-Last-Subject-Sequence": {"0"},
					"Millrace-Source":                     {"17"},
					"Content-Type":                        {"application/json"},
				},
				Data: ingested,
			}); err != nil {
				b.Fatal(err)
			}
		}
		<-acks
	}
}

func ingestByWire(b *testing.B, srv *server.Server) ingester {
	c := dial(b, srv, nil)
	acks, batch := make(chan struct{}, 1), 0
	subscribe(b, c, "acks.>", func(m *wire.Msg) { acked(b, m.Data, acks) })
	var out wire.Batch
	var reply []byte
	var h wire.Header
	return func(first, size int) {
		batch++
		out.Reset()
		for n := range size {
			reply = append(strconv.AppendInt(append(reply[:0], "acks."...), int64(batch), 10), ".512.ok."...)
			reply = append(strconv.AppendInt(reply, int64(n+1), 10), operation(n, size)...)
			h = h[:0].Append("Nats-Expected-Last-Subject-Sequence", "0").Append("Millrace-Source", "17").Append("Content-Type", "application/json")
			if err := out.Publish("s.results."+strconv.Itoa(first+n), reply, h, ingested); err != nil {
				b.Fatal(err)
			}
		}
		if err := c.Send(&out); err != nil {
			b.Fatal(err)
		}
		<-acks
	}
}

// acked takes the answers to a batch: the last one ends it, and a refusal fails the benchmark.
func acked(b *testing.B, data []byte, acks chan<- struct{}) {
	switch {
	case bytes.Contains(data, []byte(`"error"`)):
		b.Errorf("refused: %s", data)
	case bytes.Contains(data, []byte(`"type":`)):
		return // flow control
	}
	acks <- struct{}{}
}

// BenchmarkSenders has goroutines that each send one message and wait for its acknowledgement.
func BenchmarkSenders(b *testing.B) {
	for _, senders := range []int{1, 4, 16} {
		b.Run(strconv.Itoa(senders), func(b *testing.B) {
			srv := serve(b, nil)
			stream(b, srv, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Storage: jetstream.MemoryStorage, MaxMsgsPerSubject: 1})
			b.Run("nats.go", func(b *testing.B) { benchSenders(b, senders, sendersOfNATS(b, srv)) })
			b.Run("wire", func(b *testing.B) { benchSenders(b, senders, sendersOfWire(b, srv)) })
		})
	}
}

// sender makes one goroutine's function that sends a message; acked is called when that is acknowledged.
type sender func(b *testing.B, number int, acked func()) func(subject string)

func benchSenders(b *testing.B, senders int, newSender sender) {
	const each = 200
	var work []func()
	for n := range senders {
		acks := make(chan struct{}, 1)
		send := newSender(b, n, func() { acks <- struct{}{} })
		work = append(work, func() {
			for i := range each {
				send("s." + strconv.Itoa(n) + "." + strconv.Itoa(i))
				<-acks
			}
		})
	}
	var m measure
	rounds := 0
	m.start()
	for b.Loop() {
		var wg sync.WaitGroup
		for _, w := range work {
			wg.Go(w)
		}
		wg.Wait()
		rounds++
	}
	m.stop(rounds * senders * each)
	m.report(b)
}

func sendersOfNATS(b *testing.B, srv *server.Server) sender {
	nc := other(b, srv)
	return func(b *testing.B, number int, acked func()) func(string) {
		inbox := "acks." + strconv.Itoa(number)
		if _, err := nc.Subscribe(inbox, func(*nats.Msg) { acked() }); err != nil {
			b.Fatal(err)
		}
		return func(subject string) {
			if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox, Header: nats.Header{"Content-Type": {"image/png"}}, Data: ingested}); err != nil {
				b.Error(err)
			}
		}
	}
}

func sendersOfWire(b *testing.B, srv *server.Server) sender {
	c := dial(b, srv, nil)
	return func(b *testing.B, number int, acked func()) func(string) {
		inbox := []byte("acks." + strconv.Itoa(number))
		subscribe(b, c, string(inbox), func(*wire.Msg) { acked() })
		var out wire.Batch
		var h wire.Header
		return func(subject string) {
			out.Reset()
			h = h[:0].Append("Content-Type", "image/png")
			if err := out.Publish(subject, inbox, h, ingested); err != nil {
				b.Error(err)
			}
			if err := c.Send(&out); err != nil {
				b.Error(err)
			}
		}
	}
}
