package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// result is what is printed of a fault, over all times that it was made.
type result struct {
	Fault        string `json:"fault"`
	What         string `json:"what"`
	Times        int    `json:"times"`
	Failures     int    `json:"failures"` // times that something did not hold
	Operations   int    `json:"operations"`
	Acknowledged int    `json:"acknowledged"`
	Failed       int    `json:"failed"`  // the node said so
	Unknown      int    `json:"unknown"` // no answer came
	Histories    int    `json:"histories"`
	Lost         int    `json:"lost"`
	Duplicates   int    `json:"duplicates"`
	Regressions  int    `json:"regressions"`
	WriteGapMS   int64  `json:"write_gap_ms"`
	ReadGapMS    int64  `json:"read_gap_ms"`
	WholeMS      int64  `json:"whole_ms"`
}

func acknowledged(ops []*op) (n int) {
	for _, o := range ops {
		if o.answered() {
			n++
		}
	}
	return n
}

func (r *result) add(ops []*op, v *verdict, write, read, whole time.Duration) {
	r.Operations += len(ops)
	r.Acknowledged += acknowledged(ops)
	for _, o := range ops {
		switch o.Outcome {
		case failed:
			r.Failed++
		case unknown, unsent:
			r.Unknown++
		}
	}
	r.Histories += v.Keys
	r.Lost += v.Lost
	r.Duplicates += v.Duplicates
	r.Regressions += v.Regressions
	r.WriteGapMS = max(r.WriteGapMS, write.Milliseconds())
	r.ReadGapMS = max(r.ReadGapMS, read.Milliseconds())
	r.WholeMS = max(r.WholeMS, whole.Milliseconds())
}

func (r *result) String() string {
	return fmt.Sprintf("%s, %d times: %d operations, %d acknowledged, %d failed, %d without an answer; lost %d, duplicated results %d, regressions %d; longest write gap %.1f s, longest read gap %.1f s; whole again after %.1f s; %d times something did not hold",
		r.Fault, r.Times, r.Operations, r.Acknowledged, r.Failed, r.Unknown, r.Lost, r.Duplicates, r.Regressions, seconds(r.WriteGapMS), seconds(r.ReadGapMS), seconds(r.WholeMS), r.Failures)
}

func seconds(ms int64) float64 { return float64(ms) / 1000 }

// report is what faults.json has.
type report struct {
	Form       string    `json:"form"`
	Date       string    `json:"date"`
	Commit     string    `json:"commit"`
	Go         string    `json:"go"`
	Processors int       `json:"processors"`
	Seed       uint64    `json:"seed"`
	Faults     []*result `json:"faults"`
}

// newReport is the report of a run that begins now.
func newReport(form string, seed uint64) (*report, error) {
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return nil, fmt.Errorf("git rev-parse: %w", err)
	}
	return &report{
		Form: form, Date: time.Now().UTC().Format(time.DateOnly), Commit: strings.TrimSpace(string(commit)), Go: runtime.Version(), Processors: runtime.NumCPU(), Seed: seed,
	}, nil
}

// write writes the numbers, as faults.json, and a table of them, as faults.md, to a folder.
func (r *report) write(dir string) error {
	list, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Made by `FAULTS=%s make faults` on %s at commit %s, %s, %d processors.\n\n", r.Form, r.Date, r.Commit, r.Go, r.Processors)
	b.WriteString("| fault | times | operations | acknowledged | lost | duplicated results | regressions | longest write gap | longest read gap | whole again after | failed checks |\n")
	b.WriteString("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n")
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "| %s: %s | %d | %d | %d | %d | %d | %d | %.1f s | %.1f s | %.1f s | %d |\n", f.Fault, f.What, f.Times, f.Operations, f.Acknowledged,
			f.Lost, f.Duplicates, f.Regressions, seconds(f.WriteGapMS), seconds(f.ReadGapMS), seconds(f.WholeMS), f.Failures)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "faults.json"), append(list, '\n'), 0o600),
		os.WriteFile(filepath.Join(dir, "faults.md"), []byte(b.String()), 0o600))
}
