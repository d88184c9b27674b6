package cli

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/internal/app"
)

// engineOut is what ls says of an engine.
type engineOut struct {
	Name      string          `json:"name"`
	Available bool            `json:"available"`
	Auto      bool            `json:"auto"` // what "auto" takes
	Version   string          `json:"version,omitempty"`
	Devices   []engine.Device `json:"devices,omitempty"` // those that cannot be used have a reason
	MaxOpset  int             `json:"max_opset,omitempty"`
	Notes     []string        `json:"notes,omitempty"`
	Reason    string          `json:"reason,omitempty"` // why it is not available
}

func (c *command) engineList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the engines, what they can do, the devices, and why one is missing",
		Long: `Lists the engines that can run models here, and the devices that each can put them on. A device of NVIDIA's is tried: with onnxruntime's CUDA provider installed that may take a
second. Where there is none, or it cannot be used, the reason is there.`,
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
		var rows, devices [][]string
		for _, e := range list {
			name, about := e.Name, strings.Join(e.Notes, "; ")
			if e.Auto {
				name += " (auto)"
			}
			if !e.Available {
				rows = append(rows, []string{name, "-", "-", "-", strings.Join(strings.Fields(e.Reason), " ")})
				continue
			}
			var usable []string
			for _, d := range e.Devices {
				if d.Reason == "" {
					usable = append(usable, d.Name)
				}
				if d.Name != "cpu" {
					devices = append(devices, deviceRow(e.Name, d))
				}
			}
			rows = append(rows, []string{name, e.Version, strings.Join(usable, ", "), strconv.Itoa(e.MaxOpset), about})
		}
		if err := printTable(c.Stdout, []string{"engine", "version", "devices", "opset", "about"}, rows); err != nil || len(devices) == 0 {
			return err
		}
		if _, err := fmt.Fprintln(c.Stdout); err != nil {
			return err
		}
		return printTable(c.Stdout, []string{"device", "of", "model", "memory", "about"}, devices)
	}
	return cmd
}

// deviceRow says of a device what it is, and why it cannot be used.
func deviceRow(of string, d engine.Device) []string {
	model, memory, about := cmp.Or(d.Model, "-"), "-", "can be used"
	if d.Memory > 0 {
		memory = sizeText(d.Memory)
	}
	if d.Reason != "" {
		about = strings.Join(strings.Fields(d.Reason), " ")
	}
	return []string{d.Name, of, model, memory, about}
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
