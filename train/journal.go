package train

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/outfile"
)

// ErrRunDir says that a folder is no run's, or has one already. The message says which.
var ErrRunDir = errors.New("not a run's folder")

// A State says how a run stands.
type State string

// The states of a run.
const (
	Running     State = "running" // or ended by a crash
	Done        State = "done"
	Interrupted State = "interrupted" // cut off; it can go on
	Failed      State = "failed"
)

// ModelFile is the trained model in a run's folder.
const ModelFile = "model.onnx"

// What else a run's folder has.
const (
	aboutFile      = "run.json"
	metricsLines   = "metrics.jsonl"
	metricsTable   = "metrics.csv"
	evaluationFile = "evaluation.json"
	checkpointsDir = "checkpoints"
	bestCheckpoint = "best.ckpt"
	bestModel      = "best.onnx"
	worstDir       = "worst"
	checkpointEnd  = ".ckpt"
	runFormat      = 1
)

// About says what a run is and how it stands; it is run.json.
type About struct {
	Format int   `json:"format"`
	State  State `json:"state"`
	// Reason says why it failed.
	Reason   string    `json:"reason,omitempty"`
	Started  time.Time `json:"started"`
	Updated  time.Time `json:"updated"`
	Settings Settings  `json:"settings"`
	// Versions are those of the program's parts: go, engine, platform, and millrace where the caller says it.
	Versions   map[string]string `json:"versions"`
	Data       string            `json:"data"`
	Examples   int               `json:"examples"`
	Kept       int               `json:"kept"` // for validation
	Labels     []string          `json:"labels,omitempty"`
	Regression bool              `json:"regression"`
	Parameters int               `json:"parameters"`
	Epochs     int               `json:"epochs"`
	Steps      int               `json:"steps"`
	// Seconds is the time that was spent, cut off or not.
	Seconds float64 `json:"seconds"`
	Last    *Point  `json:"last,omitempty"`
	Best    *Point  `json:"best,omitempty"`
}

// A Point is a line of a run's metrics: at the end of each epoch, and in between.
type Point struct {
	Step  int     `json:"step"` // updates done
	Epoch int     `json:"epoch"`
	Rate  float64 `json:"learning_rate"`
	// Loss and Accuracy are means over the epoch's training examples so far. A regression has no accuracy.
	Loss     float64  `json:"loss"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	// Evaluation is of the part that is kept, at the end of an epoch: the loss, and the accuracy or a regression's root mean squared error.
	EvalLoss     *float64 `json:"eval_loss,omitempty"`
	EvalAccuracy *float64 `json:"eval_accuracy,omitempty"`
	EvalRMSE     *float64 `json:"eval_rmse,omitempty"`
	Seconds      float64  `json:"seconds"`
}

// better reports whether p is a better model's than q: by accuracy, then by loss.
func (p *Point) better(q *Point) bool {
	switch {
	case q == nil || q.EvalLoss == nil:
		return p.EvalLoss != nil
	case p.EvalLoss == nil:
		return false
	case p.EvalAccuracy != nil && q.EvalAccuracy != nil && *p.EvalAccuracy != *q.EvalAccuracy:
		return *p.EvalAccuracy > *q.EvalAccuracy
	}
	return *p.EvalLoss < *q.EvalLoss
}

// A journal keeps what a run does in its folder. It is the run's goroutine's.
type journal struct {
	dir    string
	about  About
	points []Point
	spent  float64 // seconds before this process
	begin  time.Time
	every  int // steps between points
	kept   int // how many checkpoints are kept
}

// newJournal makes the folder of a new run, or opens that of one that goes on.
func newJournal(dir string, goesOn bool, keep int) (*journal, error) {
	j := &journal{dir: dir, begin: time.Now(), kept: keep}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if goesOn {
			return nil, fmt.Errorf("%w: %s does not exist; leave out --resume to begin it", ErrRunDir, dir)
		}
	case err != nil:
		return nil, fmt.Errorf("run: %w", err)
	case goesOn:
		r, err := OpenRun(dir)
		if err != nil {
			return nil, err
		}
		j.about, j.points, j.spent = r.About, r.Points, r.About.Seconds
		return j, nil
	case len(entries) > 0:
		return nil, fmt.Errorf("%w: %s has files already; name a new folder, or go on with --resume", ErrRunDir, dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, checkpointsDir), 0o777); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	j.about = About{Format: runFormat, State: Running, Started: time.Now().UTC().Truncate(time.Second)}
	return j, nil
}

// describe notes what the run is, when it is known.
func (j *journal) describe(r *run, versions map[string]string, kept int, labels []string) error {
	a := &j.about
	a.State, a.Reason, a.Settings, a.Data = Running, "", r.settings, r.Data
	a.Examples, a.Kept, a.Labels, a.Regression, a.Parameters = r.result.Examples, kept, labels, r.result.Regression, r.result.Parameters
	a.Epochs, a.Steps = r.Epochs, r.Epochs*r.perEpoch
	a.Versions = map[string]string{"go": runtime.Version(), "engine": r.Engine.Name(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	for k, v := range versions {
		a.Versions[k] = v
	}
	j.every = max(1, a.Steps/200)
	return j.writeAbout()
}

func (j *journal) seconds() float64 { return j.spent + time.Since(j.begin).Seconds() }

func (j *journal) writeAbout() error {
	j.about.Updated, j.about.Seconds = time.Now().UTC().Truncate(time.Second), j.seconds()
	return writeJSON(filepath.Join(j.dir, aboutFile), j.about)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return outfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// rewind forgets the points after a step: they are made again.
func (j *journal) rewind(step int) error {
	j.points = slices.DeleteFunc(j.points, func(p Point) bool { return p.Step > step })
	j.about.Last, j.about.Best = nil, nil
	for i := range j.points {
		p := &j.points[i]
		if j.about.Last = p; p.better(j.about.Best) {
			j.about.Best = p
		}
	}
	var lines, table bytes.Buffer
	w := csv.NewWriter(&table)
	err := w.Write(pointColumns)
	for _, p := range j.points {
		text, failed := json.Marshal(p)
		lines.Write(append(text, '\n'))
		err = errors.Join(err, failed, w.Write(p.row()))
	}
	w.Flush()
	write := func(name string, b *bytes.Buffer) error {
		return outfile.Write(filepath.Join(j.dir, name), func(w io.Writer) error {
			_, err := b.WriteTo(w)
			return err
		})
	}
	return errors.Join(err, w.Error(), write(metricsLines, &lines), write(metricsTable, &table))
}

var pointColumns = []string{"step", "epoch", "learning_rate", "loss", "accuracy", "eval_loss", "eval_accuracy", "eval_rmse", "seconds"}

func (p Point) row() []string {
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', 8, 64)
	}
	return []string{strconv.Itoa(p.Step), strconv.Itoa(p.Epoch), number(&p.Rate), number(&p.Loss), number(p.Accuracy), number(p.EvalLoss), number(p.EvalAccuracy), number(p.EvalRMSE),
		strconv.FormatFloat(p.Seconds, 'f', 3, 64)}
}

// add notes a point, and reports whether it is the best one.
func (j *journal) add(p Point) (best bool, err error) {
	p.Seconds = j.seconds()
	j.points = append(j.points, p)
	j.about.Last = &p
	if p.better(j.about.Best) {
		best, j.about.Best = true, &p
	}
	line, err := json.Marshal(p)
	if err != nil {
		return best, fmt.Errorf("run: %w", err)
	}
	var row bytes.Buffer
	w := csv.NewWriter(&row)
	err = w.Write(p.row())
	w.Flush()
	err = errors.Join(err, w.Error(), j.append(metricsLines, append(line, '\n')), j.append(metricsTable, row.Bytes()))
	if p.EvalLoss != nil || err != nil {
		err = errors.Join(err, j.writeAbout())
	}
	return best, err
}

func (j *journal) append(name string, text []byte) error {
	f, err := os.OpenFile(filepath.Join(j.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// checkpoint writes one, and removes the oldest beyond those that are kept.
func (j *journal) checkpoint(c *Checkpoint, best bool) error {
	dir := filepath.Join(j.dir, checkpointsDir)
	if err := c.Save(filepath.Join(dir, fmt.Sprintf("step-%09d%s", c.Steps, checkpointEnd))); err != nil {
		return err
	}
	if best {
		if err := c.Save(filepath.Join(dir, bestCheckpoint)); err != nil {
			return err
		}
	}
	all, err := checkpoints(j.dir)
	if err != nil {
		return err
	}
	for len(all) > j.kept {
		err = errors.Join(err, os.Remove(all[0]))
		all = all[1:]
	}
	return err
}

// checkpoints are a run's by step, the best one's copy apart.
func checkpoints(dir string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(dir, checkpointsDir, "step-*"+checkpointEnd))
	slices.Sort(all)
	return all, err
}

// latest reads the newest checkpoint that is whole, nil where there is none, and says which ones are damaged.
func (j *journal) latest() (newest *Checkpoint, damaged, err error) {
	all, err := checkpoints(j.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range slices.Backward(all) {
		c, err := LoadCheckpoint(path)
		if err == nil {
			return c, damaged, nil
		}
		damaged = errors.Join(damaged, err)
	}
	return nil, nil, damaged
}

// end notes how the run ended.
func (j *journal) end(state State, reason error) error {
	j.about.State = state
	if reason != nil {
		j.about.Reason = reason.Error()
	}
	return j.writeAbout()
}

// model writes the trained model under a name.
func (j *journal) model(r *run, name string) error {
	return outfile.Write(filepath.Join(j.dir, name), func(w io.Writer) error { return onnx.Write(w, r.export()) })
}

// evaluated keeps the last evaluation whole, with the pictures that the model does worst on.
func (j *journal) evaluated(m *Metrics, set *Set) error {
	if err := writeJSON(filepath.Join(j.dir, evaluationFile), m); err != nil {
		return err
	}
	if !set.Picture() || set.table {
		return nil
	}
	dir := filepath.Join(j.dir, worstDir)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777)); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	for i, miss := range m.Worst {
		err := outfile.Write(filepath.Join(dir, fmt.Sprintf("%02d.png", i)), func(w io.Writer) error { return png.Encode(w, set.picture(miss.Example)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// picture is example i of a set of pictures.
func (s *Set) picture(i int) image.Image {
	channels, h, w := s.shape[0], s.shape[1], s.shape[2]
	data := s.bytes[i*s.size : (i+1)*s.size]
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			at := func(c int) uint8 { return data[(min(c, channels-1)*h+y)*w+x] }
			c := color.NRGBA{at(0), at(0), at(0), 255}
			if channels >= 3 {
				c.G, c.B = at(1), at(2)
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

// A RunInfo is what a run's folder says.
type RunInfo struct {
	Dir    string
	About  About
	Points []Point
	// Evaluation is of the last epoch; nil where nothing was kept.
	Evaluation *Metrics
}

// OpenRun reads a run's folder. It returns ErrRunDir for another one.
func OpenRun(dir string) (*RunInfo, error) {
	text, err := os.ReadFile(filepath.Join(dir, aboutFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %s has no %s: %w", ErrRunDir, dir, aboutFile, err)
	}
	r := &RunInfo{Dir: dir}
	if err := json.Unmarshal(text, &r.About); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRunDir, filepath.Join(dir, aboutFile), err)
	}
	if r.About.Format < 1 || r.About.Format > runFormat {
		return nil, fmt.Errorf("%w: %s has format %d, this program knows up to %d", ErrRunDir, filepath.Join(dir, aboutFile), r.About.Format, runFormat)
	}
	if r.Points, err = readPoints(filepath.Join(dir, metricsLines)); err != nil {
		return nil, err
	}
	text, err = os.ReadFile(filepath.Join(dir, evaluationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		r.Evaluation = &Metrics{}
		err = json.Unmarshal(text, r.Evaluation)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRunDir, filepath.Join(dir, evaluationFile), err)
	}
	return r, nil
}

// readPoints reads the lines of metrics. A last one that a crash cut off is left out.
func readPoints(path string) (points []Point, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return points, nil
		}
		if err != nil {
			return nil, fmt.Errorf("run: %w", err)
		}
		var p Point
		if err := json.Unmarshal([]byte(strings.TrimSpace(line)), &p); err != nil {
			return nil, fmt.Errorf("%w: %s, line %d: %w", ErrRunDir, path, number, err)
		}
		points = append(points, p)
	}
}

// Runs reads the runs among a folder's folders, the newest first. One that cannot be read is among the faults.
func Runs(folder string) (runs []*RunInfo, faults []error, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("run: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(folder, e.Name())
		if _, err := os.Stat(filepath.Join(dir, aboutFile)); err != nil {
			continue // no run's
		}
		r, err := OpenRun(dir)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		runs = append(runs, r)
	}
	slices.SortStableFunc(runs, func(a, b *RunInfo) int { return b.About.Started.Compare(a.About.Started) })
	return runs, faults, nil
}

// RemoveRun removes a run's folder with all that is in it. It returns ErrRunDir for another folder.
func RemoveRun(dir string) error {
	if _, err := OpenRun(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}
