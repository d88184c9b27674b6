package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// belongsFile names, in a node's folder, the cluster that it is of. A standalone node's folder has none.
const belongsFile = "CLUSTER"

// belongs is what that file has.
type belongs struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	identity
}

// checkBelongs refuses a folder that is another node's, before the server starts: as one of a cluster it removes after half a minute what a standalone
// node had, since the cluster knows nothing of it. A new folder is marked as this node's.
func (f *folder) checkBelongs(c *Cluster) error {
	path := filepath.Join(f.dir, belongsFile)
	have, marked, err := readBelongs(path)
	if err != nil {
		return err
	}
	streams, err := hasStreams(f.dir)
	if err != nil {
		return err
	}
	switch {
	case c == nil && marked:
		return fmt.Errorf("%w: %s is the folder of node %s of the cluster %s; start it with its cluster in the configuration, or take another folder",
			ErrConfig, f.dir, have.Node, have.Cluster)
	case c == nil:
		return nil
	case marked && (have.Cluster != c.Name || have.Node != c.Node):
		return fmt.Errorf("%w: %s is the folder of node %s of the cluster %s, not of node %s of %s; each node has a folder of its own, and keeps its name",
			ErrConfig, f.dir, have.Node, have.Cluster, c.Node, c.Name)
	case streams && !c.has(RoleGrid):
		return fmt.Errorf("%w: node %s has no %s in its roles, and %s has replicas, which other nodes count on; start it with %s in node.roles, run "+
			"`millrace cluster drain %s --wait`, stop it, run `millrace cluster remove %s --wait` on another node, and start it on a new folder",
			ErrConfig, c.Node, RoleGrid, f.dir, RoleGrid, c.Node, c.Node)
	case marked:
		f.is = have.identity
		return nil
	case streams:
		return fmt.Errorf("%w: %s has the entries of a node without a cluster, which a cluster would remove; start the nodes of the cluster on new folders "+
			"with cluster.grow: true, this one without a cluster, and run `millrace cluster grow`", ErrConfig, f.dir)
	}
	return f.mark(belongs{Cluster: c.Name, Node: c.Node})
}

// mark writes whose the folder is.
func (f *folder) mark(as belongs) error {
	path := filepath.Join(f.dir, belongsFile)
	b, err := json.Marshal(as)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := writeSynced(path+".new", string(b)+"\n"); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func readBelongs(path string) (b belongs, marked bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return belongs{}, false, nil
	}
	if err != nil {
		return belongs{}, false, fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(text, &b); err != nil || b.Cluster == "" || b.Node == "" {
		return belongs{}, false, fmt.Errorf("%w: %s says %q", ErrFormat, path, text)
	}
	return b, true, nil
}

// streamMade reads when a stream was made, in Unix nanoseconds, from the server's description of it.
func streamMade(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read when a stream was made: %w", err)
	}
	var info struct{ Created time.Time }
	if err := json.Unmarshal(text, &info); err != nil || info.Created.IsZero() {
		return 0, fmt.Errorf("%w: %s does not say when its stream was made", ErrFormat, path)
	}
	return info.Created.UnixNano(), nil
}

// hasStreams reports whether a NATS server has left anything in the folder.
func hasStreams(dir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "jetstream"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", dir, err)
	}
	return len(entries) > 0, nil
}

// hasVoice reports whether the server of this folder was one that has a voice in its cluster.
func hasVoice(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, "jetstream", server.DEFAULT_SYSTEM_ACCOUNT, "_js_", "_meta_", "peers.idx"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the node's voice: %w", err)
	}
	return true, nil
}

// hasData reports whether the folder has replicas.
func hasData(dir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for replicas: %w", err)
	}
	return len(entries) > 0, nil
}
