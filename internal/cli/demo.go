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
network, no other program. Its data is in a new temporary folder that is removed at the end, unless --dir names one.

Everything that is put into the cache "digits" goes to a store as well. With --max-entries only so many digits stay in memory: the
others are in the store alone, and come back when somebody asks for them. --store says which store:

  disk                          a folder in the node's data (the default)
  disk:DIR                      the folder DIR, which has the node's data too
  ceph:CONF[,pool=P][,user=U]   a pool (millrace) of a Ceph cluster, by its ceph.conf, as a user (admin); in programs built with librados
  s3:URL/BUCKET[/PREFIX]        a bucket, by the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY

What a store outside of the node's data has is of one grid. So the node's data then stays too, in a folder of the user's for
each such store: the next demo with the same store goes on with both.`,
		Example: `  millrace demo
  millrace demo --no-browser --http 127.0.0.1:9000 --dir ./demo
  millrace demo --max-entries 5
  millrace demo --max-entries 5 --store ceph:/etc/ceph/ceph.conf`,
		GroupID: "node",
		Args:    args(),
	}
	f := cmd.Flags()
	listen := f.String("http", "", "`address` to listen on (default "+demoListen+", or a free port where that is taken)")
	dir := f.String("dir", "", "`folder` of the node's data, which stays (default: a temporary one)")
	spec := f.String("store", storeDisk, "`where` digits are that are not in memory: disk, disk:DIR, ceph:CONF or s3:URL/BUCKET")
	most := f.Int64("max-entries", 0, "keep so many `digits` in memory, and the others in the store alone (0: all)")
	noBrowser := f.Bool("no-browser", false, "do not open the page")
	mnist := f.String("mnist", "", "`folder` of MNIST's files, whose digits the page then shows as samples")
	insecure := f.Bool("insecure", false, "allow listening beyond loopback without a token")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if *listen == "" {
			*listen = freeAddress(cmd.Context(), demoListen)
		}
		if *most < 0 {
			return usagef("--max-entries %d must not be negative", *most)
		}
		store, err := demoStore(*spec, c.env)
		if err != nil {
			return usage(fmt.Errorf("--store %s: %w", *spec, err))
		}
		folder, temporary := *dir, false
		if folder == "" {
			if folder, err = store.home(c.env); err != nil {
				return err
			}
		}
		if folder == "" {
			temporary = true
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
			demoConfig(config, *listen, folder, store.in(folder), *most)
			setIf(&config.HTTP.MNIST, app.Path(*mnist))
			config.HTTP.Insecure = config.HTTP.Insecure || *insecure
		}, c.warn)
		if err != nil {
			return err
		}
		return runNode(cmd.Context(), config, newLogger(config.Log, c.Stderr), func(n *app.Node) {
			c.greet(n.URL(), folder, temporary)
			if !*noBrowser {
				openBrowser(n.URL(), c.env)
			}
		})
	}
	return cmd
}

// demoConfig is the main job: pictures of digits go through the network that is in the binary. What the environment says of
// the log is kept; without it only warnings disturb the reader.
func demoConfig(c *app.Config, listen, folder string, store app.StoreConfig, most int64) {
	c.HTTP.Listen = listen
	c.HTTP.Demo = true
	c.Node.Data = app.Path(folder)
	if c.Log == app.Defaults().Log {
		c.Log.Level = "warn"
	}
	c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
	c.Stores = map[string]app.StoreConfig{demoStoreName: store}
	digits := app.CacheConfig{Store: demoStoreName, MaxEntries: most}
	if most > 0 {
		digits.Policy = "lru" // what leaves next is then plain to who watches
	}
	c.Caches = map[string]app.CacheConfig{"digits": digits, "predictions": {}}
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
