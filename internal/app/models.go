package app

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/internal/shipped"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
)

// Builtin begins the path of a model that is in the binary: "builtin:digits".
const Builtin = "builtin:"

// modelFile is what a folder of a version holds.
const modelFile = "model.onnx"

// configured is one version of a model that the configuration names.
type configured struct {
	name    string
	version int64
	path    string // of the file, or builtin:NAME
	config  ModelConfig
}

// findModels lists the versions that the configuration names, with every fault of their paths as fault.Errors.
func findModels(cfg Config) ([]configured, error) {
	var all []configured
	var faults fault.Errors
	for _, name := range slices.Sorted(maps.Keys(cfg.Models)) {
		m := cfg.Models[name]
		versions, err := findVersions(name, string(m.Path))
		if err != nil {
			faults.Add("models."+name+".path", "%v", err)
		}
		for _, v := range versions {
			v.config = m
			all = append(all, v)
		}
	}
	if cfg.ModelRepository == "" {
		return all, faults.Err()
	}
	root := string(cfg.ModelRepository)
	entries, err := os.ReadDir(root)
	if err != nil {
		faults.Add("model_repository", "%v", err)
		return nil, faults
	}
	for _, e := range entries {
		if _, named := cfg.Models[e.Name()]; named || strings.HasPrefix(e.Name(), ".") || !isDir(root, e) {
			continue
		}
		versions, err := findVersions(e.Name(), filepath.Join(root, e.Name()))
		if err != nil {
			faults.Add("model_repository", "%v", err)
		}
		for _, v := range versions {
			v.config = ModelConfig{Engine: cfg.Engine}
			all = append(all, v)
		}
	}
	return all, faults.Err()
}

// isDir follows links, which repositories of models are often made of.
func isDir(root string, e fs.DirEntry) bool {
	info, err := os.Stat(filepath.Join(root, e.Name()))
	return err == nil && info.IsDir()
}

// findVersions returns the versions at a path: a file, or one in the binary, is version 1, and a folder has a folder
// named by its number for each.
func findVersions(name, path string) ([]configured, error) {
	if strings.HasPrefix(path, Builtin) {
		return []configured{{name: name, version: 1, path: path}}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []configured{{name: name, version: 1, path: path}}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var versions []configured
	for _, e := range entries {
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || n < 1 || !isDir(path, e) {
			continue
		}
		file := filepath.Join(path, e.Name(), modelFile)
		if _, err := os.Stat(file); err != nil {
			return nil, err
		}
		versions = append(versions, configured{name: name, version: n, path: file})
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("folder %s has no version: expected %s", path, filepath.Join(path, "1", modelFile))
	}
	return versions, nil
}

// open reads the model.
func (c configured) open() (*model.Model, error) {
	var m *model.Model
	var err error
	if builtin, ok := strings.CutPrefix(c.path, Builtin); ok {
		data, found := shipped.Model(builtin)
		if !found {
			return nil, fmt.Errorf("models.%s.path: there is no model %q in the binary, only %s", c.name, builtin, strings.Join(shipped.Names(), ", "))
		}
		m, err = model.Decode(data)
	} else {
		m, err = model.Open(c.path)
	}
	if err != nil {
		return nil, err
	}
	return m.With(c.name, c.version, c.config.Overrides())
}

// addModels registers what the configuration names and opens the newest version of each. A model that cannot be run
// stops nobody: it is reported, and what needs it waits.
func addModels(ctx context.Context, r *registry.Registry, models []configured, log *slog.Logger) {
	names := map[string]bool{}
	for _, c := range models {
		m, err := c.open()
		if err == nil {
			err = r.Add(m, c.path)
		}
		if err != nil {
			log.Error("model is not served", "model", c.name, "version", c.version, "path", c.path, "error", err)
			continue
		}
		names[c.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		h, err := r.Acquire(ctx, name, 0)
		if err != nil {
			log.Error("model is not served", "model", name, "error", err)
			continue
		}
		h.Release()
	}
}

// opener chooses a model's engine by the configuration.
func opener(cfg Config, engines *Engines) registry.Opener {
	return func(ctx context.Context, m *model.Model) (engine.Session, string, error) {
		settings, ok := cfg.Models[m.Name]
		if !ok {
			settings = ModelConfig{}
		}
		return engines.Open(ctx, m, settings)
	}
}

// lender is a registry as pipelines see it.
type lender struct{ r *registry.Registry }

func (l lender) Acquire(ctx context.Context, name string, version int64) (pipeline.Handle, error) {
	h, err := l.r.Acquire(ctx, name, version)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l lender) Changed() <-chan struct{} { return l.r.Changed() }
