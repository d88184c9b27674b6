package cli

import (
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// Root is the command with everything below it.
func Root() *cobra.Command { return (&command{}).root() }

// LoadConfig is loadConfig, for the tests outside.
func LoadConfig(file string, environ []string, override func(*app.Config), warn func(string)) (app.Config, error) {
	return loadConfig(file, environ, override, warn)
}

// DecodeYAML is decodeYAML with its faults as one error.
func DecodeYAML(file string, data []byte, into any) error {
	if _, faults := decodeYAML(file, data, into); len(faults) > 0 {
		return &configError{faults}
	}
	return nil
}

// DidYouMean is didYouMean.
var DidYouMean = didYouMean

// DemoStore is the store of `demo --store SPEC` for a node whose data is in a folder, and where that data stays without --dir.
func DemoStore(spec, folder string, environ []string) (c app.StoreConfig, home string, err error) {
	env := func(name string) string { return getenv(environ, name) }
	s, err := demoStore(spec, env)
	if err != nil {
		return c, "", err
	}
	home, err = s.home(env)
	return s.in(folder), home, err
}
