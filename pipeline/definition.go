package pipeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/fault/strictjson"
)

// MaxDefinitionBytes is the size of the largest definition.
const MaxDefinitionBytes = 64 << 10

// A Definition is a pipeline as people write it: the keys of the configuration file, in JSON. What is left out has its default.
type Definition struct {
	From         string   `json:"from,omitempty"`
	Model        string   `json:"model,omitempty"`
	ModelVersion int64    `json:"version,omitempty"` // 0 follows the version that serves
	To           string   `json:"to,omitempty"`
	Errors       string   `json:"errors,omitempty"`
	ErrorsTo     string   `json:"errors_to,omitempty"` // the same, by the name that answers have
	MaxBatch     int      `json:"max_batch,omitempty"`
	Start        string   `json:"start,omitempty"`
	OnRemove     string   `json:"on_remove,omitempty"`
	Top          int      `json:"top,omitempty"`
	Carry        []string `json:"carry,omitempty"`
	RunTimeout   string   `json:"run_timeout,omitempty"` // as 30s or 5m
	MaxLag       string   `json:"max_lag,omitempty"`     // as 10s; empty is no limit
	SharesTarget bool     `json:"shares_target,omitempty"`
	Spread       string   `json:"spread,omitempty"` // empty is auto
}

// ParseDefinition reads one. A key that there is not, that comes twice or in another case is an error that names it. It returns an ErrConfig.
func ParseDefinition(data []byte) (Definition, error) {
	var d Definition
	if len(data) > MaxDefinitionBytes {
		return d, fmt.Errorf("%w: %d bytes are more than the %d that a definition has at most", ErrConfig, len(data), MaxDefinitionBytes)
	}
	err := strictjson.Decode(data, &d)
	var wrong *json.UnmarshalTypeError
	var name *strictjson.NameError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return d, fmt.Errorf("%w: a definition is a JSON object such as {\"from\":\"in\",\"model\":\"m\",\"to\":\"out\"}, not a %s", ErrConfig, wrong.Value)
	case errors.As(err, &wrong):
		return d, fmt.Errorf("%w: %w", ErrConfig, fault.Errors{{Path: wrong.Field, Msg: fmt.Sprintf("a %s is none of its values", wrong.Value)}})
	case errors.As(err, &name):
		return d, fmt.Errorf("%w: %w", ErrConfig, fault.Errors{{Path: name.Name, Msg: name.Msg}})
	case errors.Is(err, io.EOF):
		return d, fmt.Errorf("%w: the definition is empty", ErrConfig)
	case errors.Is(err, strictjson.ErrFollows):
		return d, fmt.Errorf("%w: something comes after the definition's object", ErrConfig)
	case err != nil && strings.HasPrefix(err.Error(), unknownField):
		key := strings.Trim(strings.TrimPrefix(err.Error(), unknownField), `"`)
		return d, fmt.Errorf("%w: %w", ErrConfig, fault.Errors{{Path: key, Msg: "is none of a pipeline's keys, which are " + definitionKeys()}})
	case err != nil:
		return d, fmt.Errorf("%w: the definition is no JSON object: %w", ErrConfig, err)
	}
	if err := checkZeros(data); err != nil {
		return d, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return d, nil
}

// checkZeros refuses what is written as 0 where a Definition has 0 for what is left out: 0 would not do what it says.
func checkZeros(data []byte) error {
	var written struct {
		MaxBatch *int `json:"max_batch"`
		Top      *int `json:"top"`
	}
	if err := json.Unmarshal(data, &written); err != nil {
		return err
	}
	var l fault.Errors
	l.Check(written.MaxBatch == nil || *written.MaxBatch != 0, "max_batch", "0 must be from 1 to %d", MaxBatch)
	l.Check(written.Top == nil || *written.Top != 0, "top", "0 must be from 1 to %d", MaxTop)
	return l.Err()
}

// unknownField begins what encoding/json says of a key that it does not know; it has no error type for that.
const unknownField = "json: unknown field "

// definitionKeys lists the keys of a definition, for people.
func definitionKeys() string {
	t := reflect.TypeFor[Definition]()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return strings.Join(keys, ", ")
}

// Config makes a configuration of a definition, with its defaults, or returns every fault as an ErrConfig.
func (d Definition) Config(name string) (Config, error) {
	c := Config{
		Name: name, From: d.From, Model: d.Model, Version: d.ModelVersion, To: d.To, Errors: cmp.Or(d.Errors, d.ErrorsTo), MaxBatch: d.MaxBatch,
		Start: d.Start, OnRemove: d.OnRemove, Top: d.Top, Carry: d.Carry, SharesTarget: d.SharesTarget,
		Spread: d.Spread,
	}
	var l fault.Errors
	l.Check(d.Errors == "" || d.ErrorsTo == "" || d.Errors == d.ErrorsTo, "errors_to", "%q is not what errors says: write one of them", d.ErrorsTo)
	if d.RunTimeout != "" {
		var err error
		if c.RunTimeout, err = time.ParseDuration(d.RunTimeout); err != nil {
			l.Add("run_timeout", "%q is not a duration such as 500ms, 30s or 5m", d.RunTimeout)
		} else {
			l.Check(c.RunTimeout > 0, "run_timeout", "%q must be more than 0", d.RunTimeout)
		}
	}
	if d.MaxLag != "" {
		var err error
		if c.MaxLag, err = time.ParseDuration(d.MaxLag); err != nil {
			l.Add("max_lag", "%q is not a duration such as 500ms, 30s or 5m", d.MaxLag)
		}
	}
	if len(l) > 0 {
		c.RunTimeout = 0
	}
	l.Take(c.Validate(), func(path string) (string, bool) { return path, true })
	if err := l.Err(); err != nil {
		return c, fmt.Errorf("pipeline %s: %w: %w", name, ErrConfig, err)
	}
	return c.WithDefaults(), nil
}

// Definition is what a configuration says, with its defaults.
func (c Config) Definition() Definition {
	c = c.WithDefaults()
	lag := ""
	if c.MaxLag > 0 {
		lag = c.MaxLag.String()
	}
	spread := c.Spread
	if spread == SpreadAuto { // older programs do not know the key
		spread = ""
	}
	return Definition{
		From: c.From, Model: c.Model, ModelVersion: c.Version, To: c.To, Errors: c.Errors, MaxBatch: c.MaxBatch, Start: c.Start,
		OnRemove: c.OnRemove, Top: c.Top, Carry: c.Carry, RunTimeout: c.RunTimeout.String(), MaxLag: lag, SharesTarget: c.SharesTarget,
		Spread: spread,
	}
}
