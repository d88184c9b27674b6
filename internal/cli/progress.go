package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/train"
)

const (
	barWidth = 24
	// lineEvery is the time between lines where there is no terminal to draw a bar on.
	lineEvery = 10 * time.Second
)

// progress shows how training goes: a bar on a terminal, lines elsewhere, JSON for programs.
type progress struct {
	c     *command
	json  bool
	bar   bool
	drawn int // width of the bar that stands on the terminal
	last  time.Time
}

// progressOut is one line of JSON.
type progressOut struct {
	Epoch             int      `json:"epoch"`
	Epochs            int      `json:"epochs"`
	Step              int      `json:"step"`
	Steps             int      `json:"steps"`
	Loss              float64  `json:"loss"`
	Accuracy          *float64 `json:"accuracy,omitempty"`
	ExamplesPerSecond float64  `json:"examples_per_second"`
	RemainingSeconds  float64  `json:"remaining_seconds"`
	EvalLoss          *float64 `json:"eval_loss,omitempty"`
	EvalAccuracy      *float64 `json:"eval_accuracy,omitempty"`
	EvalRMSE          *float64 `json:"eval_rmse,omitempty"`
	EvalR2            *float64 `json:"eval_r2,omitempty"`
}

func (p *progress) report(t train.Progress) {
	epochDone := t.Evaluation != nil || t.Step*t.Epochs == t.Epoch*t.Steps
	switch {
	case p.json:
		p.line(t)
	case epochDone:
		p.clear()
		fmt.Fprintln(p.c.Stderr, epochText(t))
	case p.bar:
		text := barText(t)
		fmt.Fprintf(p.c.Stderr, "\r%-*s", p.drawn, text)
		p.drawn = len([]rune(text))
	case time.Since(p.last) >= lineEvery:
		fmt.Fprintln(p.c.Stderr, epochText(t))
	default:
		return
	}
	p.last = time.Now()
}

func (p *progress) line(t train.Progress) {
	o := progressOut{
		Epoch: t.Epoch, Epochs: t.Epochs, Step: t.Step, Steps: t.Steps, Loss: t.Loss,
		ExamplesPerSecond: t.ExamplesPerSecond, RemainingSeconds: t.Remaining.Seconds(),
	}
	if !t.Regression {
		o.Accuracy = &t.Accuracy
	}
	if e := t.Evaluation; e != nil {
		if o.EvalLoss = &e.Loss; e.Errors != nil {
			o.EvalRMSE, o.EvalR2 = &e.Errors.RMSE, &e.Errors.R2
		} else {
			o.EvalAccuracy = new(e.Accuracy())
		}
	}
	if err := printJSON(p.c.Stdout, o); err != nil {
		p.c.warn(err.Error())
	}
}

// clear takes the bar off the terminal.
func (p *progress) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.c.Stderr, "\r%*s\r", p.drawn, "")
		p.drawn = 0
	}
}

// end leaves the terminal clean, whatever came of training.
func (p *progress) end() { p.clear() }

func barText(t train.Progress) string {
	done := 0
	if t.Steps > 0 {
		done = min(barWidth, barWidth*t.Step/t.Steps)
	}
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("=", done), strings.Repeat(" ", barWidth-done), epochText(t))
}

func epochText(t train.Progress) string {
	text := fmt.Sprintf("epoch %d/%d  loss %.4f  ", t.Epoch, t.Epochs, t.Loss)
	if !t.Regression {
		text += fmt.Sprintf("accuracy %5.2f %%  ", 100*t.Accuracy)
	}
	text += fmt.Sprintf("%.0f examples/s", t.ExamplesPerSecond)
	switch e := t.Evaluation; {
	case e == nil:
	case e.Errors != nil:
		text += "  validation: " + errorsText(*e.Errors)
	default:
		text += fmt.Sprintf("  validation: loss %.4f, accuracy %5.2f %%", e.Loss, 100*e.Accuracy())
	}
	if t.Remaining > 0 {
		text += fmt.Sprintf("  %v left", t.Remaining.Round(time.Second))
	}
	return text
}
