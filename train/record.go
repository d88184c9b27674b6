package train

import (
	"context"
	"errors"
)

// point is what the journal notes of the steps so far.
func (r *run) point(m *meter, epoch int, rate float64) Point {
	progress := m.progress(epoch, r.loop.steps)
	p := Point{Step: r.loop.steps, Epoch: epoch, Rate: rate, Loss: progress.Loss}
	if !r.result.Regression {
		p.Accuracy = &progress.Accuracy
	}
	return p
}

// journalStep notes a step within an epoch, now and then.
func (r *run) journalStep(m *meter, rate float64) error {
	j, steps := r.journal, r.loop.steps
	if steps%j.every == 0 {
		if _, err := j.add(r.point(m, r.loop.epoch+1, rate)); err != nil {
			return err
		}
	}
	if r.CheckpointEvery > 0 && steps%r.CheckpointEvery == 0 {
		return j.checkpoint(r.loop.checkpoint(r.settings), false)
	}
	return nil
}

// journalEpoch notes an epoch that is done, and whether it is the best one.
func (r *run) journalEpoch(m *meter, p Progress) error {
	if r.over {
		return nil
	}
	last := r.point(m, r.loop.epoch, r.schedule.Rate(r.LearningRate, max(r.loop.steps-1, 0), m.steps))
	if e := p.Evaluation; e != nil {
		last.EvalLoss = &e.Loss
		if e.Errors != nil {
			last.EvalRMSE = &e.Errors.RMSE
		} else {
			accuracy := e.Accuracy()
			last.EvalAccuracy = &accuracy
		}
	}
	r.waited++
	if last.better(r.best) {
		r.best, r.waited = &last, 0
	}
	if r.journal == nil {
		return nil
	}
	best, err := r.journal.add(last)
	if err != nil {
		return err
	}
	if best {
		if err := r.journal.model(r, bestModel); err != nil {
			return err
		}
	}
	return r.journal.checkpoint(r.loop.checkpoint(r.settings), best)
}

// journalEnd notes how the run ended, and returns why.
func (r *run) journalEnd(ctx context.Context, why error) error {
	if e := r.result.Evaluation; e != nil {
		why = errors.Join(why, r.journal.evaluated(e, r.evaluator.set))
	}
	switch {
	case why == nil:
		return errors.Join(r.journal.model(r, ModelFile), r.journal.end(Done, nil))
	case ctx.Err() != nil:
		return errors.Join(why, r.journal.end(Interrupted, nil))
	}
	return errors.Join(why, r.journal.end(Failed, why))
}
