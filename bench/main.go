// Command bench measures Millrace against peers on this machine, both in the same run: whole pipelines against Redis
// Streams, the same over REST against it in the process, the cache against Redis, a cluster against plain JetStream, caches that are larger than their memory against those that are not and against
// librados, inference over HTTP against nginx, the engines against onnxruntime, and
// networks that were converted against those made by hand. Measuring Millrace alone is left to `millrace bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/internal/outfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the rows need to know.
type options struct {
	short bool
	// rounds is how many pairs are measured; the table has their median.
	rounds int
	// longer makes rounds longer.
	longer bool
	// library is onnxruntime's, empty where it is not here.
	library string
	// device is the one of the gpu suite, and python a program that has PyTorch, empty for none.
	device, python string
}

// suite is a set of rows that are measured together.
type suite struct {
	name string
	run  func(context.Context, options) ([]Row, error)
}

func suites() []suite {
	return []suite{
		{"pipeline", pipelineRows}, {"rest", restRows}, {"list", listRows}, {"cache", cacheRows}, {"cold", coldRows}, {"ceph", cephRows}, {"oip", inferRows},
		{"cluster", clusterRows}, {"join", clusterJoinRows}, {"engine", engineRows}, {"convert", convertRows}, {"train", trainRows}, {"start", startRows}, {"scale", scaleRows}, {"gpu", gpuRows},
	}
}

func run(ctx context.Context) error {
	short := flag.Bool("short", false, "fewer and smaller measurements: under three minutes")
	only := flag.String("only", "", "suites to run, separated by commas: pipeline, rest, list, cache, cold, ceph, oip, cluster, join, engine, convert, train, start, scale; and gpu, which runs only when it is named")
	device := flag.String("device", "", "the gpu suite's device, such as cuda:0")
	python := flag.String("python", "", "a Python that has PyTorch, which the gpu suite is compared with")
	results := flag.String("out", "results.json", "file for the results")
	page := flag.String("page", "", "page whose table is written anew")
	worker := flag.String("redis-worker", "", "run as the Redis side's worker for this server (used by the program itself)")
	path := flag.String("model", "", "the worker's model")
	flag.Parse()
	if *worker != "" {
		return runWorker(ctx, *worker, *path, engine.Engine(native.New(native.Config{})))
	}
	// What keeps the results from being written is found before everything is measured.
	for _, name := range []string{*results, *page} {
		if name == "" {
			continue
		}
		if err := outfile.Check(name); err != nil {
			return err
		}
	}
	o := options{short: *short, rounds: 5, library: os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), device: *device, python: *python}
	if o.short {
		o.rounds = 3
	}
	report := Report{Date: today(), Machine: machine(), Short: *short}
	var faults []error
	for _, s := range suites() {
		named := strings.Contains(","+*only+",", ","+s.name+",")
		if *only != "" && !named || s.name == "gpu" && !named {
			continue
		}
		rows, err := s.run(ctx, o)
		for _, r := range rows {
			fmt.Println(r.line())
		}
		report.Rows = append(report.Rows, rows...)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.name, err))
			fmt.Fprintln(os.Stderr, "bench:", faults[len(faults)-1])
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(append(faults, report.write(*results, *page))...)
}
