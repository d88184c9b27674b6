// Package backup saves a whole grid while it is in use, and fills a new grid from what was saved. It knows nothing of commands and protocols: who asks for
// it, and where a node's configuration is, is left to others.
//
// A backup is a number of files: parts, each with messages of one partition in the order of its stream, and a manifest, which is written last and has the
// sums of the parts. Without its manifest it is none. Models, what chose a version to serve, and pipelines that were made at run time are entries of the
// grid's own caches, and the places of readers are messages of its streams: so all of them are in the parts. The manifest has the settings of the caches.
//
// Each partition is saved as it was at one sequence (grid.Dump); partitions are read one after the other, so the whole is of no single moment. A key and its
// result are in partitions of the same number, but volatile and durable ones are read at different times: a pipeline that was ahead in one of them is noticed by its results.
//
// A restore makes a new grid whose streams begin above all revisions of the backup. So entries keep their revisions in any number of partitions: ETags, the
// sources of results and the places of readers are what they were, and nothing is computed again. That is why a grid that has been used takes no backup in: its
// streams go on from where they are, and two grids' revisions cannot be compared.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
)

// Format is the number of the form of manifests and parts that this program writes, and the newest that it reads.
const Format = 1

// The names of a backup's files. A stream of a node has what will be in the manifest's place at its beginning, too, and where it fails what failed at its end.
const (
	ManifestName = "manifest.json"
	beginName    = "begin.json"
	failedName   = "error.json"
)

var (
	// ErrNone says that there is no backup where one was looked for, or no whole one.
	ErrNone = errors.New("no backup")
	// ErrThere says that there is a backup already where one is to be written.
	ErrThere = errors.New("there is a backup already")
	// ErrDamaged says that a part or a manifest is not what was written.
	ErrDamaged = errors.New("backup is damaged")
	// ErrNewer says that a newer program wrote the backup.
	ErrNewer = errors.New("backup has a newer format")
	// ErrCut says that a node's stream ended before the manifest.
	ErrCut = errors.New("backup was cut")
)

// Manifest describes a whole backup.
type Manifest struct {
	Format int `json:"format"`
	// ID is the backup's, and GridID that of the grid's stores.
	ID         string    `json:"id"`
	Grid       string    `json:"grid"`
	GridID     string    `json:"grid_id"`
	Partitions int       `json:"partitions"`
	Started    time.Time `json:"started"`
	Ended      time.Time `json:"ended"`
	// References says that values which were in a store alone are not in the backup: it is worth something only with these stores.
	References bool `json:"references,omitempty"`
	// Lost is how many entries were left out because the store did not have their values.
	Lost int64 `json:"lost,omitempty"`
	// Above is the highest revision.
	Above  grid.Sequence      `json:"above"`
	Caches []grid.CacheConfig `json:"caches"`
	// Ends has for each partition of each class of which sequence and time it is.
	Ends  []End  `json:"ends"`
	Parts []Part `json:"parts"`
}

// End is of which sequence and time a partition was saved, and how many messages it has.
type End struct {
	Class     grid.Class    `json:"class"`
	Partition int           `json:"partition"`
	Sequence  grid.Sequence `json:"sequence"`
	Time      time.Time     `json:"time"`
	Records   int64         `json:"records"`
}

// Part is a file with messages of one partition.
type Part struct {
	Name      string     `json:"name"`
	Class     grid.Class `json:"class"`
	Partition int        `json:"partition"`
	Records   int        `json:"records"`
	// Raw is what the messages take unpacked, and Bytes the file's size.
	Raw    int    `json:"raw"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Begin is what a node says before the first part.
type Begin struct {
	ID         string `json:"id"`
	Grid       string `json:"grid"`
	Partitions int    `json:"partitions"`
	// Messages and Bytes are about what is to come.
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"`
}

// Total is what the parts have together.
func (m Manifest) Total() (records, raw, bytes int64) {
	for _, p := range m.Parts {
		records, raw, bytes = records+int64(p.Records), raw+int64(p.Raw), bytes+int64(p.Bytes)
	}
	return records, raw, bytes
}

// partName is the name of the n-th part, from 1.
func partName(n int) string { return fmt.Sprintf("part-%08d", n) }

// ReadManifest reads a manifest. It is ErrNewer, or ErrDamaged with every reason.
func ReadManifest(b []byte) (Manifest, error) {
	var form struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &form); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrDamaged, ManifestName, err)
	}
	if form.Format > Format {
		return Manifest{}, fmt.Errorf("%w: %d, and this program knows up to %d; use a newer one", ErrNewer, form.Format, Format)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrDamaged, ManifestName, err)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("%w: %s: %w", ErrDamaged, ManifestName, err)
	}
	return m, nil
}

func (m Manifest) check() error {
	var l fault.Errors
	l.Check(m.Format == Format, "format", "%d is none", m.Format)
	l.Check(m.ID != "", "id", "is missing")
	l.Check(m.Partitions >= 1 && m.Partitions <= 256 && bits.OnesCount(uint(m.Partitions)) == 1, "partitions", "%d is no power of two up to 256", m.Partitions)
	l.Check(m.Above < 1<<62, "above", "%d is too high", m.Above)
	for i, p := range m.Parts {
		where := fmt.Sprintf("parts[%d]", i)
		l.Check(p.Name == partName(i+1), where, "%q must be %s", p.Name, partName(i+1))
		l.Check(p.Partition >= 0 && p.Partition < m.Partitions, where, "there is no partition %d", p.Partition)
		l.Check(p.Class == grid.Durable || p.Class == grid.Volatile, where, "class %q", p.Class)
		l.Check(p.Records > 0 && p.Raw > 0 && p.Raw <= maxRaw && p.Bytes > 0 && p.Bytes <= maxPart, where, "%d records, %d of %d bytes", p.Records, p.Bytes, p.Raw)
		sum, err := hex.DecodeString(p.SHA256)
		l.Check(err == nil && len(sum) == sha256.Size, where, "sha256 %q", p.SHA256)
	}
	seen := map[string]bool{}
	for _, c := range m.Caches {
		l.Check(!seen[c.Name], "caches", "%s is there twice", c.Name)
		seen[c.Name] = true
		if err := c.Validate(); err != nil {
			l.Add("caches", "%v", err)
		}
	}
	return l.Err()
}

// Volatile returns the names of the volatile caches, and how many messages they have.
func (m Manifest) Volatile() (names []string, records int64) {
	for _, c := range m.Caches {
		if c.Class == grid.Volatile {
			names = append(names, c.Name)
		}
	}
	for _, p := range m.Parts {
		if p.Class == grid.Volatile {
			records += int64(p.Records)
		}
	}
	return names, records
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// NewID makes the name of a backup that begins now: its time, and something that tells it from others of that time.
func NewID(now time.Time, random string) string {
	return now.UTC().Format("20060102-150405") + "-" + strings.ToLower(random[:min(len(random), 6)])
}
