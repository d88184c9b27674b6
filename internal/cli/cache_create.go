package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/client"
)

func (c *command) cacheCreate(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create CACHE",
		Short: "Make a cache",
		Example: `  millrace cache create digits
  millrace cache create rooms --near-bytes 64MiB --near-staleness 5s
  millrace cache create sessions --class volatile --lifespan 30m --max-entries 10000`,
		Args: args("CACHE"),
	}
	var config client.CacheConfig
	var maxBytes, maxEntryBytes sizeFlag
	f := cmd.Flags()
	f.StringVar(&config.Class, "class", "durable", "durable or volatile")
	f.Int64Var(&config.MaxEntries, "max-entries", 0, "the most entries (0: no limit)")
	f.Var(&maxBytes, "max-bytes", "the most bytes of values, such as 1GiB (0: no limit)")
	f.Var(&maxEntryBytes, "max-entry-bytes", "the largest value (default 1MiB)")
	f.StringVar(&config.Store, "store", "", "the store that gets everything, of those in the node's configuration")
	f.StringVar(&config.Write, "write", "", "when the store has what is put: behind or through")
	f.StringVar(&config.Preload, "preload", "", "what is loaded from the store at a start: none, keys, all, or how many of the newest entries")
	f.StringVar(&config.Evict, "evict", "", "what a full cache does: store, drop or refuse")
	f.StringVar(&config.Policy, "policy", "", "how it is told what nobody needed lately: tinylfu, s3fifo or lru")
	f.StringVar(&config.Consistency, "consistency", "", "what a get sees where there are replicas: session, leader or local")
	var near client.NearConfig
	var nearBytes sizeFlag
	f.Int64Var(&near.MaxEntries, "near-entries", 0, "the most entries that each node keeps beside itself (0: none)")
	f.Var(&nearBytes, "near-bytes", "the most bytes that it keeps, such as 64MiB, in place of --near-entries")
	nearStaleness := f.Duration("near-staleness", 0, "how old what it keeps may be (default 1s)")
	lifespan := f.Duration("lifespan", 0, "how long entries live that do not say it themselves")
	maxIdle := f.Duration("max-idle", 0, "how long they live without being used")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if err := oneOf("class", config.Class, "durable", "volatile"); err != nil {
			return err
		}
		config.MaxBytes, config.MaxEntryBytes = int64(maxBytes), int64(maxEntryBytes)
		config.Lifespan, config.MaxIdle = durationText(*lifespan), durationText(*maxIdle)
		near.MaxBytes, near.Staleness = int64(nearBytes), durationText(*nearStaleness)
		if near != (client.NearConfig{}) {
			config.Near = &near
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		if err := cl.CreateCache(cmd.Context(), given[0], config); err != nil {
			return fmt.Errorf("create %s: %w", given[0], err)
		}
		_, err = fmt.Fprintf(c.Stdout, "cache %s is made\n", given[0])
		return err
	}
	return cmd
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// sizeFlag is a flag with a number of bytes such as 8MiB.
type sizeFlag app.Size

func (s *sizeFlag) String() string        { return app.Size(*s).String() }
func (s *sizeFlag) Set(text string) error { return (*app.Size)(s).UnmarshalText([]byte(text)) }
func (s *sizeFlag) Type() string          { return "size" }

// sizeText is a number of bytes for people, with three digits.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}
