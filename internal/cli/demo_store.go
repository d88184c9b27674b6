package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/app"
)

// demoStoreName is the demo's store in its configuration.
const demoStoreName = "cold"

// The kinds of stores that the demo takes.
const (
	storeDisk = "disk"
	storeCeph = "ceph"
	storeS3   = "s3"
)

// demoStoreConfig is the store that --store names.
type demoStoreConfig struct{ app.StoreConfig }

// demoStore reads TYPE[:PLACE[,KEY=VALUE]...].
func demoStore(spec string, env func(string) string) (demoStoreConfig, error) {
	kind, place, placed := strings.Cut(spec, ":")
	s := demoStoreConfig{app.StoreConfig{Type: kind}}
	if placed && place == "" {
		return s, errors.New("nothing follows the colon")
	}
	switch kind {
	case storeDisk:
		s.Dir = app.Path(place)
		return s, nil
	case storeCeph:
		conf, rest, _ := strings.Cut(place, ",")
		if conf == "" {
			return s, errors.New("which cluster? ceph:CONF names its ceph.conf, such as ceph:/etc/ceph/ceph.conf")
		}
		s.Conf, s.Pool, s.User = app.Path(conf), "millrace", "admin"
		return s, options(rest, map[string]*string{"pool": &s.Pool, "user": &s.User})
	case storeS3:
		at, rest, _ := strings.Cut(place, ",")
		u, err := url.Parse(at)
		if err != nil {
			return s, err
		}
		s.Bucket, s.Prefix, _ = strings.Cut(strings.Trim(u.Path, "/"), "/")
		if u.Host == "" || s.Bucket == "" {
			return s, errors.New("which bucket? s3:URL/BUCKET names it, such as s3:http://127.0.0.1:9000/millrace")
		}
		s.Endpoint = u.Scheme + "://" + u.Host
		s.AccessKey, s.SecretKey = env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")
		return s, options(rest, map[string]*string{"region": &s.Region})
	}
	return s, fmt.Errorf("must be disk, disk:DIR, ceph:CONF or s3:URL/BUCKET%s", didYouMean(kind, []string{storeDisk, storeCeph, storeS3}))
}

// options sets what KEY=VALUE[,KEY=VALUE]... says.
func options(text string, into map[string]*string) error {
	if text == "" {
		return nil
	}
	for _, o := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(o, "=")
		field := into[key]
		if !ok || field == nil || value == "" {
			return fmt.Errorf("%q must be KEY=VALUE with a key of %s", o, strings.Join(slices.Sorted(maps.Keys(into)), ", "))
		}
		*field = value
	}
	return nil
}

// in is the store of a node whose data is in a folder.
func (s demoStoreConfig) in(folder string) app.StoreConfig {
	if s.Type == storeDisk && s.Dir == "" {
		s.Dir = app.Path(filepath.Join(folder, demoStoreName))
	}
	return s.StoreConfig
}

// home is where the node's data stays beside a store that stays, empty where the store is in the node's data. The store has the
// entries of this one grid: another one would be refused by it. A folder has the node's data inside, so that both go together; of a
// cluster the whole ceph.conf counts, which has another id where the cluster was made anew.
func (s demoStoreConfig) home(env func(string) string) (string, error) {
	h := sha256.New()
	switch s.Type {
	case storeDisk:
		if s.Dir == "" {
			return "", nil
		}
		return filepath.Join(string(s.Dir), "node"), nil
	case storeCeph:
		conf, err := os.ReadFile(string(s.Conf))
		if err != nil {
			return "", fmt.Errorf("read the cluster's configuration: %w", err)
		}
		fmt.Fprintf(h, "%s\n%s\n%s", conf, s.Pool, s.User)
	default:
		fmt.Fprintf(h, "%s\n%s\n%s", s.Endpoint, s.Bucket, s.Prefix)
	}
	dir := dataDir(env, "demo")
	if dir == "" {
		return "", errors.New("the environment names no folder for the user's data, which stays beside such a store: name one by --dir")
	}
	return filepath.Join(dir, s.Type+"-"+hex.EncodeToString(h.Sum(nil)[:6])), nil
}
