package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/natstest"
)

const metricsDoc = "../../docs/metrics.md"

const metricsDocHead = "# Metrics\n\n" +
	"`GET /metrics` answers in Prometheus's text format. Beside the metrics here it has those of the Go runtime (`go_*`) and of the\n" +
	"process (`process_*`). Times are in seconds and sizes in bytes; a histogram has `_bucket`, `_sum` and `_count`.\n\n" +
	"This page is made of a running node's answer by `make docs`.\n\n" +
	"| name | type | labels | what it is |\n| --- | --- | --- | --- |\n"

// scrape returns what a node answers.
func scrape(t *testing.T, url string) string {
	t.Helper()
	status, body := send(t, "GET", url+"metrics", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	return body
}

// clusterMetrics starts a cluster of two nodes, and returns what one of them answers once its controller has looked at all.
func clusterMetrics(t *testing.T) string {
	t.Helper()
	var listen [2]string
	for i := range listen {
		var err error
		if listen[i], err = natstest.Address(); err != nil {
			t.Fatal(err)
		}
	}
	of := func(c *app.Config, i int) {
		c.Node.Name = fmt.Sprint("n", i)
		c.Cluster.Name, c.Cluster.Listen, c.Cluster.Seeds, c.Cluster.Secret, c.Cluster.Replicas = "metrics", listen[i], []string{listen[1-i]}, "a secret of the tests", 1
	}
	other := app.Defaults()
	other.HTTP.Listen = "127.0.0.1:0"
	other.Node.Data = app.Path(t.TempDir())
	of(&other, 1)
	other.Complete()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, other, "test", slog.New(slog.DiscardHandler), func(*app.Node) {}) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	url := run(t, func(c *app.Config) { of(c, 0) })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		text := scrape(t, url)
		missing := ""
		for _, line := range []string{
			"millrace_cluster_nodes 2", "millrace_cluster_nodes_there 2", `millrace_cluster_rebalancing{state="unknown"} 0`,
			"millrace_cluster_partitions_without_leader 0", "millrace_cluster_replicas_behind 0", "millrace_cluster_replicas_offline 0", "millrace_cluster_moves 0",
		} {
			if !strings.Contains(text, "\n"+line+"\n") {
				missing += line + "\n"
			}
		}
		if missing == "" {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("the metrics of a cluster lack\n%s", missing)
		}
	}
}

// TestMetricsDoc holds docs/metrics.md against what a node alone with a cache and a pipeline, and one of a cluster, answer.
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
	alone := scrape(t, url)
	if strings.Contains(alone, "millrace_cluster_") {
		t.Error("a node alone has metrics of a cluster")
	}
	want := metricsDocHead + strings.Join(metricRows(alone+clusterMetrics(t)), "")
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
