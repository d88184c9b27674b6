package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/store/disk"
	"github.com/millrace/millrace/web"
)

// parts are what a node is made of that can be known before it runs.
type parts struct {
	routes *serve.Routes
	gate   *gate
	server *serve.Server
	models []configured
	page   http.Handler
}

// Check returns, as ConfigErrors, everything for which Open would refuse a complete cfg that can be known without running it: what
// Validate finds, and what is wrong with the files that cfg names.
func Check(cfg Config) error {
	_, err := prepare(cfg, slog.New(slog.DiscardHandler))
	return err
}

// prepare is what Open begins with and Check is, so that both say the same.
func prepare(cfg Config, log *slog.Logger) (*parts, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var l fault.Errors
	p := &parts{routes: &serve.Routes{}}
	p.gate = newGate(p.routes)
	var err error
	p.server, err = serve.New(cfg.serve(), p.gate, log)
	l.Take(err, serveKey)
	p.page, err = web.Handler(web.Options{MNIST: string(cfg.HTTP.MNIST), NotFound: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.WriteError(w, r, serve.NoRoute(r))
	})})
	l.Take(err, under("http.mnist"))
	if cfg.Grid.URL == "" {
		l.Take(checkFolder(string(cfg.Node.Data)), under("node.data"))
	}
	for name, s := range cfg.Stores {
		if s.Type == storeDisk {
			err := checkFolder(string(s.Dir))
			if err == nil {
				err = disk.Check(string(s.Dir))
			}
			l.Take(err, under("stores."+name+".dir"))
		}
		for key, file := range map[string]Path{"conf": s.Conf, "keyring": s.Keyring} {
			if file != "" {
				_, err := os.Stat(string(file))
				l.Take(err, under("stores."+name+"."+key))
			}
		}
	}
	for key, file := range map[string]Path{"cert": cfg.Cluster.TLS.Cert, "key": cfg.Cluster.TLS.Key, "ca": cfg.Cluster.TLS.CA} {
		if file != "" {
			_, err := os.Stat(string(file))
			l.Take(err, under("cluster.tls."+key))
		}
	}
	if library := string(cfg.Engines.ONNXRuntime.Library); library != "" {
		_, err := os.Stat(library)
		l.Take(err, under("engines.onnxruntime.library"))
	}
	p.models, err = findModels(cfg, log)
	l.Take(err, func(path string) (string, bool) { return path, true })
	if err := l.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkFolder returns an error where dir is none, and cannot become one because what should hold it is none.
func checkFolder(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s is no folder", at)
		case err == nil, at == filepath.Dir(at):
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return err
		}
	}
}

// Warnings returns what of a checked cfg will not work, though a node starts with it: models that cannot be read, and those that pipelines name and
// that somebody has to push. What was pushed before is in the grid, and is not looked for.
func Warnings(cfg Config) []string {
	models, err := findModels(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, c := range models {
		if _, err := c.open(context.Background()); err != nil {
			what := c.path
			if c.version > 0 {
				what = fmt.Sprintf("version %d", c.version)
			}
			all = append(all, fmt.Sprintf("models.%s: %s will not be served: %v", c.name, what, err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Pipelines)) {
		model := cfg.Pipelines[name].Model
		if !slices.ContainsFunc(models, func(c configured) bool { return c.name == model }) {
			all = append(all, fmt.Sprintf("pipelines.%s.model: no model named %s is configured; it has to be pushed, unless it was (`millrace model push %s FILE`)", name, model, model))
		}
	}
	return all
}
