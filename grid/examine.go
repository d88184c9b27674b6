package grid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/grid/internal/blocks"
	"github.com/millrace/millrace/internal/lockfile"
)

// Examined is what a node's folder has.
type Examined struct {
	Streams int `json:"streams"`
	Blocks  int `json:"blocks"`
	// Records were read whole; those that were overwritten are among them until the server drops them.
	Records int `json:"records"`
	// Killed is how many streams were not stopped in order. What is missing at their ends, or as whole blocks, cannot be known.
	Killed int `json:"killed"`
	// Torn is how many of them end with a write that was not finished. It was never answered.
	Torn    int      `json:"torn"`
	Damages []Damage `json:"damages"`
	// Faults is what else is wrong, each with what a start does, or what to do.
	Faults []string `json:"faults"`
}

// Lost is how many records are lost.
func (e Examined) Lost() (n int) {
	for _, d := range e.Damages {
		n += d.Records
	}
	return n
}

// Gone is how many streams are wholly gone.
func (e Examined) Gone() (n int) {
	for _, d := range e.Damages {
		if d.Everything {
			n++
		}
	}
	return n
}

// Examine reads every record of a node's folder and says what is wrong. It changes nothing but the LOCK, which it takes: a node that runs there is an
// ErrLocked, and what is no node's folder an ErrFormat.
func Examine(dir string) (out Examined, err error) {
	out.Damages, out.Faults = []Damage{}, []string{}
	// Nothing is made in a folder that is none.
	if _, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return out, fmt.Errorf("%w: %s has no FORMAT file", ErrFormat, dir)
		}
		return out, fmt.Errorf("look at %s: %w", dir, err)
	}
	lock, err := lockfile.Take(dir, ErrLocked)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	f := &folder{dir: dir, lock: lock}
	if err := f.checkFormat(); err != nil {
		return out, err
	}
	streams, err := findStreams(dir)
	if err != nil {
		return out, err
	}
	missing, _, err := findMissing(streams)
	if err != nil {
		return out, err
	}
	out.Damages = append(out.Damages, missing...)
	for _, s := range streams {
		out.Streams++
		if err := blocks.CheckDescription(s.dir, s.name); err != nil {
			out.Faults = append(out.Faults, fmt.Sprintf("%v; a start makes it again, and loses nothing with it", err))
		}
		r, err := s.check()
		if err != nil {
			return out, err
		}
		out.Blocks += r.Blocks
		out.Records += r.Messages
		if !r.Exact {
			out.Killed++
		}
		if r.Torn {
			out.Torn++
		}
		out.Damages = append(out.Damages, s.damages(r, "")...)
	}
	if out.Streams == 0 {
		out.Faults = append(out.Faults, "no stream is there: the folder is a new one, or its folder jetstream was removed")
	}
	return out, nil
}
