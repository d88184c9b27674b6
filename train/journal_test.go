package train_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/train"
)

// names are the files of a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestRunDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "first")
	cfg := config(t, train.MLP)
	cfg.Dir, cfg.CheckpointEvery, cfg.Keep, cfg.Versions = dir, 10, 2, map[string]string{"millrace": "v1"}
	result, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := r.About
	if a.State != train.Done || a.Reason != "" || a.Examples != 500 || a.Kept != 100 || a.Steps != 75 || a.Epochs != 3 || strings.Join(a.Labels, " ") != "lying standing block" ||
		a.Parameters != result.Parameters || a.Versions["millrace"] != "v1" || a.Versions["engine"] != "native" || a.Seconds <= 0 || a.Settings.Batch != 20 {
		t.Errorf("about %+v", a)
	}
	last := r.Points[len(r.Points)-1]
	if last.Step != 75 || last.Epoch != 3 || last.EvalAccuracy == nil || *last.EvalAccuracy != result.Evaluation.Accuracy() || *a.Last.EvalLoss != result.Evaluation.Loss {
		t.Errorf("the last point is %+v", last)
	}
	for i, p := range r.Points {
		if i > 0 && p.Step <= r.Points[i-1].Step {
			t.Errorf("step %d after %d", p.Step, r.Points[i-1].Step)
		}
		if better := p.EvalAccuracy; better != nil && *better > *a.Best.EvalAccuracy {
			t.Errorf("step %d is better than the best", p.Step)
		}
	}
	if got := names(t, filepath.Join(dir, "checkpoints")); got != "best.ckpt step-000000070.ckpt step-000000075.ckpt" {
		t.Errorf("checkpoints %s", got)
	}
	if got := names(t, filepath.Join(dir, "worst")); !strings.HasPrefix(got, "00.png 01.png") {
		t.Errorf("worst examples %s", got)
	}
	if e := r.Evaluation; e == nil || e.Correct != result.Evaluation.Correct || len(e.Classes) != 3 || len(e.Worst) == 0 {
		t.Errorf("evaluation %+v", e)
	}
	f, err := os.Open(filepath.Join(dir, "metrics.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	if err != nil || len(table) != len(r.Points)+1 {
		t.Errorf("the table has %d rows for %d points: %v", len(table), len(r.Points), err)
	}
	written, err := os.ReadFile(filepath.Join(dir, train.ModelFile))
	if err != nil || !bytes.Equal(written, file(t, result)) {
		t.Errorf("the folder's model is another one: %v", err)
	}
	if _, err := onnx.Open(filepath.Join(dir, "best.onnx")); err != nil {
		t.Error(err)
	}

	// A folder with something in it is nobody's to write to.
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, train.ErrRunDir) {
		t.Errorf("a second run in the folder: %v", err)
	}
	runs, faults, err := train.Runs(filepath.Dir(dir))
	if err != nil || len(runs) != 1 || len(faults) != 0 || runs[0].Dir != dir {
		t.Errorf("runs %v, %v, %v", runs, faults, err)
	}
	if err := train.RemoveRun(filepath.Dir(dir)); !errors.Is(err, train.ErrRunDir) {
		t.Errorf("a folder of runs is taken for a run: %v", err)
	}
	if err := train.RemoveRun(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestRunDirResume cuts a run off twice and damages its newest checkpoint: it goes on to the bits of a run in one go, and its metrics are that one's.
func TestRunDirResume(t *testing.T) {
	cfg := config(t, train.MLP)
	dir := t.TempDir()
	cfg.Dir = filepath.Join(dir, "whole")
	whole, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.CheckpointEvery = filepath.Join(dir, "run"), 7
	for i, at := range []int{20, 30} {
		ctx, cancel := context.WithCancel(t.Context())
		one := cfg
		one.Resume = i > 0
		one.Engine = cutter{cfg.Engine, cancel, at}
		if _, err := train.Run(ctx, one); !errors.Is(err, context.Canceled) {
			t.Fatalf("a run that was cut off: %v", err)
		}
		cancel()
		if r, err := train.OpenRun(cfg.Dir); err != nil || r.About.State != train.Interrupted {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	all, err := filepath.Glob(filepath.Join(cfg.Dir, "checkpoints", "step-*"))
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	if err := os.Truncate(all[len(all)-1], 100); err != nil {
		t.Fatal(err)
	}
	cfg.Resume = true
	resumed, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file(t, resumed), file(t, whole)) {
		t.Error("a run that went on gives other bits than one in one go")
	}
	r, err := train.OpenRun(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	inOneGo, err := train.OpenRun(filepath.Join(dir, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	for _, points := range [][]train.Point{r.Points, inOneGo.Points} {
		for i := range points {
			points[i].Seconds = 0
		}
	}
	if diff := cmp.Diff(inOneGo.Points, r.Points); diff != "" {
		t.Errorf("metrics of a run in one go, and of this one:\n%s", diff)
	}
	if r.About.State != train.Done || r.Points[len(r.Points)-1].Step != 75 {
		t.Errorf("%+v", r.About)
	}
	// Going on with a run that is done changes nothing.
	again, err := train.Run(t.Context(), cfg)
	if err != nil || !bytes.Equal(file(t, again), file(t, whole)) {
		t.Errorf("a run that was done: %v", err)
	}
}

// TestPatience ends a run that comes to nothing better, and a failure is told in the folder.
func TestPatience(t *testing.T) {
	cfg := config(t, train.MLP)
	cfg.Dir, cfg.Epochs, cfg.Patience, cfg.Optimizer, cfg.LearningRate, cfg.Schedule = filepath.Join(t.TempDir(), "run"), 50, 2, "sgd", 1e-12, "constant"
	r, err := train.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Steps != 75 {
		t.Errorf("%d steps; after the first epoch nothing is better, so that the third is the last", r.Steps)
	}
	cfg.Dir, cfg.LearningRate = filepath.Join(t.TempDir(), "run"), 1e5
	if _, err := train.Run(t.Context(), cfg); err == nil {
		t.Fatal("a rate of 100,000 does no harm")
	}
	info, err := train.OpenRun(cfg.Dir)
	if err != nil || info.About.State != train.Failed || !strings.Contains(info.About.Reason, "a lower learning rate may help") {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestRunDirFaults reads folders that are damaged.
func TestRunDirFaults(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good")
	cfg := config(t, train.MLP)
	cfg.Dir, cfg.Epochs = good, 1
	if _, err := train.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(good, "metrics.jsonl")
	text, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := train.OpenRun(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(cut, text[:len(text)-5]) // as a crash leaves it
	if r, err := train.OpenRun(good); err != nil || len(r.Points) != len(whole.Points)-1 {
		t.Errorf("a line that was cut off: %v", err)
	}
	write(cut, append([]byte("no JSON\n"), text...))
	if _, err := train.OpenRun(good); !errors.Is(err, train.ErrRunDir) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a bad line: %v", err)
	}
	write(cut, text)
	for _, about := range []string{"", "{}", `{"format": 99}`, "["} {
		write(filepath.Join(good, "run.json"), []byte(about))
		if _, err := train.OpenRun(good); !errors.Is(err, train.ErrRunDir) {
			t.Errorf("run.json with %q: %v", about, err)
		}
	}
	if _, err := train.OpenRun(t.TempDir()); !errors.Is(err, train.ErrRunDir) {
		t.Errorf("an empty folder: %v", err)
	}
	runs, faults, err := train.Runs(filepath.Dir(good))
	if err != nil || len(runs) != 0 || len(faults) != 1 {
		t.Errorf("%d runs, faults %v, %v", len(runs), faults, err)
	}
	cfg.Dir, cfg.Resume = filepath.Join(t.TempDir(), "never"), true
	if _, err := train.Run(t.Context(), cfg); !errors.Is(err, train.ErrRunDir) || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("to go on with a run that never was: %v", err)
	}
}
