package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve/rest"
)

// The outcomes of applying one thing.
const (
	isCreated   = "created"
	isChanged   = "changed"
	isUnchanged = "unchanged"
)

// A change is what applying does with one thing.
type change struct {
	Kind    string                      `json:"kind"`
	Name    string                      `json:"name"`
	Outcome string                      `json:"outcome"`
	Detail  string                      `json:"detail,omitempty"` // what changes
	where   string                      // in the files
	do      func(context.Context) error // nil where nothing changes
}

// A plan is what has to change for the grid to be as the files say. Making it changes nothing, and finds what the node would refuse.
type plan struct {
	in      *sharedFiles
	client  *client.Client
	changes []change
	wrong   configError
}

func (p *plan) make(ctx context.Context) error {
	for _, part := range []func(context.Context) error{p.caches, p.models, p.pipelines} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if len(p.wrong.faults) > 0 {
		return &p.wrong
	}
	return nil
}

// refused notes what a node says of a thing of the files, and returns what is no fault of theirs.
func (p *plan) refused(path string, err error) error {
	var answer *client.Error
	if errors.As(err, &answer) && answer.Status >= 400 && answer.Status < 500 && answer.Status != 401 && answer.Status != 403 {
		for line := range strings.Lines(answer.Error()) {
			p.wrong.faults = append(p.wrong.faults, located{p.in.where(path), path + ": " + strings.TrimSpace(line)})
		}
		return nil
	}
	return err
}

// has tells whether an answer says that there is something, and what is neither yes nor no.
func has(err error, none string) (bool, error) {
	var answer *client.Error
	if errors.As(err, &answer) && answer.Code == none {
		return false, nil
	}
	return err == nil, err
}

func (p *plan) caches(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(p.in.config.Caches)) {
		path := "caches." + name
		config := p.in.config.Caches[name].Cache(name)
		before, err := p.client.CacheConfig(ctx, name)
		exists, err := has(err, "cache_not_found")
		if err != nil {
			return fmt.Errorf("ask for cache %s: %w", name, err)
		}
		after, err := p.client.SetCache(ctx, config, exists, true)
		if err != nil {
			if err := p.refused(path, err); err != nil {
				return fmt.Errorf("check cache %s: %w", name, err)
			}
			continue
		}
		ch := change{Kind: "cache", Name: name, Outcome: isCreated, where: p.in.where(path)}
		if exists {
			if ch.Detail, err = differences(before, after); err != nil {
				return err
			}
			ch.Outcome = outcomeOf(ch.Detail)
		}
		if ch.Outcome != isUnchanged {
			ch.do = func(ctx context.Context) error {
				_, err := p.client.SetCache(ctx, config, exists, false)
				if free, err := has(err, "cache_exists"); free || err != nil {
					return err
				}
				_, err = p.client.SetCache(ctx, config, true, false) // somebody else made it meanwhile
				return err
			}
		}
		p.changes = append(p.changes, ch)
	}
	return nil
}

func outcomeOf(differences string) string {
	if differences == "" {
		return isUnchanged
	}
	return isChanged
}

func (p *plan) models(ctx context.Context) error {
	files, err := app.ModelFiles(p.in.config)
	if err != nil {
		return p.in.faults(err)
	}
	for i := 0; i < len(files); {
		n := i + 1
		for n < len(files) && files[n].Name == files[i].Name {
			n++
		}
		if err := p.model(ctx, files[i:n]); err != nil {
			return err
		}
		i = n
	}
	return nil
}

// model plans the versions of one model.
func (p *plan) model(ctx context.Context, files []app.ModelFile) error {
	name, path := files[0].Name, "models."+files[0].Name
	have, err := p.client.Model(ctx, name)
	exists, err := has(err, "model_not_found")
	var settings registry.Settings
	if err == nil {
		settings, err = p.client.ModelSettings(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("ask for model %s: %w", name, err)
	}
	ch := change{Kind: "model", Name: name, Outcome: isUnchanged, where: p.in.where(path)}
	var details []string
	var do []func(context.Context) error
	want := files[0].Config.Settings("auto")
	differ, err := differences(settings, want)
	if err != nil {
		return err
	}
	if differ != "" || !exists {
		if exists {
			details = append(details, differ)
		}
		do = append(do, func(ctx context.Context) error { return p.client.ConfigureModel(ctx, name, want) })
	}
	for i, f := range files {
		data, sum, err := f.Read(ctx)
		if err != nil {
			p.wrong.faults = append(p.wrong.faults, located{p.in.where(path + ".path"), fmt.Sprintf("%s.path: %v", path, err)})
			continue
		}
		is := slices.ContainsFunc(have.Versions, func(v client.ModelVersion) bool { return v.Version == f.Version && v.Digest == sum })
		if f.Version == 0 {
			is = len(have.Versions) > 0 && have.Versions[0].Digest == sum
		}
		number := f.Version
		if is {
			if differ == "" || i+1 < len(files) {
				continue
			}
			number = 0 // the newest runs with other settings then: whether it can is asked as of one more version
		}
		if err := p.client.CheckModel(ctx, name, number, data, f.Config.Replace, want); err != nil {
			if err := p.refused(path, err); err != nil {
				return fmt.Errorf("check model %s: %w", name, err)
			}
			continue
		}
		if is {
			continue
		}
		detail := "a new version"
		if f.Version > 0 {
			detail = fmt.Sprintf("version %d", f.Version)
		}
		if have.Pinned {
			detail += fmt.Sprintf(", while version %d goes on serving: it was chosen", have.Serves)
		}
		details = append(details, detail)
		do = append(do, func(ctx context.Context) error { return p.push(ctx, f, sum) })
	}
	if len(do) > 0 {
		ch.Outcome, ch.Detail = isChanged, strings.Join(details, ", ")
		if !exists {
			ch.Outcome, ch.Detail = isCreated, ""
		}
		ch.do = func(ctx context.Context) error {
			for _, step := range do {
				if err := step(ctx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	p.changes = append(p.changes, ch)
	return nil
}

// push sends a version, which is read again: what a plan would hold of large models has no bound.
func (p *plan) push(ctx context.Context, f app.ModelFile, sum string) error {
	data, now, err := f.Read(ctx)
	if err != nil {
		return err
	}
	if now != sum {
		return errors.New("the file has changed since it was checked")
	}
	_, err = p.client.PushModel(ctx, f.Name, f.Version, data, f.Config.Replace)
	return err
}

func (p *plan) pipelines(ctx context.Context) error {
	if len(p.in.config.Pipelines) == 0 {
		return nil
	}
	all, err := p.client.Pipelines(ctx)
	if err != nil {
		return fmt.Errorf("ask for the pipelines: %w", err)
	}
	there := map[string]rest.Pipeline{}
	for _, one := range all {
		if one.Origin != "" {
			there[one.Name] = one
		}
	}
	if err := p.together(there); err != nil {
		return err
	}
	// Those that change go first: what they wrote may be what a new one writes.
	var created []change
	for _, name := range slices.Sorted(maps.Keys(p.in.config.Pipelines)) {
		path := "pipelines." + name
		config := p.in.config.Pipelines[name].Pipeline(name)
		ch := change{Kind: "pipeline", Name: name, Outcome: isCreated, where: p.in.where(path)}
		have, exists := there[name]
		if exists {
			if ch.Detail, err = differences(have.Settings, rest.SettingsOf(config)); err != nil {
				return err
			}
			ch.Outcome = outcomeOf(ch.Detail)
		}
		if ch.Outcome != isUnchanged {
			if have.Origin == string(pipeline.File) {
				p.wrong.faults = append(p.wrong.faults, located{ch.where, fmt.Sprintf("%s: is in the configuration file of the node, which has it otherwise (%s): change it there, or take it out there and restart the node", path, ch.Detail)})
				continue
			}
			ch.do = func(ctx context.Context) error {
				_, err := p.client.PutPipeline(ctx, name, config.Definition())
				return err
			}
		}
		if exists {
			p.changes = append(p.changes, ch)
		} else {
			created = append(created, ch)
		}
	}
	p.changes = append(p.changes, created...)
	return nil
}

// together finds what keeps the pipelines of the files from running beside the others.
func (p *plan) together(there map[string]rest.Pipeline) error {
	var configs []pipeline.Config
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, ours := p.in.config.Pipelines[name]; ours {
			continue
		}
		c, err := there[name].Definition().Config(name)
		if err != nil {
			return fmt.Errorf("read what the node says of pipeline %s: %w", name, err)
		}
		configs = append(configs, c)
	}
	for _, name := range slices.Sorted(maps.Keys(p.in.config.Pipelines)) {
		configs = append(configs, p.in.config.Pipelines[name].Pipeline(name))
	}
	var all fault.Errors
	if err := pipeline.ValidateAll(configs); err != nil && errors.As(err, &all) {
		for _, f := range all {
			f.Path = "pipelines." + f.Path
			p.wrong.faults = append(p.wrong.faults, located{p.in.where(f.Path), f.String()})
		}
	} else if err != nil {
		return err
	}
	return nil
}

// differences tells what has another value in after than in before, by the keys of their JSON; empty where nothing has.
func differences(before, after any) (string, error) {
	var both [2]map[string]any
	for i, v := range []any{before, after} {
		data, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(data, &both[i])
		}
		if err != nil {
			return "", err
		}
	}
	keys := map[string]bool{}
	for _, m := range both {
		for key := range m {
			keys[key] = true
		}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if old, now := both[0][key], both[1][key]; !reflect.DeepEqual(old, now) {
			out = append(out, fmt.Sprintf("%s %s -> %s", key, settingText(old), settingText(now)))
		}
	}
	return strings.Join(out, ", "), nil
}

// settingText is a value of JSON for people, "default" for none.
func settingText(v any) string {
	switch v := v.(type) {
	case nil:
		return "default"
	case string:
		return v
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// reflectConfig is an app.Config to find keys in.
func reflectConfig() reflect.Value { return reflect.ValueOf(app.Config{}) }
