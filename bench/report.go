package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Row is one line of the table: what Millrace did, what the peer did in the same run, and the target for the ratio.
type Row struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Peer      string  `json:"peer"`
	PeerValue float64 `json:"peer_value"`
	// Ratio is the median of value/peer_value over the pairs that were measured one after the other.
	Ratio float64 `json:"ratio"`
	// Target is the bound of the ratio (of the value, where there is no peer), 0 for none; AtMost says on which side of it is good.
	Target float64 `json:"target"`
	AtMost bool    `json:"at_most"`
	Met    bool    `json:"met"`
	Note   string  `json:"note,omitempty"`
}

// Report is what a run writes to results.json.
type Report struct {
	Date    string  `json:"date"`
	Machine Machine `json:"machine"`
	Short   bool    `json:"short"`
	Rows    []Row   `json:"rows"`
}

// Machine says where the numbers come from.
type Machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	// Load is the system's load average before the run: a machine that does other things measures those too.
	Load string `json:"load"`
}

func machine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), CPU: "unknown", Load: "unknown"}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(data) {
			if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(data), " ")
	}
	return m
}

// pair is one measurement of each side.
type pair struct{ own, peer float64 }

// row makes a row of pairs: medians of both sides, and the median of the ratios of the pairs.
func row(name, unit, peer string, pairs []pair, target float64, atMost bool) Row {
	var own, other, ratios []float64
	for _, p := range pairs {
		own, other, ratios = append(own, p.own), append(other, p.peer), append(ratios, p.own/p.peer)
	}
	r := Row{Name: name, Unit: unit, Peer: peer, Value: median(own), PeerValue: median(other), Ratio: median(ratios), Target: target, AtMost: atMost}
	r.Met = r.Ratio >= target
	if atMost {
		r.Met = r.Ratio <= target
	}
	return r
}

// alone makes a row without a peer, whose target is for the value itself.
func alone(name, unit string, values []float64, target float64) Row {
	r := Row{Name: name, Unit: unit, Value: median(values), Target: target, AtMost: true}
	r.Met = r.Value <= target
	return r
}

// told makes a row that has neither peer nor target.
func told(name, unit string, values []float64) Row {
	return Row{Name: name, Unit: unit, Value: median(values), Met: true}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (r Row) line() string {
	sign, met := ">=", "missed"
	if r.AtMost {
		sign = "<="
	}
	if r.Met {
		met = "met"
	}
	switch {
	case r.Target == 0 && r.Peer == "":
		return fmt.Sprintf("%-58s %12.4g %-10s", r.Name, r.Value, r.Unit)
	case r.Target == 0:
		return fmt.Sprintf("%-58s %12.4g %-10s %s %.4g, ratio %.3f", r.Name, r.Value, r.Unit, r.Peer, r.PeerValue, r.Ratio)
	}
	if r.Peer == "" {
		return fmt.Sprintf("%-58s %12.4g %-10s target %s %.4g: %s", r.Name, r.Value, r.Unit, sign, r.Target, met)
	}
	if r.Note != "" {
		met += " (" + r.Note + ")"
	}
	return fmt.Sprintf("%-58s %12.4g %-10s %s %.4g, ratio %.3f, target %s %.4g: %s", r.Name, r.Value, r.Unit, r.Peer, r.PeerValue, r.Ratio, sign, r.Target, met)
}

// write puts the report into results.json, and its table into the page between two marks.
func (r Report) write(results, page string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(results, append(data, '\n'), 0o644); err != nil {
		return err
	}
	if page == "" {
		return nil
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	const begin, end = "<!-- table -->\n", "<!-- end of table -->"
	head, rest, ok := strings.Cut(string(old), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table between %q and %q", page, begin, end)
	}
	return os.WriteFile(page, []byte(head+begin+r.table()+end+tail), 0o644)
}

func (r Report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured on %s: %s, %d cores, %s, %s; load average before the run %s.\n\n", r.Date, r.Machine.CPU, r.Machine.Cores, r.Machine.OS, r.Machine.Go, r.Machine.Load)
	b.WriteString("| what | Millrace | peer | ratio | target | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.Rows {
		sign, met := "≥", "missed"
		if row.AtMost {
			sign = "≤"
		}
		if row.Met {
			met = "met"
		}
		if row.Note != "" {
			row.Name += " (" + row.Note + ")"
		}
		peer, ratio, target := "-", "-", fmt.Sprintf("%s %.4g %s", sign, row.Target, row.Unit)
		if row.Peer != "" {
			peer, ratio, target = fmt.Sprintf("%s: %.4g", row.Peer, row.PeerValue), fmt.Sprintf("%.3f", row.Ratio), fmt.Sprintf("%s %.4g", sign, row.Target)
		}
		if row.Target == 0 {
			target, met = "-", ""
		}
		fmt.Fprintf(&b, "| %s | %.4g %s | %s | %s | %s | %s |\n", row.Name, row.Value, row.Unit, peer, ratio, target, met)
	}
	b.WriteString("\n")
	return b.String()
}

// need returns a program's path, or how to get it.
func need(program, pkg string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not here: apt-get install %s", program, pkg)
	}
	return path, nil
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }
