package test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/train"
)

// TestKillTraining kills a run of training at random moments, each time until it was killed once more, and has it go on: it comes to the bits and the metrics of a run in one go.
func TestKillTraining(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data.csv")
	if err := os.WriteFile(data, overlapping(3000), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(ctx context.Context, run string, more ...string) *exec.Cmd {
		args := []string{"train", "--engine", "native", "--data", data, "--header", "yes", "--run", filepath.Join(dir, run), "--checkpoint-every", "7", "--epochs", "20", "--batch", "32", "--seed", "9", "--average", "0.99"}
		return exec.CommandContext(ctx, path, append(args, more...)...)
	}
	begin := time.Now()
	if out, err := command(t.Context(), "whole").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(begin)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; a run takes %v", seed, took)
	random := rand.New(rand.NewPCG(seed, 0))
	for killed, tries := 0, 0; killed < kills; tries++ {
		if tries == 10*kills {
			t.Fatalf("%d kills in %d runs", killed, tries)
		}
		run := fmt.Sprint("run", tries)
		steps, goesOn := []int{}, false
		for killed < kills { // the same run may be killed several times
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Float64()*float64(took)))
			more := []string{}
			if goesOn {
				more = append(more, "--resume")
			}
			out, err := command(ctx, run, more...).CombinedOutput()
			over := ctx.Err() == nil
			cancel()
			if over {
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				break
			}
			if _, err := os.Stat(filepath.Join(dir, run, "run.json")); err != nil {
				continue // killed before there was anything
			}
			killed, goesOn = killed+1, true
			if r, err := train.OpenRun(filepath.Join(dir, run)); err != nil {
				t.Fatal(err)
			} else if len(r.Points) > 0 {
				steps = append(steps, r.Points[len(r.Points)-1].Step)
			}
		}
		if !goesOn {
			continue
		}
		if out, err := command(t.Context(), run, "--resume").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("killed after steps %v", steps)
		for _, name := range []string{train.ModelFile, "best.onnx"} {
			if !bytes.Equal(read(t, dir, "whole", name), read(t, dir, run, name)) {
				t.Errorf("%s: other bits than of a run in one go", name)
			}
		}
		if diff := cmp.Diff(metrics(t, dir, "whole"), metrics(t, dir, run)); diff != "" {
			t.Errorf("metrics of a run in one go, and of one that was killed:\n%s", diff)
		}
	}
}

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// metrics are the lines of a run's table, without the last column, which is the time.
func metrics(t *testing.T, dir, run string) []string {
	t.Helper()
	lines := strings.Split(string(read(t, dir, run, "metrics.csv")), "\n")
	for i, line := range lines {
		lines[i] = line[:max(0, strings.LastIndexByte(line, ','))]
	}
	return lines
}

// overlapping is a table with three classes, of which some rows may be either's.
func overlapping(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString("x,y,z,label\n")
	for i := range n {
		class, r := i%3, random.Float64()
		x, y, z := r+float64(class), r*r-float64(class)/3+random.NormFloat64()/10, random.Float64()
		fmt.Fprintf(&b, "%.4f,%.4f,%.4f,c%d\n", x, y, z, class)
	}
	return b.Bytes()
}
