package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
)

// demoListen is where the demo listens when it is free.
const demoListen = "127.0.0.1:8080"

func (c *command) demo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine, with a page to draw digits on",
		Long: `Runs a node with a network that reads handwritten digits, and opens its page. It needs nothing else: no configuration, no
network, no other program. Its data is in a new temporary folder that is removed at the end, unless --dir names one.`,
		Example: "  millrace demo\n  millrace demo --no-browser --http 127.0.0.1:9000 --dir ./demo",
		GroupID: "node",
		Args:    args(),
	}
	f := cmd.Flags()
	listen := f.String("http", "", "`address` to listen on (default "+demoListen+", or a free port where that is taken)")
	dir := f.String("dir", "", "`folder` of the node's data, which stays (default: a temporary one)")
	noBrowser := f.Bool("no-browser", false, "do not open the page")
	mnist := f.String("mnist", "", "`folder` of MNIST's files, whose digits the page then shows as samples")
	insecure := f.Bool("insecure", false, "allow listening beyond loopback without a token")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if *listen == "" {
			*listen = freeAddress(cmd.Context(), demoListen)
		}
		folder := *dir
		if folder == "" {
			if folder, err = os.MkdirTemp("", "millrace-demo-"); err != nil {
				return fmt.Errorf("make a folder for the data (--dir names one): %w", err)
			}
			defer func() {
				if gone := os.RemoveAll(folder); gone != nil && err == nil {
					err = gone
				}
			}()
		}
		config, err := loadConfig("", c.Environ, func(config *app.Config) {
			demoConfig(config, *listen, folder)
			setIf(&config.HTTP.MNIST, app.Path(*mnist))
			config.HTTP.Insecure = config.HTTP.Insecure || *insecure
		}, c.warn)
		if err != nil {
			return err
		}
		return c.runNode(cmd.Context(), config, func(n *app.Node) {
			c.greet(n.URL(), folder, *dir == "")
			if !*noBrowser {
				openBrowser(n.URL(), c.env)
			}
		})
	}
	return cmd
}

// demoConfig is the main job: pictures of digits go through the network that is in the binary. What the environment says of
// the log is kept; without it only warnings disturb the reader.
func demoConfig(c *app.Config, listen, folder string) {
	c.HTTP.Listen = listen
	c.Node.Data = app.Path(folder)
	if c.Log == app.Defaults().Log {
		c.Log.Level = "warn"
	}
	c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
	c.Caches = map[string]app.CacheConfig{"digits": {}, "predictions": {}}
	c.Pipelines = map[string]app.PipelineConfig{"classify": {From: "digits", Model: "digits", To: "predictions"}}
}

// freeAddress returns preferred where nobody listens there, else a free port of the same host.
func freeAddress(ctx context.Context, preferred string) string {
	var lc net.ListenConfig
	if l, err := lc.Listen(ctx, "tcp", preferred); err == nil {
		l.Close()
		return preferred
	}
	host, _, err := net.SplitHostPort(preferred)
	if err != nil {
		return preferred
	}
	return net.JoinHostPort(host, "0")
}

func (c *command) greet(url, folder string, temporary bool) {
	kept := "it stays there"
	if temporary {
		kept = "it is removed at the end; --dir DIR keeps it"
	}
	api := url + "rest/v2/caches/"
	fmt.Fprintf(c.Stdout, `Millrace is running. Draw a digit on its page:

    %s

or do it by hand, from another terminal. Watch the results as they come:

    curl -N '%spredictions?action=listen&values=true'

Put a picture of a digit into the cache "digits", and get the network's answer from the cache "predictions":

    curl -T %s %sdigits/1
    curl %spredictions/1

The data is in %s (%s). Ctrl-C stops.
`, url, api, samplePicture(), api, api, folder, kept)
}

// samplePicture is the picture that the repository has, where the demo runs in it.
func samplePicture() string {
	const sample = "docs/seven.png"
	if _, err := os.Stat(filepath.FromSlash(sample)); err == nil {
		return sample
	}
	return "seven.png"
}
