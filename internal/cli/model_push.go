package cli

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/media"
)

func (c *command) modelPush() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push NAME FILE",
		Short: "Give a running node a new version of a model",
		Long: `Gives a running node a new version of a model: an ONNX file, or a .zip or .tar.gz that holds one. The node refuses one that it cannot
run, and goes on with the version that was serving; pipelines take a new one from their next batch on, unless another version was chosen
with model use. ` + remoteHelp,
		Example: "  millrace model push digits digits.onnx\n  millrace model push digits digits.onnx --version 7",
		Args:    args("NAME", "FILE"),
	}
	open := c.remote(cmd)
	version := cmd.Flags().Int64("version", 0, "version number (default: the next one)")
	replace := cmd.Flags().Bool("replace", false, "take it though its signature is not that of the version that serves")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *version < 0 {
			return usagef("--version %d is negative", *version)
		}
		data, err := c.readInput(given[1])
		if err != nil {
			return err
		}
		if is := noModel(data); is != "" {
			return fmt.Errorf("push %s: %s is not an ONNX file, nor a .zip or .tar.gz that holds one: it is %s", given[0], given[1], is)
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		m, err := cl.PushModel(cmd.Context(), given[0], *version, data, *replace)
		if err != nil {
			return fmt.Errorf("push %s: %w", given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, m.Raw())
		}
		if _, err = fmt.Fprintf(c.Stdout, "%s version %d, %s\n", m.Name, m.Version, m.State); err != nil {
			return err
		}
		v, err := cl.Model(cmd.Context(), given[0])
		if err != nil {
			return fmt.Errorf("%s version %d is pushed; which version serves is not known: %w", m.Name, m.Version, err)
		}
		if v.Serves == m.Version || v.Serves == 0 {
			return nil
		}
		why := "it is newer"
		if v.Pinned {
			why = fmt.Sprintf("it was chosen; `millrace model use %s --newest` takes the newest", m.Name)
		}
		_, err = fmt.Fprintf(c.Stdout, "version %d goes on serving: %s\n", v.Serves, why)
		return err
	}
	return cmd
}

// noModel says what a file is that is plainly no model, "" where it may be one: what the node says of its bytes would be about protocol buffers.
func noModel(data []byte) string {
	control := func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n\f", r) }
	switch kind := media.Sniff("", data); {
	case len(data) == 0:
		return "empty"
	case media.IsPicture(kind):
		return kind
	case utf8.Valid(data) && bytes.IndexFunc(data, control) < 0:
		return "text"
	}
	return ""
}

func (c *command) modelRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove what was pushed of a model from a running node",
		Long:    "Removes one version of a model, or all that were pushed, from a running node. " + remoteHelp,
		Example: "  millrace model rm digits --version 7",
		Args:    args("NAME"),
	}
	open := c.remote(cmd)
	version := cmd.Flags().Int64("version", 0, "version number (default: all)")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if err := cl.DeleteModel(cmd.Context(), given[0], *version); err != nil {
			return fmt.Errorf("remove %s: %w", given[0], err)
		}
		return nil
	}
	return cmd
}
