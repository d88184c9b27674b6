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
)

// Schedules lists every Schedule.
var Schedules = []Schedule{Constant, Cosine, StepDown}

func (s Schedule) validate() error {
	if !slices.Contains(Schedules, s) {
		return fmt.Errorf("%q is not one of %v", s, Schedules)
	}
	return nil
}

// Rate returns the learning rate of a step of all, base being the highest.
func (s Schedule) Rate(base float64, step, all int) float64 {
	p := float64(step) / float64(max(all, 1))
	switch s {
	case Cosine:
		rise := max(all/20, 1)
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
