package backup

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/grid"
)

// Options say what is saved, and who hears of it.
type Options struct {
	// SkipCold leaves the values that are in a store alone there.
	SkipCold bool
	// Lost is called for an entry that is left out, because its value is lost.
	Lost func(cache, key string, err error)
}

// Write saves a grid, as a tar of what a backup has, to w: a node's answer, which Receive takes. Memory is bounded by a part or two. A fault on
// the way is the last file of the tar, and returned.
func Write(ctx context.Context, g *grid.Grid, w io.Writer, o Options) (Manifest, error) {
	z, err := newPacker()
	if err != nil {
		return Manifest{}, err
	}
	defer z.Close()
	s := &saver{g: g, o: o, z: z, tar: tar.NewWriter(w)}
	if err := s.run(ctx); err != nil {
		err = fmt.Errorf("back up grid %s: %w", g.Name(), err)
		// Where this fails too, the stream is cut, which says enough.
		if text, jsonErr := json.Marshal(failed{Error: err.Error()}); jsonErr == nil {
			_ = s.file(failedName, text)
			_ = s.tar.Close()
		}
		return Manifest{}, err
	}
	return s.m, nil
}

// failed is why a stream ends without a manifest.
type failed struct {
	Error string `json:"error"`
}

// saver is one Write under way.
type saver struct {
	g   *grid.Grid
	o   Options
	z   *zstd.Encoder
	tar *tar.Writer
	m   Manifest

	raw     []byte // of the part that is being filled
	records int
	end     End
}

func (s *saver) run(ctx context.Context) error {
	s.m = Manifest{
		Format: Format, ID: NewID(time.Now(), rand.Text()), Grid: s.g.Name(), GridID: s.g.ID(), Partitions: s.g.Partitions(),
		Started: time.Now().UTC(), References: s.o.SkipCold,
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	for _, class := range s.g.Classes() {
		for p := range s.g.Partitions() {
			if err := s.partition(ctx, class, p); err != nil {
				return err
			}
		}
	}
	for c, err := range s.g.Caches(ctx) {
		if err != nil {
			return err
		}
		s.m.Caches = append(s.m.Caches, c)
	}
	s.m.Ended = time.Now().UTC()
	b, err := json.MarshalIndent(s.m, "", " ")
	if err != nil {
		return err
	}
	if len(b) > maxManifest {
		return fmt.Errorf("the manifest has %d bytes, of at most %d", len(b), maxManifest)
	}
	if err := s.file(ManifestName, b); err != nil {
		return err
	}
	return s.tar.Close()
}

// begin tells what is to come.
func (s *saver) begin(ctx context.Context) error {
	b := Begin{ID: s.m.ID, Grid: s.m.Grid, Partitions: s.m.Partitions}
	for _, class := range s.g.Classes() {
		for p := range s.g.Partitions() {
			messages, bytes, err := s.g.DumpSize(ctx, class, p)
			if err != nil {
				return err
			}
			b.Messages, b.Bytes = b.Messages+messages, b.Bytes+bytes
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return s.file(beginName, text)
}

func (s *saver) partition(ctx context.Context, class grid.Class, p int) error {
	s.end = End{Class: class, Partition: p}
	o := grid.DumpOptions{SkipCold: s.o.SkipCold, Lost: func(cache, key string, err error) {
		s.m.Lost++
		if s.o.Lost != nil {
			s.o.Lost(cache, key, err)
		}
	}}
	end, err := s.g.Dump(ctx, class, p, o, s.take)
	if err != nil {
		return err
	}
	if err := s.cut(); err != nil {
		return err
	}
	s.end.Sequence, s.end.Time = end.Sequence, end.Time.UTC()
	s.m.Above = max(s.m.Above, end.Sequence)
	s.m.Ends = append(s.m.Ends, s.end)
	return nil
}

func (s *saver) take(k grid.Kept) error {
	s.raw = appendRecord(s.raw, k)
	s.records++
	s.end.Records++
	if len(s.raw) >= partRaw {
		return s.cut()
	}
	return nil
}

// cut ends a part.
func (s *saver) cut() error {
	if s.records == 0 {
		return nil
	}
	b := pack(s.z, s.raw)
	p := Part{
		Name: partName(len(s.m.Parts) + 1), Class: s.end.Class, Partition: s.end.Partition, Records: s.records, Raw: len(s.raw), Bytes: len(b), SHA256: sum(b),
	}
	if err := s.file(p.Name, b); err != nil {
		return err
	}
	s.m.Parts = append(s.m.Parts, p)
	s.raw, s.records = s.raw[:0], 0
	return nil
}

func (s *saver) file(name string, b []byte) error {
	h := &tar.Header{Name: name, Size: int64(len(b)), Mode: 0o600, ModTime: time.Now().Truncate(time.Second), Format: tar.FormatPAX}
	if s.records > 0 {
		h.PAXRecords = map[string]string{recordsField: fmt.Sprint(s.records), rawField: fmt.Sprint(len(s.raw))}
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := s.tar.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return s.tar.Flush()
}

// recordsField and rawField say of a part in a stream what it has, for who shows how far it is.
const (
	recordsField = "MILLRACE.records"
	rawField     = "MILLRACE.raw"
)
