package cli

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// What a build may set with -ldflags "-X .../internal/cli.release=v1.2.3"; where it does not, Go's own record counts.
var release, commit string

// build says what this program is made of.
type build struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"`
	Time     string   `json:"time,omitempty"`
	Modified bool     `json:"modified,omitempty"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	CGO      bool     `json:"cgo"`
	Tags     []string `json:"tags"`
	Engines  []string `json:"engines"` // those that are there, the preferred one first
}

func readBuild() build {
	b := build{Version: release, Commit: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Tags: []string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "CGO_ENABLED":
			b.CGO = s.Value == "1"
		case "-tags":
			b.Tags = strings.Split(s.Value, ",")
		}
	}
	if commit != "" {
		b.Commit = commit
	}
	return b
}

// text is the version for people, with the commit where there is no release.
func (b build) text() string {
	if release == "" && b.Commit != "unknown" {
		return b.Version + " " + b.Commit[:min(12, len(b.Commit))]
	}
	return b.Version
}

func (c *command) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the commit and what was built in",
		Example: "  millrace version\n  millrace version --json",
		GroupID: "other",
		Args:    args(),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := readBuild()
		config, err := loadConfig("", c.Environ, nil, c.warn)
		if err != nil {
			return err
		}
		for _, e := range app.OpenEngines(config, slog.New(slog.DiscardHandler)).List() {
			b.Engines = append(b.Engines, e.Name())
		}
		if *asJSON {
			return printJSON(c.Stdout, b)
		}
		from := b.Commit
		if b.Modified {
			from += " (with changes)"
		}
		_, err = fmt.Fprintf(c.Stdout, "millrace %s\ncommit   %s\ngo       %s %s, cgo %v\ntags     %s\nengines  %s\n",
			orNone(b.Version), from, b.Go, b.Platform, b.CGO, orNone(strings.Join(b.Tags, ", ")), strings.Join(b.Engines, ", "))
		return err
	}
	return cmd
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
