// Package report draws what a training run did: plots as SVG files, and one HTML page that needs nothing else. It reads the run's folder alone, so that a report can be made again.
package report

import (
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/train"
)

// What a report writes into the run's folder.
const (
	Page     = "report.html"
	plotsDir = "plots"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// mostLabels is for how many labels a table of all pairs is drawn.
const mostLabels = 40

// contents are what the page shows.
type contents struct {
	*train.RunInfo
	Name     string
	Facts    [][2]string
	Plots    []template.HTML
	Matrix   []matrixRow // empty where there are too many labels
	Classes  []classRow
	Worst    []worst
	Versions [][2]string
}

type matrixRow struct {
	Label string
	Cells []cell
}

type cell struct {
	Count int
	Style template.CSS
}

type classRow struct {
	Label string
	train.ClassMetrics
}

type worst struct {
	Picture       template.URL // "" where there is none
	Example       int
	Label, Choice string
	Probability   string
}

// Write makes the report of a run's folder anew. It returns train.ErrRunDir for another folder.
func Write(dir string) error {
	r, err := train.OpenRun(dir)
	if err != nil {
		return err
	}
	c := &contents{RunInfo: r, Name: filepath.Base(filepath.Clean(dir)), Facts: facts(r)}
	if err := os.MkdirAll(filepath.Join(dir, plotsDir), 0o777); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, p := range plots(r) {
		svg := p.svg()
		c.Plots = append(c.Plots, svg)
		name := strings.ReplaceAll(strings.ToLower(p.title), " ", "-") + ".svg"
		if err := write(filepath.Join(dir, plotsDir, name), string(svg)); err != nil {
			return err
		}
	}
	if e := r.Evaluation; e != nil && e.Errors == nil {
		c.judge(e)
		if c.Worst, err = misses(r, e); err != nil {
			return err
		}
	}
	for k, v := range r.About.Versions {
		c.Versions = append(c.Versions, [2]string{k, v})
	}
	slices.SortFunc(c.Versions, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	var b strings.Builder
	if err := page.Execute(&b, c); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return write(filepath.Join(dir, Page), b.String())
}

func write(path, text string) error {
	return outfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

func facts(r *train.RunInfo) [][2]string {
	a, s := r.About, r.About.Settings
	list := [][2]string{{"state", string(a.State)}}
	if a.Reason != "" {
		list = append(list, [2]string{"reason", a.Reason})
	}
	list = append(list, [2]string{"started", a.Started.Format(time.RFC3339)}, [2]string{"time spent", time.Duration(a.Seconds * float64(time.Second)).Round(time.Second / 10).String()},
		[2]string{"data", a.Data}, [2]string{"data's digest", s.Data}, [2]string{"examples", fmt.Sprintf("%d to train on, %d kept", a.Examples, a.Kept)},
		[2]string{"net", fmt.Sprintf("%s, %d parameters", s.Arch, a.Parameters)}, [2]string{"optimizer", fmt.Sprintf("%s, learning rate %g, %s", s.Optimizer, s.LearningRate, s.Schedule)},
		[2]string{"batch", fmt.Sprint(s.Batch)}, [2]string{"seed", fmt.Sprint(s.Seed)})
	if last := a.Last; last != nil {
		list = append(list, [2]string{"position", fmt.Sprintf("epoch %d of %d, step %d of %d", last.Epoch, a.Epochs, last.Step, a.Steps)}, [2]string{"last", quality(last)})
	}
	if best := a.Best; best != nil {
		list = append(list, [2]string{"best", fmt.Sprintf("%s, after epoch %d", quality(best), best.Epoch)})
	}
	return list
}

// quality says how good the model was at a point.
func quality(p *train.Point) string {
	switch {
	case p.EvalAccuracy != nil:
		return fmt.Sprintf("%.2f %% right of what was kept, loss %.4g", 100**p.EvalAccuracy, *p.EvalLoss)
	case p.EvalRMSE != nil:
		return fmt.Sprintf("root mean squared error %.4g of what was kept", *p.EvalRMSE)
	}
	return fmt.Sprintf("loss %.4g in training", p.Loss)
}

func plots(r *train.RunInfo) []*plot {
	loss := &plot{title: "Loss", x: "step", y: "loss", series: []series{{name: "training"}, {name: "kept", marks: true}}}
	accuracy := &plot{title: "Accuracy", x: "step", y: "% right", series: []series{{name: "training"}, {name: "kept", marks: true}}}
	errors := &plot{title: "Error", x: "step", y: "root mean squared error", series: []series{{name: "kept", marks: true}}}
	rate := &plot{title: "Learning rate", x: "step", y: "learning rate", series: []series{{}}}
	add := func(p *plot, i int, step int, v *float64, factor float64) {
		if v != nil {
			p.series[i].points = append(p.series[i].points, [2]float64{float64(step), *v * factor})
		}
	}
	for _, p := range r.Points {
		add(loss, 0, p.Step, &p.Loss, 1)
		add(accuracy, 0, p.Step, p.Accuracy, 100)
		add(accuracy, 1, p.Step, p.EvalAccuracy, 100)
		add(errors, 0, p.Step, p.EvalRMSE, 1)
		add(rate, 0, p.Step, &p.Rate, 1)
		if p.EvalRMSE == nil { // a regression's two losses have different units
			add(loss, 1, p.Step, p.EvalLoss, 1)
		}
	}
	list := []*plot{loss, accuracy, rate}
	if r.About.Regression {
		list = []*plot{loss, errors, rate}
		loss.series = loss.series[:1]
	}
	if e := r.Evaluation; e != nil && e.Calibration != nil {
		c := &plot{title: "Calibration", x: "probability of the first choice", y: "share that is right", high: 1, series: []series{
			{name: "as it says", color: "#999", points: [][2]float64{{0, 0}, {1, 1}}}, {name: "as it is", marks: true}}}
		for _, b := range e.Calibration.Bins {
			if b.Examples > 0 {
				c.series[1].points = append(c.series[1].points, [2]float64{b.Confidence, b.Accuracy})
			}
		}
		list = append(list, c)
	}
	return list
}

// judge fills in the tables of a classifier.
func (c *contents) judge(e *train.Metrics) {
	label := labels(c.About.Labels)
	for i, k := range e.Classes {
		c.Classes = append(c.Classes, classRow{label(i), k})
	}
	if len(e.Confusion) > mostLabels {
		return
	}
	for i, counts := range e.Confusion {
		row := matrixRow{Label: label(i)}
		all := 0
		for _, n := range counts {
			all += n
		}
		for k, n := range counts {
			share := float64(n) / float64(max(all, 1))
			hue := "213,94,0" // what is wrong
			if k == i {
				hue = "0,114,178"
			}
			row.Cells = append(row.Cells, cell{n, template.CSS(fmt.Sprintf("background:rgba(%s,%.3f)", hue, share*0.8))})
		}
		c.Matrix = append(c.Matrix, row)
	}
}

func labels(names []string) func(int) string {
	return func(i int) string {
		if i >= 0 && i < len(names) {
			return names[i]
		}
		return fmt.Sprint(i)
	}
}

// misses are the examples that the model does worst on, with their pictures.
func misses(r *train.RunInfo, e *train.Metrics) (list []worst, err error) {
	label := labels(r.About.Labels)
	for i, m := range e.Worst {
		w := worst{Example: m.Example, Label: label(m.Label), Choice: label(m.Choice), Probability: fmt.Sprintf("%.2g", m.Probability)}
		data, err := os.ReadFile(filepath.Join(r.Dir, "worst", fmt.Sprintf("%02d.png", i)))
		switch {
		case err == nil:
			w.Picture = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(data))
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("report: %w", err)
		}
		list = append(list, w)
	}
	return list, nil
}
