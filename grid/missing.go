package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/grid/internal/blocks"
)

// Names of the streams of a grid that lie in files, and what such a stream says of itself.
var (
	durableName  = regexp.MustCompile(`^KV_(.+)-d-([0-9]+)$`)
	metaName     = regexp.MustCompile(`^KV_(.+)-meta$`)
	partitionsOf = regexp.MustCompile(`^Millrace grid, durable partition [0-9]+ of ([0-9]+)$`)
)

// gridFiles is what a node's folder has of one grid.
type gridFiles struct {
	name string
	meta *streamFiles         // nil where it is not there
	have map[int]*streamFiles // durable partitions
}

// maxPartitions is how many partitions a grid has at most.
const maxPartitions = 256

// findGrids sorts streams by their grids. Those whose files of messages are all gone are left out.
func findGrids(streams []streamFiles) (map[string]*gridFiles, error) {
	out := map[string]*gridFiles{}
	of := func(name string) *gridFiles {
		if out[name] == nil {
			out[name] = &gridFiles{name: name, have: map[int]*streamFiles{}}
		}
		return out[name]
	}
	for i := range streams {
		s := &streams[i]
		filled, err := blocks.Filled(s.dir)
		if err != nil {
			return nil, err
		}
		if m := durableName.FindStringSubmatch(s.name); m != nil {
			if g := of(m[1]); filled {
				g.have[s.partition] = s
			}
		} else if m := metaName.FindStringSubmatch(s.name); m != nil {
			if g := of(m[1]); filled {
				g.meta = s
			}
		}
	}
	return out, nil
}

// findMissing returns what is wholly gone of the grids that have streams here: a partition that the grid's description or another partition tells of, and
// the description itself. It sets the number of partitions in streams, by which keys are told from what cannot be one, and returns it by the grid's name.
func findMissing(streams []streamFiles) ([]Damage, map[string]int, error) {
	var out []Damage
	partitions := map[string]int{}
	grids, err := findGrids(streams)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(grids)) {
		g := grids[name]
		n, used, err := g.described()
		if err != nil {
			return nil, nil, err
		}
		if n == 0 {
			if n, err = g.guessed(); err != nil {
				return nil, nil, err
			}
		}
		partitions[name] = n
		for _, s := range g.have {
			s.of = n
		}
		if g.meta == nil {
			out = append(out, Damage{Partition: -1, Stream: "KV_" + name + "-meta", Missing: true, Everything: true})
		}
		// The streams are made before the first cache: without one, the first start did not come to its end.
		for p := 0; p < n && used; p++ {
			if g.have[p] == nil {
				out = append(out, Damage{Class: Durable, Partition: p, Stream: newPartition(name, Durable, p).stream, Missing: true, Everything: true})
			}
		}
	}
	return out, partitions, nil
}

// described is how many partitions the grid's description tells, 0 where it does not, and whether the grid was ever used.
func (g *gridFiles) described() (partitions int, used bool, err error) {
	if g.meta == nil {
		return 0, true, nil
	}
	values, err := blocks.Values(g.meta.dir, g.meta.name)
	if err != nil {
		return 0, false, err
	}
	prefix := g.meta.prefix()
	for subject := range values {
		key := strings.TrimPrefix(subject, prefix)
		used = used || strings.HasPrefix(key, cachePrefix) || strings.HasPrefix(key, deletedPrefix)
	}
	var state gridState
	if err := json.Unmarshal(values[prefix+gridKey], &state); err != nil {
		return 0, used, nil //nolint:nilerr // it is damaged or not written yet; the partitions tell the number too
	}
	return min(state.Partitions, maxPartitions), used, nil
}

// guessed is the number of partitions by what the partitions say of themselves, and by the highest of them.
func (g *gridFiles) guessed() (int, error) {
	n := 0
	for p, s := range g.have {
		if p >= maxPartitions {
			continue
		}
		for n <= p {
			n = max(1, 2*n)
		}
		b, err := os.ReadFile(filepath.Join(s.dir, "meta.inf"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("read the description of stream %s: %w", s.name, err)
		}
		var about struct {
			Description string `json:"description"`
		}
		if json.Unmarshal(b, &about) != nil {
			continue // it is damaged, which has a word of its own
		}
		if m := partitionsOf.FindStringSubmatch(about.Description); m != nil {
			if told, err := strconv.Atoi(m[1]); err == nil && told <= maxPartitions {
				n = max(n, told)
			}
		}
	}
	return n, nil
}
