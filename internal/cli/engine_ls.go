package cli

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// engineOut is what ls says of an engine.
type engineOut struct {
	Name      string   `json:"name"`
	Available bool     `json:"available"`
	Auto      bool     `json:"auto"` // what "auto" takes
	Version   string   `json:"version,omitempty"`
	Devices   []string `json:"devices,omitempty"`
	MaxOpset  int      `json:"max_opset,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	Reason    string   `json:"reason,omitempty"` // why it is not available
}

func (c *command) engineList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the engines, what they can do, and why one is missing",
		Example: "  millrace engine ls\n  millrace engine ls --json",
		Args:    args(),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		config, err := loadConfig("", c.Environ, nil, c.warn)
		if err != nil {
			return err
		}
		list := listEngines(app.OpenEngines(config, slog.New(slog.DiscardHandler)))
		if *asJSON {
			return printJSON(c.Stdout, list)
		}
		var rows [][]string
		for _, e := range list {
			name, about := e.Name, strings.Join(e.Notes, "; ")
			if e.Auto {
				name += " (auto)"
			}
			if !e.Available {
				rows = append(rows, []string{name, "-", "-", "-", strings.Join(strings.Fields(e.Reason), " ")})
				continue
			}
			rows = append(rows, []string{name, e.Version, strings.Join(e.Devices, ", "), strconv.Itoa(e.MaxOpset), about})
		}
		return printTable(c.Stdout, []string{"engine", "version", "devices", "opset", "about"}, rows)
	}
	return cmd
}

func listEngines(all *app.Engines) []engineOut {
	var list []engineOut
	for i, e := range all.List() {
		can := e.Capabilities()
		list = append(list, engineOut{
			Name: e.Name(), Available: true, Auto: i == 0, Version: can.Version, Devices: can.Devices, MaxOpset: can.MaxOpset, Notes: can.Notes,
		})
	}
	missing := all.Missing()
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		list = append(list, engineOut{Name: name, Reason: missing[name].Error()})
	}
	return list
}
