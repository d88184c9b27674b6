package grid

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid/internal/blocks"
)

// HeaderDamaged is on a message that stands for one that was damaged on the disk and cannot be read. It says when that was found. To other KV clients
// the key is purged.
const HeaderDamaged = "Millrace-Damaged"

// Damage is what was found wrong with a partition's files.
type Damage struct {
	// Class and Partition are of the stream; Class is empty for the stream that describes the grid.
	Class     Class `json:"class,omitempty"`
	Partition int   `json:"partition"`
	// Stream is its name, and File the block's, of which the node's folder keeps a copy as it was in Kept.
	Stream string `json:"stream"`
	File   string `json:"file"`
	Kept   string `json:"kept,omitempty"`
	// Missing says that the file is gone.
	Missing bool `json:"missing,omitempty"`
	// Everything says that all of the stream is gone, and File is empty: what was in it is not known, and Records counts none of it.
	Everything bool `json:"everything,omitempty"`
	// Records are lost, whose sequences are from From to To.
	Records int      `json:"records"`
	From    Sequence `json:"from,omitempty"`
	To      Sequence `json:"to,omitempty"`
	// Keys are the entries among them that are known, each as CACHE/KEY, at most 100.
	Keys []string `json:"keys,omitempty"`
	// Unknown is how many of the records are not known to be an entry's.
	Unknown int `json:"unknown,omitempty"`
}

// keysNamed is how many keys a Damage names.
const keysNamed = 100

// Damages returns what was found wrong with the files of this node's folder since it was opened.
func (g *Grid) Damages() []Damage {
	if g.server == nil {
		return nil
	}
	return g.server.damages()
}

// streamFiles is the folder of one stream in a node's folder.
type streamFiles struct {
	name, dir string
	class     Class // empty for the grid's description, and for a stream that is none of a grid's
	partition int
	of        int // partitions of the class; findMissing counts those too that are not there
}

// grid, class and partition of a stream's name.
var streamName = regexp.MustCompile(`^KV_.+-([dv])-([0-9]+)$`)

// findStreams returns the streams that are in a node's folder.
func findStreams(dir string) ([]streamFiles, error) {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "jetstream", "*", "streams", "*"))
	if err != nil {
		return nil, fmt.Errorf("list the streams in %s: %w", dir, err)
	}
	var out []streamFiles
	of := map[Class]int{}
	for _, path := range paths {
		s := streamFiles{name: filepath.Base(path), dir: path, partition: -1}
		if m := streamName.FindStringSubmatch(s.name); m != nil {
			s.class = Durable
			if m[1] == "v" {
				s.class = Volatile
			}
			if s.partition, err = strconv.Atoi(m[2]); err != nil {
				continue
			}
			of[s.class]++
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			out = append(out, s)
		}
	}
	for i := range out {
		out[i].of = of[out[i].class]
	}
	return out, nil
}

// escapeGlob quotes what means something to filepath.Glob.
func escapeGlob(dir string) string {
	if os.PathSeparator != '/' {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// entry returns the cache and the key of a subject; ok is false for what is no entry's, or of another partition.
func (s streamFiles) entry(subject string) (cache, key string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.prefix())
	if !ok || s.class == "" {
		return "", "", false
	}
	cache, token, ok := strings.Cut(rest, ".")
	if !ok || !cacheName.MatchString(cache) {
		return "", "", false
	}
	key, err := Unescape(token)
	return cache, key, err == nil && partitionOf(key, token, s.of) == s.partition
}

func (s streamFiles) prefix() string { return "$KV." + strings.TrimPrefix(s.name, "KV_") + "." }

// plausible reports whether a damaged record can have a subject: of an entry, or of the grid itself.
func (s streamFiles) plausible(subject string) bool {
	if _, _, ok := s.entry(subject); ok {
		return true
	}
	own := s.prefix()
	if s.class != "" {
		own += reserved + "."
	}
	return strings.HasPrefix(subject, own)
}

// check reads every record of the stream.
func (s streamFiles) check() (blocks.Report, error) {
	return blocks.Check(s.dir, s.name, s.plausible)
}

// damages says what a report found.
func (s streamFiles) damages(r blocks.Report, kept string) []Damage {
	var out []Damage
	for _, d := range r.Damages {
		one := Damage{
			Class: s.class, Partition: s.partition, Stream: s.name, File: strconv.Itoa(d.Block) + ".blk", Kept: kept, Missing: d.Missing,
			Records: len(d.Lost), From: math.MaxUint64,
		}
		for _, l := range d.Lost {
			one.From, one.To = min(one.From, Sequence(l.Seq)), max(one.To, Sequence(l.Seq))
			cache, key, ok := s.entry(l.Subject)
			if !ok {
				one.Unknown++
			} else if len(one.Keys) < keysNamed {
				one.Keys = append(one.Keys, cache+"/"+key)
			}
		}
		if len(d.Lost) == 0 {
			one.From = 0
		}
		out = append(out, one)
	}
	return out
}

// mend reads everything in the node's folder before the server does, which would cut a block off at its first bad record, and lose all behind it.
// Damaged blocks are kept as they are, in the folder's folder damaged, and written anew with all that is whole; in place of each entry that is lost
// there is a message that says so. It returns how many partitions each grid has that is there, by its name.
func mend(dir string, log *slog.Logger) ([]Damage, map[string]int, error) {
	streams, err := findStreams(dir)
	if err != nil {
		return nil, nil, err
	}
	out, partitions, err := findMissing(streams)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now().UTC()
	keep := func(stream string) string {
		return filepath.Join(dir, "damaged", now.Format("20060102T150405.000000000Z"), stream)
	}
	for i, d := range out {
		// What is left of the stream's folder would have it go on at the first sequence.
		if at := slices.IndexFunc(streams, func(s streamFiles) bool { return s.name == d.Stream }); at >= 0 {
			out[i].Kept = keep(d.Stream)
			if err := blocks.Move(streams[at].dir, out[i].Kept); err != nil {
				return nil, nil, err
			}
			streams = slices.Delete(streams, at, at+1)
		}
		what := "all files of a partition are missing: everything in it is lost; restore the folder from a backup, or put its entries again"
		if d.Class == "" {
			what = "all files of the grid's description are missing: its caches and pipelines are not known; restore the folder from a backup, or make them again"
		}
		log.Error(what, "class", d.Class, "partition", d.Partition, "stream", d.Stream)
	}
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, s := range streams {
		all.Go(func() error {
			if err := blocks.CheckDescription(s.dir, s.name); err != nil {
				if err := blocks.DropDescription(s.dir, keep(s.name)); err != nil {
					return err
				}
				log.Warn("a stream's description was damaged or missing: it is made again, and nothing is lost with it", "stream", s.name, "error", err)
			}
			r, err := s.check()
			if err != nil || len(r.Damages) == 0 {
				return err
			}
			kept := keep(s.name)
			if err := blocks.Mend(r, kept, func(subject string) string {
				if _, _, ok := s.entry(subject); !ok {
					return ""
				}
				return "NATS/1.0\r\n" + headerOperation + ": PURGE\r\n" + HeaderDamaged + ": " + now.Format(time.RFC3339) + "\r\n\r\n"
			}); err != nil {
				return err
			}
			found := s.damages(r, kept)
			for _, d := range found {
				log.Error("damaged on the disk: what is whole was saved", "class", d.Class, "partition", d.Partition, "file", d.File, "missing", d.Missing,
					"records", d.Records, "from", d.From, "to", d.To, "keys", d.Keys, "unknown", d.Unknown, "kept", d.Kept)
			}
			mu.Lock()
			out = append(out, found...)
			mu.Unlock()
			return nil
		})
	}
	err = all.Wait()
	slices.SortFunc(out, func(a, b Damage) int { return strings.Compare(a.Stream+a.File, b.Stream+b.File) })
	return out, partitions, err
}
