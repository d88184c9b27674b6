package blocks

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Mend writes the damaged blocks of a report anew: every whole record as it is, and in place of each message that is lost one of the same sequence
// and subject with the headers that mark returns, or, for "" or a subject that is not known, a record that says that it was erased. What was there is
// copied to the folder keep first; where that fails nothing is changed. The server must not have the folder open.
func Mend(r Report, keep string, mark func(subject string) string) error {
	if len(r.Damages) == 0 {
		return nil
	}
	msgs := filepath.Join(r.Dir, "msgs")
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return fmt.Errorf("make a folder for damaged blocks: %w", err)
	}
	kept := []string{"index.db"}
	for _, d := range r.Damages {
		kept = append(kept, strconv.Itoa(d.Block)+".blk")
	}
	for _, name := range kept {
		if err := copyFile(filepath.Join(msgs, name), filepath.Join(keep, name)); err != nil {
			return fmt.Errorf("keep %s of stream %s as it is: %w", name, r.Stream, err)
		}
	}
	for _, d := range r.Damages {
		if err := mendBlock(r, d, mark); err != nil {
			return fmt.Errorf("mend block %d of stream %s: %w", d.Block, r.Stream, err)
		}
	}
	// The server makes it again, of the blocks as they are now.
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mend stream %s: %w", r.Stream, err)
	}
	return syncFolder(msgs)
}

func mendBlock(r Report, d Damage, mark func(string) string) error {
	s, err := newSums(r.Stream, d.Block)
	if err != nil {
		return err
	}
	path := blockFile(r.Dir, d.Block)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out := make([]byte, 0, len(b))
	lost := d.Lost
	last := time.Now().UnixNano() // a time that orders what is lost among its neighbours
	if info, err := os.Stat(path); err == nil {
		last = info.ModTime().UnixNano()
	}
	upTo := func(seq uint64) {
		for len(lost) > 0 && lost[0].Seq < seq {
			l := lost[0]
			lost = lost[1:]
			if l.Time == 0 {
				l.Time = last
			}
			headers := ""
			if l.Subject != "" {
				headers = mark(l.Subject)
			}
			if headers == "" {
				out = s.appendRecord(out, l.Seq|erasedFlag, l.Time, "", "")
				continue
			}
			out = s.appendRecord(out, l.Seq, l.Time, l.Subject, headers)
		}
	}
	s.scan(b, func(one record) {
		if !one.note {
			upTo(one.seq)
			last = one.time
		}
		out = append(out, b[one.from:one.to]...)
	})
	upTo(math.MaxUint64)
	return replace(path, out)
}

// replace writes a file in one step.
func replace(path string, b []byte) error {
	f, err := os.OpenFile(path+".mend", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".mend", path)
}

// copyFile copies a file that may not be there.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// DropDescription moves the files that describe a stream to the folder keep. The server makes them again over the blocks that are there; it would leave
// damaged ones as they are.
func DropDescription(dir, keep string) error {
	for _, name := range []string{"meta.inf", "meta.sum"} {
		err := os.MkdirAll(keep, 0o700)
		if err == nil {
			err = copyFile(filepath.Join(dir, name), filepath.Join(keep, name))
		}
		if err == nil {
			err = os.Remove(filepath.Join(dir, name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep %s of stream %s as it is: %w", name, filepath.Base(dir), err)
		}
	}
	return syncFolder(dir)
}

// Move takes what is left of a stream's folder out of the server's sight, to the folder keep.
func Move(dir, keep string) error {
	err := os.MkdirAll(filepath.Dir(keep), 0o700)
	if err == nil {
		err = os.Rename(dir, keep)
	}
	if err == nil {
		err = errors.Join(syncFolder(filepath.Dir(dir)), syncFolder(filepath.Dir(keep)))
	}
	if err != nil {
		return fmt.Errorf("keep what is left of stream %s: %w", filepath.Base(dir), err)
	}
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
