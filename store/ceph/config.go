// Package ceph keeps a store in a pool of a Ceph cluster, over librados. Making the cluster and the pool is left to who runs them.
//
// Each copy is one object: of the RADOS namespace that has the store's namespace's name, and of the name that package name makes of the key. A
// write replaces the whole object, guarded by the version that was read before or by there being no object, so that of two
// writers one sees the other's; a deleted object's tombstone is removed under the same guard.
//
// librados has to be there when the program is built, by the build tags ceph and pacific, and when it runs (Debian's package librados2). A program
// that was built without has Config alone, and Open answers store.ErrNotBuilt.
package ceph

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/store"
)

// DefaultPool is the pool where a configuration names none.
const DefaultPool = "millrace"

// Config says which pool of which cluster, and as whom. Exactly one of Conf and Monitors is set.
type Config struct {
	// Conf is the path of the cluster's ceph.conf, which also says where the user's key is.
	Conf string
	// Monitors are the cluster's monitors, each as host or host:port.
	Monitors []string
	// User is the user's name without "client."; "admin" if empty.
	User string
	// Key is the user's key, as `ceph auth print-key` prints it, and Keyring a file that has it. With Monitors one of them is set,
	// unless the cluster asks for none.
	Key, Keyring string
	// Pool is the pool that has the objects; DefaultPool if empty. It has to be there, and is the store's alone.
	Pool string
	// Calls is how many calls may be under way at a time, 1 to 1024; 32 if 0.
	Calls int
	// Timeout is when the cluster counts as unavailable to a call, 1 s to 1 h; 30 s if 0.
	Timeout time.Duration
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// Now replaces the clock, for tests; nil is time.Now.
	Now func() time.Time
}

// Validate reports every fault at once, as a store.ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check((c.Conf == "") != (len(c.Monitors) == 0), "", "exactly one of conf and monitors must be set")
	for i, m := range c.Monitors {
		host, port, err := net.SplitHostPort(m)
		if err != nil {
			host, port = m, "1"
		}
		l.Check(host != "" && port != "" && !strings.ContainsAny(m, " ,;/"), fmt.Sprintf("monitors[%d]", i), "%q is no host or host:port", m)
	}
	l.Check(c.Key == "" || c.Keyring == "", "keyring", "is set, and key as well: one of them is enough")
	l.Check(!strings.HasPrefix(c.User, "client."), "user", "%q must be without client.", c.User)
	l.Check(c.Calls >= 0 && c.Calls <= 1024, "calls", "%d must be from 1 to 1024, or 0 for 32", c.Calls)
	l.Check(c.Timeout == 0 || c.Timeout >= time.Second && c.Timeout <= time.Hour, "timeout", "%v must be from 1s to 1h, or 0 for 30s", c.Timeout)
	for _, s := range []struct{ name, value string }{{"conf", c.Conf}, {"user", c.User}, {"key", c.Key}, {"keyring", c.Keyring}, {"pool", c.Pool}} {
		l.Check(!strings.ContainsAny(s.value, "\x00\n"), s.name, "must not have a line break or a zero byte")
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrConfig, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.User == "" {
		c.User = "admin"
	}
	if c.Pool == "" {
		c.Pool = DefaultPool
	}
	if c.Calls == 0 {
		c.Calls = 32
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
