package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

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
npm, or from --from; its checksum is held against the one in this program either way.`,
		Example: `  millrace engine install onnxruntime
  millrace engine install onnxruntime --from onnxruntime-node-1.30.0.tgz`,
		Args:      args("the engine"),
		ValidArgs: []string{"onnxruntime"},
	}
	from := cmd.Flags().String("from", "", "the archive: a `file` or an http(s) URL (default: npm's)")
	dir := cmd.Flags().String("dir", "", "`folder` to install into (default: Millrace's)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if given[0] != "onnxruntime" {
			return usagef("there is no engine %q to install, only onnxruntime (native is built in)", given[0])
		}
		if *dir == "" {
			if *dir = libraryDir(c.env); *dir == "" {
				return errors.New("no home folder is known; name the folder by --dir")
			}
		}
		path, err := app.InstallONNXRuntime(cmd.Context(), *from, *dir)
		if err != nil {
			return fmt.Errorf("install onnxruntime: %w", err)
		}
		_, err = fmt.Fprintln(c.Stdout, path)
		return err
	}
	return cmd
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
