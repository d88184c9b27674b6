package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

func (c *command) apply() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Bring the caches, models and pipelines of files into the grid, for all nodes",
		Long: `Brings what files say of caches, models and pipelines into the grid, which every node has from then on, and after a restart. The files are written as a
node's configuration is (docs/config.md), with these three sections: one can be moved over as it is. What a file leaves out of a cache or a pipeline has its
default, and what is in no file stays as it is. A model's newest version is then the one of its file, with the settings of its section.

Everything is checked first, on the node too: where a file is wrong nothing changes. Applying a file again changes nothing. ` + remoteHelp,
		Example: "  millrace apply -f grid.yaml\n  millrace apply -f caches.yaml -f pipelines.yaml --dry-run\n  millrace apply -f - < grid.yaml",
		GroupID: "client",
		Args:    args(),
	}
	files := cmd.Flags().StringArrayP("file", "f", nil, "YAML `file` to apply, - for the standard input; may be given several times")
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would change, and change nothing")
	asJSON := jsonFlag(cmd)
	open := opener(c.remote(cmd))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(*files) == 0 {
			return usagef("%s: --file is missing: what is to be applied?", cmd.CommandPath())
		}
		in, err := c.readShared(*files)
		if err != nil {
			return err
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		p := &plan{in: in, client: cl}
		if err := p.make(cmd.Context()); err != nil {
			return err
		}
		return c.carryOut(cmd.Context(), p.changes, *dryRun, *asJSON)
	}
	return cmd
}

// carryOut does what a plan says, and tells of each thing when it is done.
func (c *command) carryOut(ctx context.Context, changes []change, dryRun, asJSON bool) error {
	for i, ch := range changes {
		outcome := ch.Outcome
		if ch.do != nil && !dryRun {
			if err := ch.do(ctx); err != nil {
				return fmt.Errorf("%s: %s %s: %w (%d of %d are applied; apply the rest again)", ch.where, ch.Kind, ch.Name, err, i, len(changes))
			}
		}
		if asJSON {
			if err := printJSON(c.Stdout, struct {
				change
				DryRun bool `json:"dry_run"`
			}{ch, dryRun}); err != nil {
				return err
			}
			continue
		}
		if dryRun && ch.do != nil {
			outcome = "would be " + outcome
		}
		if ch.Detail != "" {
			outcome += ": " + ch.Detail
		}
		if _, err := fmt.Fprintf(c.Stdout, "%s %s %s\n", ch.Kind, ch.Name, outcome); err != nil {
			return err
		}
	}
	return nil
}

// sharedFiles are what is to be applied.
type sharedFiles struct {
	config app.Config
	places map[string]string // file:line:column of each key, by its path
}

// where is the place of a key, or of the nearest one around it.
func (s *sharedFiles) where(path string) string {
	for path != "" {
		if p, ok := s.places[path]; ok {
			return p
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return ""
}

// faults makes faults of a configuration an error that says where each is.
func (s *sharedFiles) faults(err error) error {
	var all app.ConfigErrors
	if err == nil || !errors.As(err, &all) {
		return err
	}
	out := &configError{}
	for _, f := range all {
		out.faults = append(out.faults, located{s.where(f.Path), f.String()})
	}
	return out
}

// readShared reads files, and refuses all where one is wrong.
func (c *command) readShared(files []string) (*sharedFiles, error) {
	s := &sharedFiles{places: map[string]string{}}
	wrong := &configError{}
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			return nil, usagef("--file %s is given twice", file)
		}
		data, err := c.readSharedFile(file)
		if err != nil {
			return nil, &configError{[]located{{"", err.Error()}}}
		}
		name := file
		if file == "-" {
			name = "standard input"
		}
		wrong.faults = append(wrong.faults, s.add(name, file, data)...)
	}
	if len(wrong.faults) > 0 {
		return nil, wrong
	}
	if len(s.config.Caches)+len(s.config.Models)+len(s.config.Pipelines) == 0 {
		return nil, &configError{[]located{{strings.Join(files, ", "), "there is nothing to apply: expected caches, models or pipelines"}}}
	}
	if err := s.faults(app.ValidateShared(&s.config)); err != nil {
		return nil, err
	}
	return s, nil
}

func (c *command) readSharedFile(file string) ([]byte, error) {
	if file != "-" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the file to apply: %w", err)
		}
		return data, nil
	}
	data, err := io.ReadAll(io.LimitReader(c.Stdin, maxConfigBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	return data, nil
}

// add takes a file's sections to those of the files before.
func (s *sharedFiles) add(name, file string, data []byte) []located {
	var one app.Config
	places, faults := decodeYAML(file, data, &one)
	for i := range faults {
		faults[i].where = name + strings.TrimPrefix(faults[i].where, file)
	}
	at := func(path string) string { return fmt.Sprintf("%s:%d:%d", name, places[path].line, places[path].column) }
	for key := range places {
		if !strings.ContainsAny(key, ".[") && !slices.Contains(app.Shared(), key) {
			if _, known := fieldByKey(reflectConfig(), key); known {
				faults = append(faults, located{at(key), key + ": is each node's own, and stays in its file; apply takes " + strings.Join(app.Shared(), ", ")})
			}
		}
	}
	slices.SortFunc(faults, func(a, b located) int { return strings.Compare(a.where, b.where) })
	faults = append(faults, merge(s, "caches", &s.config.Caches, one.Caches, at)...)
	faults = append(faults, merge(s, "models", &s.config.Models, one.Models, at)...)
	faults = append(faults, merge(s, "pipelines", &s.config.Pipelines, one.Pipelines, at)...)
	for key := range places {
		if _, ok := s.places[key]; !ok {
			s.places[key] = at(key)
		}
	}
	return faults
}

// merge adds a section's things to those of the files before. One that is there already is a fault.
func merge[T any](s *sharedFiles, section string, into *map[string]T, from map[string]T, at func(string) string) (faults []located) {
	if *into == nil {
		*into = map[string]T{}
	}
	for name, one := range from {
		path := section + "." + name
		if _, twice := (*into)[name]; twice {
			faults = append(faults, located{at(path), fmt.Sprintf("%s: is in %s already", path, s.places[path])})
			continue
		}
		(*into)[name] = one
	}
	slices.SortFunc(faults, func(a, b located) int { return strings.Compare(a.where, b.where) })
	return faults
}
