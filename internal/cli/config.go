package cli

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/app"
)

// envPrefix begins the variables that stand for keys of the configuration.
const envPrefix = "MILLRACE_"

// Variables with the prefix that are not keys of the configuration.
const (
	envServer = "MILLRACE_SERVER"
	envToken  = "MILLRACE_TOKEN"
	envConfig = "MILLRACE_CONFIG"
)

// loadConfig makes a configuration of the defaults, then the file (where one is named), then the environment, then what
// override changes. It returns a *configError with every fault, each at its place. Warnings go to warn.
func loadConfig(file string, environ []string, override func(*app.Config), warn func(string)) (app.Config, error) {
	return loadChecked(file, environ, override, warn, func(c app.Config) error { return c.Validate() })
}

// loadChecked is loadConfig with another check of the values.
func loadChecked(file string, environ []string, override func(*app.Config), warn func(string), check func(app.Config) error) (app.Config, error) {
	c := app.Defaults()
	var places map[string]place
	var faults []located
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return c, &configError{[]located{{"", fmt.Sprintf("read the configuration: %v", err)}}}
		}
		places, faults = decodeYAML(file, data, &c)
	}
	faults = append(faults, applyEnv(&c, environ, warn)...)
	if override != nil {
		override(&c)
	}
	if len(faults) > 0 {
		return c, &configError{faults} // what could not be read would show up again as values that do not fit
	}
	if rt := &c.Engines.ONNXRuntime; rt.Library == "" {
		env := func(name string) string { return getenv(environ, name) }
		rt.Library = app.FindONNXRuntime(env(envLibrary), libraryDir(env))
	}
	c.Complete()
	if err := check(c); err != nil {
		var all app.ConfigErrors
		if !errors.As(err, &all) {
			return c, err
		}
		for _, f := range all {
			faults = append(faults, located{whereIs(file, f.Path, places), f.String()})
		}
		return c, &configError{faults}
	}
	return c, nil
}

// getenv returns the value of a variable, empty where it is not set.
func getenv(environ []string, name string) string {
	value := ""
	for _, kv := range environ {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			value = v // the last one counts
		}
	}
	return value
}

// whereIs returns the place in the file of a key or of the nearest key around it, or "" where the file has neither.
func whereIs(file, path string, places map[string]place) string {
	for path != "" {
		if p, ok := places[path]; ok {
			return fmt.Sprintf("%s:%d:%d", file, p.line, p.column)
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return ""
}

// applyEnv sets the keys that the environment names: MILLRACE_HTTP_LISTEN is http.listen. A list or a map is YAML, and
// replaces the file's. An unknown name is a warning, since others may put variables with our prefix there.
func applyEnv(c *app.Config, environ []string, warn func(string)) []located {
	fields := map[string]reflect.Value{}
	envFields(reflect.ValueOf(c).Elem(), envPrefix, fields)
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var faults []located
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains([]string{envServer, envToken, envConfig}, name) {
			continue
		}
		field, ok := fields[name]
		if !ok {
			warn(fmt.Sprintf("the environment variable %s is not known and has no effect%s", name, didYouMean(name, names)))
			continue
		}
		faults = append(faults, setEnv(name, value, field)...)
	}
	return faults
}

func setEnv(name, value string, field reflect.Value) []located {
	if field.Kind() != reflect.Slice && field.Kind() != reflect.Map {
		if err := setText(field, value, ""); err != nil {
			return []located{{name, err.Error()}}
		}
		return nil
	}
	d := &yamlDecoder{file: name, places: map[string]place{}}
	body, err := parseYAML([]byte(value))
	if err != nil {
		return []located{{name, fmt.Sprintf("must be YAML, such as [a, b] or {name: {key: value}}: %v", err)}}
	}
	field.SetZero()
	if body != nil {
		d.value("", body, field, 0)
	}
	return d.faults
}

// envFields collects the variable of every key that is not a struct itself.
func envFields(v reflect.Value, prefix string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name := prefix + strings.ToUpper(v.Type().Field(i).Tag.Get("yaml"))
		if f := v.Field(i); f.Kind() == reflect.Struct {
			envFields(f, name+"_", into)
		} else {
			into[name] = f
		}
	}
}
