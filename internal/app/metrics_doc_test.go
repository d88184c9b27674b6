package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/app"
)

const metricsDoc = "../../docs/metrics.md"

const metricsDocHead = "# Metrics\n\n" +
	"`GET /metrics` answers in Prometheus's text format. Beside the metrics here it has those of the Go runtime (`go_*`) and of the\n" +
	"process (`process_*`). Times are in seconds and sizes in bytes; a histogram has `_bucket`, `_sum` and `_count`.\n\n" +
	"This page is made of a running node's answer by `make docs`.\n\n" +
	"| name | type | labels | what it is |\n| --- | --- | --- | --- |\n"

// TestMetricsDoc holds docs/metrics.md against what a node with a cache and a pipeline answers.
func TestMetricsDoc(t *testing.T) {
	c := app.Defaults()
	c.HTTP.Listen = "127.0.0.1:0"
	c.Node.Data = app.Path(t.TempDir())
	c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
	c.Stores = map[string]app.StoreConfig{"cold": {Type: "disk", Dir: app.Path(t.TempDir())}}
	c.Caches = map[string]app.CacheConfig{"digits": {MaxEntries: 10, Store: "cold", Near: app.NearConfig{MaxEntries: 10}}}
	c.Pipelines = map[string]app.PipelineConfig{"classify": {From: "digits", Model: "digits", To: "predictions"}}
	c.Complete()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- app.Run(ctx, c, "test", slog.New(slog.DiscardHandler), func(n *app.Node) { ready <- n.URL() })
	}()
	var url string
	select {
	case url = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	resp, err := http.Get(url + "metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := metricsDocHead + strings.Join(metricRows(string(body)), "")
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not what a node answers; run `make docs` (-want +got):\n%s", diff)
	}
	if strings.Count(want, "\n") < 20 {
		t.Errorf("the node has few metrics:\n%s", want)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// metricRows makes a table row of each of our metrics in Prometheus's text format.
func metricRows(text string) []string {
	help, kind := map[string]string{}, map[string]string{}
	labels := map[string]map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if words := strings.SplitN(line, " ", 4); len(words) == 4 && words[0] == "#" {
			if words[1] == "HELP" {
				help[words[2]] = words[3]
			} else {
				kind[words[2]] = words[3]
			}
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); kind[base] == "histogram" {
				name = base
			}
		}
		inner, _, _ := strings.Cut(rest, "}")
		for pair := range strings.SplitSeq(inner, ",") {
			if label, _, ok := strings.Cut(pair, "="); ok && label != "le" {
				if labels[name] == nil {
					labels[name] = map[string]bool{}
				}
				labels[name]["`"+label+"`"] = true
			}
		}
	}
	var rows []string
	for name := range help {
		if !strings.HasPrefix(name, "millrace_") {
			continue
		}
		var ls []string
		for l := range labels[name] {
			ls = append(ls, l)
		}
		slices.Sort(ls)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, kind[name], strings.Join(ls, ", "), help[name]))
	}
	slices.Sort(rows)
	return rows
}
