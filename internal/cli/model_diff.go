package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/model"
)

func (c *command) modelDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show how two models differ",
		Long: `Shows how two models differ: inputs and outputs, metadata, operators, which weights changed and by how much, and sizes. Each is a file, or NAME:VERSION (or
NAME, for the version that serves) of a running node. Where nothing differs it prints nothing. ` + remoteHelp,
		Example: "  millrace model diff old.onnx new.onnx\n  millrace model diff digits:1 digits:2\n  millrace model diff digits new.onnx",
		Args:    args("A", "B"),
	}
	open := c.remote(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		var models [2]*model.Model
		for i, name := range given {
			var err error
			if models[i], err = readModel(cmd.Context(), name, open); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		var rows [][]string
		for _, d := range model.Diff(models[0], models[1]) {
			if *asJSON {
				if err := printJSON(c.Stdout, d); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, []string{d.Kind, d.Name, orNone(d.A), orNone(d.B)})
		}
		if len(rows) == 0 {
			return nil
		}
		return printRows(c.Stdout, append([][]string{{"", "", given[0], given[1]}}, rows...))
	}
	return cmd
}

// readModel reads a model from a file, or from a running node where there is no such file.
func readModel(ctx context.Context, name string, open func() (*client.Client, error)) (*model.Model, error) {
	_, err := os.Stat(name)
	switch {
	case err == nil:
		m, _, err := app.OpenModel(ctx, name, tensorflow.Options{})
		return m, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	base, number, has := strings.Cut(name, ":")
	var version int64
	if has {
		if version, err = strconv.ParseInt(number, 10, 64); err != nil || version < 1 {
			return nil, usagef("%q is no file, and its version %q is no positive number", name, number)
		}
	}
	cl, err := open()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	data, err := cl.DownloadModel(ctx, base, version)
	if err != nil {
		return nil, fmt.Errorf("there is no such file, and the node has no such model to give: %w", err)
	}
	return model.Decode(data)
}
