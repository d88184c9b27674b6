package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// envLibrary names the onnxruntime library for every program that uses it.
const envLibrary = "ONNXRUNTIME_SHARED_LIBRARY_PATH"

func (c *command) engineInstall() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install onnxruntime",
		Short: "Install the onnxruntime library into Millrace's folder",
		Long: `Installs the onnxruntime library for this system into Millrace's folder, where every command finds it. The archive comes from
npm, or from --from; its checksum is held against the one in this program either way. With --cuda that is a library with the provider for NVIDIA's devices beside it (Linux on amd64),
which is used from then on; it takes CUDA 13, cuDNN 9 and the driver from the system, and the command says what of these the loader finds. docs/gpu.md has more.`,
		Example: `  millrace engine install onnxruntime
  millrace engine install onnxruntime --from onnxruntime-node-1.30.0.tgz
  millrace engine install onnxruntime --cuda`,
		Args:      args("the engine"),
		ValidArgs: []string{"onnxruntime"},
	}
	from := cmd.Flags().StringArray("from", nil, "the archive: a `file` or an http(s) URL; with --cuda both, a flag each, in any order (default: npm's)")
	dir := cmd.Flags().String("dir", "", "`folder` to install into (default: Millrace's)")
	withCUDA := cmd.Flags().Bool("cuda", false, "with the provider for NVIDIA's devices")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if given[0] != "onnxruntime" {
			return usagef("there is no engine %q to install, only onnxruntime (native is built in)", given[0])
		}
		if *dir == "" {
			if *dir = libraryDir(c.env); *dir == "" {
				return errors.New("no home folder is known; name the folder by --dir")
			}
		}
		path, err := app.InstallONNXRuntime(cmd.Context(), *from, *dir, *withCUDA)
		if err != nil {
			return fmt.Errorf("install onnxruntime: %w", err)
		}
		if !*withCUDA {
			if *asJSON {
				return printJSON(c.Stdout, installed{Library: path})
			}
			_, err = fmt.Fprintln(c.Stdout, path)
			return err
		}
		report, err := app.InspectCUDA(path, c.env("LD_LIBRARY_PATH"))
		if err != nil {
			return fmt.Errorf("%s is installed, but what it needs cannot be found out: %w", path, err)
		}
		return c.printCUDA(report, *asJSON)
	}
	return cmd
}

// installed is what install says of a library without CUDA.
type installed struct {
	Library string `json:"library"`
}

// printCUDA prints the library's path, and says to people on the standard error what it needs from the system and what of that is here.
func (c *command) printCUDA(r app.CUDAReport, asJSON bool) error {
	if asJSON {
		return printJSON(c.Stdout, r)
	}
	if _, err := fmt.Fprintln(c.Stdout, r.Library); err != nil {
		return err
	}
	rows := make([][]string, len(r.Needs))
	for i, n := range r.Needs {
		where := n.Path
		switch {
		case where == "" && n.Later:
			where = "not found: models that need it will not run"
		case where == "":
			where = "not found"
		}
		rows[i] = []string{n.Name, n.From, where}
	}
	if err := printTable(c.Stderr, []string{"it needs", "of", "the loader finds"}, rows); err != nil {
		return err
	}
	for _, d := range r.Devices {
		text := fmt.Sprintf("%s is here: %s, %s", d.Name, d.Model, sizeText(d.Memory))
		if d.Reason != "" {
			text = fmt.Sprintf("%s cannot be used: %s", d.Name, d.Reason)
		}
		c.notice(text, d.Reason != "")
	}
	if r.Reason != "" {
		c.notice(r.Reason, true)
	}
	var missing []string
	for _, n := range r.Needs {
		if n.Path == "" && !n.Later {
			missing = append(missing, n.Name)
		}
	}
	if len(missing) > 0 {
		c.notice(fmt.Sprintf("nothing runs on a device until the loader finds %s: install what has them, or name their folders in LD_LIBRARY_PATH", strings.Join(missing, ", ")), true)
	}
	return nil
}

// libraryDir is Millrace's own folder for libraries, or empty where the user has no home.
func libraryDir(env func(string) string) string { return dataDir(env, "lib") }

// dataDir is a folder of Millrace's own among the user's, or empty where the environment names no place for such.
func dataDir(env func(string) string, name string) string {
	base := env("XDG_DATA_HOME")
	switch {
	case base != "":
	case runtime.GOOS == "windows":
		base = env("LocalAppData")
	case runtime.GOOS == "darwin" && env("HOME") != "":
		base = filepath.Join(env("HOME"), "Library", "Application Support")
	case env("HOME") != "":
		base = filepath.Join(env("HOME"), ".local", "share")
	}
	if base == "" {
		return ""
	}
	return filepath.Join(base, "millrace", name)
}
