package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// usualConfig is what the documents call the configuration file. It is read only where it is named.
const usualConfig = "millrace.yaml"

func (c *command) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node from a configuration file",
		Long: `Runs a node until it is interrupted, and prints its address when it is ready, which it also tells a service
manager such as systemd. It finishes what it accepted; a second interrupt ends it at once.
docs/config.md lists the keys of the file. Each is an environment variable too: ` + envPrefix + `HTTP_LISTEN is http.listen.`,
		Example: `  millrace serve -c millrace.yaml
  millrace serve -c millrace.yaml --check
  millrace serve --models ./models --http 127.0.0.1:9000 --dir ./data`,
		GroupID: "node",
		Args:    args(),
	}
	f := cmd.Flags()
	file := f.StringP("config", "c", "", "configuration `file` (default $"+envConfig+")")
	check := f.Bool("check", false, "check the configuration and stop")
	listen := f.String("http", "", "`address` to listen on, instead of http.listen")
	dir := f.String("dir", "", "`folder` of the node's data, instead of node.data")
	models := f.String("models", "", "`folder` of models laid out as NAME/VERSION/model.onnx")
	mnist := f.String("mnist", "", "`folder` of MNIST's files, whose digits the page then shows as samples")
	insecure := f.Bool("insecure", false, "allow listening beyond loopback without a token")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *file == "" {
			*file = c.env(envConfig)
		}
		unread := ""
		if info, err := os.Stat(usualConfig); *file == "" && err == nil && info.Mode().IsRegular() {
			unread = fmt.Sprintf("%s is in this folder and was not read: -c %s reads it", usualConfig, usualConfig)
		}
		config, err := loadChecked(*file, c.Environ, func(config *app.Config) {
			setIf(&config.HTTP.Listen, *listen)
			setIf(&config.Node.Data, app.Path(*dir))
			setIf(&config.ModelRepository, app.Path(*models))
			setIf(&config.HTTP.MNIST, app.Path(*mnist))
			config.HTTP.Insecure = config.HTTP.Insecure || *insecure
		}, c.warn, app.Check)
		if err != nil {
			return err
		}
		if *check {
			if unread != "" {
				c.warn(unread)
			}
			for _, w := range app.Warnings(config) {
				c.warn(w)
			}
			_, err := fmt.Fprintln(c.Stdout, "the configuration is valid")
			return err
		}
		log := newLogger(config.Log, c.Stderr)
		if unread != "" {
			log.Warn(unread)
		}
		return runNode(cmd.Context(), config, log, func(n *app.Node) {
			fmt.Fprintln(c.Stdout, n.URL())
			if err := notifyReady(c.env(envNotify)); err != nil {
				c.warn(err.Error())
			}
		})
	}
	return cmd
}

// runNode runs a node until ctx ends, which is success.
func runNode(ctx context.Context, config app.Config, log *slog.Logger, ready func(*app.Node)) error {
	told := make(chan struct{})
	untold := context.AfterFunc(ctx, func() {
		defer close(told)
		log.Info("stopping: what was accepted is finished")
	})
	err := app.Run(ctx, config, readBuild().text(), log, func(n *app.Node) {
		log.Info("serving", "url", n.URL(), "data", string(config.Node.Data))
		ready(n)
	})
	if !untold() {
		<-told
	}
	switch {
	case !errors.Is(err, context.Canceled):
	case ctx.Err() != nil:
		err = nil
	default: // nobody interrupted it: what it says is the reason
		err = errors.New(err.Error())
	}
	if err == nil {
		log.Info("stopped")
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another program listens there; --http HOST:PORT takes another address", err)
	}
	return err
}

func setIf[T comparable](p *T, v T) {
	var zero T
	if v != zero {
		*p = v
	}
}
