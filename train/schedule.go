package train

import (
	"fmt"
	"math"
	"slices"
)

// A Schedule says how the learning rate goes over the steps.
type Schedule string

// The schedules; the progress p goes from 0 at the first step to 1 after the last.
const (
	// Constant keeps the rate.
	Constant Schedule = "constant"
	// Cosine lowers it to zero by (1+cos(pi*p))/2, after rising from zero over the first twentieth of the steps
	// (Loshchilov and Hutter's annealing without restarts).
	Cosine Schedule = "cosine"
	// StepDown divides it by ten at half and at three quarters.
	StepDown Schedule = "step"
	// WarmUp raises it from zero over the first twentieth of the steps, and keeps it.
	WarmUp Schedule = "warmup"
	// OneCycle raises it from a 25th over the first 30 % of the steps, and lowers it to a 250,000th, both by a half period of a cosine (Smith and Topin's
	// super-convergence).
	OneCycle Schedule = "one_cycle"
)

// Schedules lists every Schedule.
var Schedules = []Schedule{Constant, WarmUp, Cosine, OneCycle, StepDown}

func (s Schedule) validate() error {
	if !slices.Contains(Schedules, s) {
		return fmt.Errorf("%q is not one of %v", s, Schedules)
	}
	return nil
}

// Rate returns the learning rate of a step of all, base being the highest.
func (s Schedule) Rate(base float64, step, all int) float64 {
	p := float64(step) / float64(max(all, 1))
	rise := max(all/20, 1)
	switch s {
	case WarmUp:
		return base * min(1, float64(step+1)/float64(rise))
	case OneCycle:
		const start, peak, end = 1.0 / 25, 0.3, 1.0 / 250000
		from, to, part := start, 1.0, p/peak
		if p >= peak {
			from, to, part = 1, end, (p-peak)/(1-peak)
		}
		return base * (to + (from-to)*(1+math.Cos(math.Pi*part))/2)
	case Cosine:
		if step < rise {
			return base * float64(step+1) / float64(rise)
		}
		return base * (1 + math.Cos(math.Pi*float64(step-rise)/float64(max(all-rise, 1)))) / 2
	case StepDown:
		if p >= 0.75 {
			return base / 100
		}
		if p >= 0.5 {
			return base / 10
		}
	}
	return base
}
