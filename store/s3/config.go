// Package s3 keeps a store in a bucket of an object store that speaks S3. Making the bucket is left to who runs it, and so is the choice of
// a server: it has to honour the conditions If-Match and If-None-Match of PUT, which Open tries out.
//
// Each copy is one object, named PREFIX/NAMESPACE/NAME with the name that package name makes of the key. A write is guarded by the ETag
// that was read before, or by there being no object. S3 has no such guard for DELETE: a tombstone that is to be swept first becomes a seal,
// which writers do not replace, and is removed then. The seal of a sweep that was killed is void after a minute, and the DELETE of one is
// given up long before: that is the one place where the clocks of machines are to agree, within half a minute.
package s3

import (
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/store"
)

// Config says which bucket, and as whom.
type Config struct {
	// Endpoint is the server's address, as https://s3.example.com or http://127.0.0.1:9000.
	Endpoint string
	// Bucket is the bucket's name. It has to be there.
	Bucket string
	// Prefix stands before the names of all objects, where others use the bucket too: up to 100 letters, digits and - _ . / .
	Prefix string
	// Region is the bucket's region; "us-east-1" if empty.
	Region string
	// AccessKey and SecretKey are who asks. Both or none are set.
	AccessKey, SecretKey string
	// Calls is how many requests may be under way at a time, 1 to 1024; 32 if 0.
	Calls int
	// Timeout is when the server counts as unavailable to a request, 1 s to 1 h; 1 min if 0.
	Timeout time.Duration
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// Now replaces the clock, for tests; nil is time.Now.
	Now func() time.Time
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixes   = regexp.MustCompile(`^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$`)
)

// Validate reports every fault at once, as a store.ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	u, err := url.Parse(c.Endpoint)
	l.Check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "",
		"endpoint", "%q must be an address such as https://s3.example.com", c.Endpoint)
	l.Check(bucketName.MatchString(c.Bucket), "bucket", "%q: a bucket's name has 3 to 63 lower-case letters, digits, - and .", c.Bucket)
	l.Check(len(c.Prefix) <= 100 && prefixes.MatchString(c.Prefix), "prefix", "%q may have up to 100 letters, digits and - _ . with a / between parts", c.Prefix)
	l.Check((c.AccessKey == "") == (c.SecretKey == ""), "secret_key", "access_key and secret_key must be set both, or none of them")
	l.Check(c.Calls >= 0 && c.Calls <= 1024, "calls", "%d must be from 1 to 1024, or 0 for 32", c.Calls)
	l.Check(c.Timeout == 0 || c.Timeout >= time.Second && c.Timeout <= time.Hour, "timeout", "%v must be from 1s to 1h, or 0 for 1m", c.Timeout)
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrConfig, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Calls == 0 {
		c.Calls = 32
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Prefix != "" {
		c.Prefix += "/"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
