package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/millrace/millrace/grid"
)

// Where a new pipeline begins, and what it does with the result of an entry that was removed.
const (
	StartAll     = "all"
	StartNew     = "new"
	RemoveResult = "remove"
	KeepResult   = "keep"
)

// Limits of a configuration.
const (
	// DefaultBatch is the batch size where the configuration has none, and MaxBatch the largest.
	DefaultBatch = 256
	MaxBatch     = 4096
	// DefaultTop is how many scores a result has at most.
	DefaultTop = 20
)

// Config describes a pipeline.
type Config struct {
	Name string
	// From is the cache that is read, To the one that is written, Errors the one for inputs that cannot be
	// processed ("<Name>-errors" if empty).
	From, To, Errors string
	// Model is the model's name and Version a fixed version of it; 0 follows the newest.
	Model   string
	Version int64
	// MaxBatch is how many entries run together at most; DefaultBatch if 0.
	MaxBatch int
	// Start is StartAll (if empty) or StartNew.
	Start string
	// OnRemove is RemoveResult (if empty) or KeepResult.
	OnRemove string
	// Top is how many scores a result has where the model has more labels; DefaultTop if 0.
	Top    int
	Logger *slog.Logger
}

// ErrConfig says that a configuration cannot be used; the message has every fault.
var ErrConfig = errors.New("pipeline configuration is not valid")

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// WithDefaults fills in what is left out.
func (c Config) WithDefaults() Config {
	if c.Errors == "" {
		c.Errors = c.Name + "-errors"
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = DefaultBatch
	}
	if c.Start == "" {
		c.Start = StartAll
	}
	if c.OnRemove == "" {
		c.OnRemove = RemoveResult
	}
	if c.Top == 0 {
		c.Top = DefaultTop
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports every fault of a configuration with its defaults at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !nameRule.MatchString(c.Name) {
		fault("name %q does not match %s", c.Name, nameRule)
	}
	for what, cache := range map[string]string{"from": c.From, "to": c.To, "errors": c.Errors} {
		if !nameRule.MatchString(cache) {
			fault("%s: cache name %q does not match %s", what, cache, nameRule)
		}
	}
	if c.From == c.To || c.From == c.Errors || c.To == c.Errors {
		fault("from (%s), to (%s) and errors (%s) must be three caches", c.From, c.To, c.Errors)
	}
	if c.Model == "" {
		fault("model is missing")
	}
	if c.Version < 0 {
		fault("version %d is negative", c.Version)
	}
	if c.MaxBatch < 1 || c.MaxBatch > MaxBatch {
		fault("max batch %d is not from 1 to %d", c.MaxBatch, MaxBatch)
	}
	if c.Start != StartAll && c.Start != StartNew {
		fault("start %q is neither %s nor %s", c.Start, StartAll, StartNew)
	}
	if c.OnRemove != RemoveResult && c.OnRemove != KeepResult {
		fault("on_remove %q is neither %s nor %s", c.OnRemove, RemoveResult, KeepResult)
	}
	if c.Top < 1 {
		fault("top %d is not a positive number", c.Top)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("pipeline %s: %w: %w", c.Name, ErrConfig, errors.Join(faults...))
}

func (c Config) start() grid.Start {
	if c.Start == StartNew {
		return grid.StartNew
	}
	return grid.StartAll
}
