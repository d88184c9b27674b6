// Package bench measures a whole node on this machine: how long a put takes to become a result event, and how many
// results a second come out under load. Comparing it with other systems is left to the module in bench/.
package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/internal/app"
)

// Options say what is measured. The zero value is the whole measurement.
type Options struct {
	// Short takes fewer samples: seconds instead of a minute.
	Short bool
	// Samples is how many puts are timed one at a time, and Keys how many the flood has; 0 takes what Short says.
	Samples, Keys int
	// Engine runs the network: "auto" if empty.
	Engine string
	// EngineOptions are those of the network's sessions.
	EngineOptions engine.Options
	// Dir is where the nodes keep their data; a temporary folder that is removed if empty.
	Dir string
	// Store is what a node has under the name StoreName; nothing if nil.
	Store *app.StoreConfig
}

// A Row is one measured number.
type Row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// sizes are how often things are done.
type sizes struct{ warm, single, flood int }

func (o Options) sizes() sizes {
	s := sizes{warm: 1000, single: 5000, flood: 100_000}
	if o.Short {
		s = sizes{warm: 100, single: 500, flood: 10_000}
	}
	if o.Samples > 0 {
		s.warm, s.single = o.Samples, o.Samples
	}
	if o.Keys > 0 {
		s.flood = o.Keys
	}
	return s
}

// Names of what every node here has.
const (
	// Source and Target are the caches of the node's pipeline.
	Source = "inputs"
	Target = "results"
	// StoreName is that of Options.Store.
	StoreName = "cold"
	pipeline  = "bench"
	network   = "dense"
)

// itemBytes is the size of an input: 28 by 28 bytes.
const itemBytes = 784

// ways are how the load gets into the node.
var ways = []struct {
	name string
	open func(context.Context, *app.Node) (Way, error)
}{
	{"in process", OpenDirect},
	{"loopback", openRemote},
}

// Run measures each class of caches, in the process and over loopback, each on a new node, and yields the rows as they are
// known.
func Run(ctx context.Context, o Options) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, class := range []string{"durable", "volatile"} {
			for _, by := range ways {
				var rows []Row
				err := OnNode(ctx, o, class, func(ctx context.Context, n *app.Node) error {
					w, err := by.open(ctx, n)
					if err != nil {
						return err
					}
					defer w.Close()
					rows, err = both(ctx, w, o.sizes())
					return err
				})
				if err != nil {
					yield(Row{}, fmt.Errorf("measure %s caches, %s: %w", class, by.name, err))
					return
				}
				for _, r := range rows {
					r.Name = class + ", " + by.name + ": " + r.Name
					if !yield(r, nil) {
						return
					}
				}
			}
		}
	}
}

// OnNode calls work with a running node whose caches are of that class.
func OnNode(ctx context.Context, o Options, class string, work func(context.Context, *app.Node) error) (err error) {
	dir, err := os.MkdirTemp(o.Dir, "millrace-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := DenseNet()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, network+".onnx")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	c := app.Defaults()
	c.Node.Data = app.Path(filepath.Join(dir, "data"))
	c.HTTP.Listen = "127.0.0.1:0"
	if o.Engine != "" {
		c.Engine = o.Engine
	}
	c.Models = map[string]app.ModelConfig{network: app.ModelConfig{Path: app.Path(path)}.WithOptions(o.EngineOptions)}
	c.Caches = map[string]app.CacheConfig{Source: {Class: class}, Target: {Class: class}}
	c.Pipelines = map[string]app.PipelineConfig{pipeline: {From: Source, Model: network, To: Target}}
	if o.Store != nil {
		c.Stores = map[string]app.StoreConfig{StoreName: *o.Store}
	}
	c.Complete()
	if err := c.Validate(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// The node runs here and the work beside it, so that either's end ends the other.
	var worked chan error
	ran := app.Run(ctx, c, "", slog.New(slog.DiscardHandler), func(n *app.Node) {
		worked = make(chan error, 1)
		go func() {
			defer stop()
			worked <- work(ctx, n)
		}()
	})
	stop()
	if worked == nil { // it was never ready
		return ran
	}
	err = <-worked
	if errors.Is(ran, context.Canceled) { // that is how the work ends it
		ran = nil
	}
	return errors.Join(err, ran)
}

// both measures latency, then the flood, over one way into the node.
func both(ctx context.Context, w Way, s sizes) ([]Row, error) {
	if _, err := Latencies(ctx, w, s.warm, "warm"); err != nil {
		return nil, err
	}
	times, err := Latencies(ctx, w, s.single, "single")
	if err != nil {
		return nil, err
	}
	took, err := Flood(ctx, w, s.flood)
	if err != nil {
		return nil, err
	}
	return []Row{
		{"put to result event, p50", microseconds(Quantile(times, 0.50)), "us"},
		{"put to result event, p99", microseconds(Quantile(times, 0.99)), "us"},
		{fmt.Sprintf("flood of %d keys", s.flood), float64(s.flood) / took.Seconds(), "results/s"},
	}, nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
