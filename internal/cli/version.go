package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// release is the version that the build sets with -ldflags "-X .../internal/cli.release=v1.2.3"; empty otherwise.
var release string

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
	return b
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
		if *asJSON {
			return printJSON(c.Stdout, b)
		}
		commit := b.Commit
		if b.Modified {
			commit += " (with changes)"
		}
		_, err := fmt.Fprintf(c.Stdout, "millrace %s\ncommit   %s\ngo       %s %s, cgo %v\ntags     %s\n",
			orNone(b.Version), commit, b.Go, b.Platform, b.CGO, orNone(strings.Join(b.Tags, ", ")))
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
