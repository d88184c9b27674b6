package app

import (
	"encoding/json"

	"github.com/millrace/millrace/media"
)

// Overrides returns what replaces the file's metadata, by names without the prefix.
func (m ModelConfig) Overrides() map[string]string {
	o := map[string]string{}
	if m.Labels != nil {
		o["labels"] = jsonText(m.Labels)
	}
	if m.Scale != nil {
		o["scale"] = jsonText(*m.Scale)
	}
	if m.Mean != nil {
		o["mean"] = jsonText(m.Mean)
	}
	if m.Std != nil {
		o["std"] = jsonText(m.Std)
	}
	if m.Columns != nil {
		columns := make([]media.Column, len(m.Columns))
		for i, name := range m.Columns {
			columns[i] = media.Column{Name: name, Type: media.NumberColumn}
		}
		o["columns"] = jsonText(columns)
	}
	if m.Ignored != nil {
		o["ignored"] = jsonText(m.Ignored)
	}
	for name, word := range map[string]string{
		"invert": m.Invert, "layout": m.Layout, "centre": m.Centre, "orientation": m.Orientation, "output": m.Output,
		"task": m.Task, "target": m.Target, "unit": m.Unit,
	} {
		if word != "" {
			o[name] = word
		}
	}
	return o
}

// jsonText writes strings and finite numbers, which cannot fail; Validate refuses others.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
