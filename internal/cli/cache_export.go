package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/internal/outfile"
)

// exportPage is how many entries one request brings.
const exportPage = 50_000

// folderFormat is the format of a folder, which the node does not know.
const folderFormat bulk.Format = "folder"

func (c *command) cacheExport(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export CACHE FILE|FOLDER",
		Short: "Write a cache's entries to a CSV file, JSON lines, an .npz, a tar or a folder of files",
		Long: `Writes the entries of a cache to a file, or to a folder with a file each. JSON lines, tar and folders hold everything that an entry has:
value, content type, labels and what is left of its life. CSV holds entries that are JSON objects, with a column scores.1 for what an object
in one has under "1", and .npz those that are .npy of one type and shape; both hold keys and values alone. The file is there when it is
whole. Until then the entries are in FILE.part; where the command was interrupted, the same command goes on with it, and what it had by then
is as it was then. One that the format refuses leaves nothing. ` + remoteHelp,
		Example: `  millrace cache export predictions predictions.jsonl
  millrace cache export photos photos/
  millrace cache export readings readings.csv --prefix 2026-`,
		Args: args("CACHE", "FILE|FOLDER"),
	}
	f := cmd.Flags()
	format := f.String("format", "", "csv, jsonl, npz, tar or folder (default: what the name says)")
	prefix := f.String("prefix", "", "only keys that begin so")
	restart := f.Bool("restart", false, "begin with the first entry, whatever an interrupted export had")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		e := &exporter{c: c, cache: given[0], to: given[1], prefix: *prefix, restart: *restart, m: c.meter(*asJSON)}
		if err := e.choose(*format); err != nil {
			return err
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		e.cl = cl
		err = e.run(cmd.Context())
		e.m.end()
		if err != nil {
			return fmt.Errorf("export %s to %s: %w", given[0], given[1], err)
		}
		if *asJSON {
			out := map[string]any{"cache": given[0], "out": given[1], "entries": e.entries}
			if e.early > 0 {
				out["resumed"] = map[string]any{"entries": e.early, "since": e.head.Begun}
			}
			return printJSON(c.Stdout, out)
		}
		text := fmt.Sprintf("%d entries are in %s", e.entries, given[1])
		if e.early > 0 {
			text += fmt.Sprintf("; the first %d were read before the interruption, from %s on, and are as they were then", e.early, e.head.Begun.Format(time.RFC3339))
		}
		_, err = fmt.Fprintln(c.Stdout, text)
		return err
	}
	return cmd
}

type exporter struct {
	c                 *command
	cl                *client.Client
	cache, to, prefix string
	format            bulk.Format
	restart           bool
	m                 *meter

	head    exportHead
	early   int64 // entries that an interrupted export had
	entries int64
	bytes   int64
	last    string // the key of the last entry
}

// choose finds the format, and what would keep the result from being written.
func (e *exporter) choose(format string) error {
	var err error
	info, statErr := os.Stat(e.to)
	isDir := statErr == nil && info.IsDir()
	switch {
	case format == string(folderFormat), format == "" && (isDir || strings.HasSuffix(e.to, "/") || filepath.Ext(e.to) == ""):
		e.format = folderFormat
	case format != "":
		e.format, err = bulk.ParseFormat(format)
	default:
		e.format, err = bulk.FormatOfFile(e.to)
	}
	if err != nil {
		return usagef("%v; --format is csv, jsonl, npz, tar or folder", err)
	}
	if e.format != folderFormat {
		return outfile.Check(e.to)
	}
	e.to = filepath.Clean(e.to)
	if isDir {
		names, err := os.ReadDir(e.to)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return usagef("the folder %s is not empty: name one that is, or is yet to be made", e.to)
		}
	}
	return outfile.CheckDir(filepath.Dir(e.to))
}

func (e *exporter) part() string { return e.to + ".part" }

// exportHead is the first line of FILE.part: what the rest is of. It is of use while only Begun differs.
type exportHead struct {
	Server string      `json:"server"`
	Cache  string      `json:"cache"`
	Prefix string      `json:"prefix"`
	Format bulk.Format `json:"format"`
	// Begun is when the first entry was asked for.
	Begun time.Time `json:"begun"`
}

func (e *exporter) run(ctx context.Context) (err error) {
	cache, err := e.cl.Cache(ctx, e.cache)
	if err != nil {
		return err
	}
	part, err := os.OpenFile(e.part(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	// Only an interruption leaves something to go on from.
	keep := false
	defer func() {
		err = errors.Join(err, part.Close())
		if !keep {
			err = errors.Join(err, os.Remove(e.part()))
		}
	}()
	if err := e.goOn(part); err != nil {
		return err
	}
	total := cache.Size
	if e.prefix != "" {
		total = 0
	}
	for more := true; more; {
		out := &lineCounter{to: bufio.NewWriterSize(part, 1<<20), e: e, total: total}
		next, err := e.cl.ExportLines(ctx, out, e.cache, e.prefix, e.last, exportPage)
		if err := errors.Join(err, out.to.Flush()); err != nil {
			if keep = e.entries > 0 && interrupted(err); !keep {
				return err
			}
			left := fmt.Sprintf("what came is in %s, and the same command goes on with it (--restart begins anew)", e.part())
			if ctx.Err() != nil { // of which nothing else is told
				e.m.end()
				e.c.warn(left)
				return err
			}
			return fmt.Errorf("%w; %s", err, left)
		}
		e.last, more = next, next != ""
	}
	return e.convert(part)
}

// interrupted reports whether what ended an export may be over at the next call, as against an answer that the node will give again.
func interrupted(err error) bool {
	var answer *client.Error
	return !errors.As(err, &answer) || answer.Status >= http.StatusInternalServerError ||
		slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, answer.Status)
}

// goOn takes over what an export that was interrupted has left, up to its last whole line, or begins.
func (e *exporter) goOn(part *os.File) error {
	e.head = exportHead{Server: e.cl.Server(), Cache: e.cache, Prefix: e.prefix, Format: e.format, Begun: time.Now().UTC().Truncate(time.Second)}
	in := bufio.NewReaderSize(part, 1<<20)
	first, err := in.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var was exportHead
	whole := err == nil && json.Unmarshal(first, &was) == nil
	want := e.head
	want.Begun = was.Begun
	if !whole || was != want || e.restart {
		if len(first) > 0 && !e.restart {
			e.c.warn(fmt.Sprintf("%s is of another export: it begins anew", e.part()))
		}
		return e.begin(part)
	}
	e.head = was
	return e.resume(part, in, int64(len(first)))
}

// begin writes the head in place of whatever is in the part.
func (e *exporter) begin(part *os.File) error {
	b, err := json.Marshal(e.head)
	if err == nil {
		err = part.Truncate(0)
	}
	if err == nil {
		_, err = part.WriteAt(append(b, '\n'), 0)
	}
	if err == nil {
		_, err = part.Seek(0, io.SeekEnd)
	}
	return err
}

// resume counts the whole lines of the part, of which the head takes the first bytes, and goes to their end.
func (e *exporter) resume(part *os.File, in *bufio.Reader, whole int64) error {
	var last []byte
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		whole += int64(len(line))
		e.entries++
		last = line
	}
	if err := part.Truncate(whole); err != nil {
		return err
	}
	if last == nil { // nothing had come: what comes now is of now
		e.head.Begun = time.Now().UTC().Truncate(time.Second)
		return e.begin(part)
	}
	r, err := lineReader(bytes.NewReader(last))
	if err != nil {
		return err
	}
	record, err := r.Next()
	if err != nil {
		return fmt.Errorf("%s: %w", e.part(), err)
	}
	e.last, e.early = record.Key, e.entries
	e.c.warn(fmt.Sprintf("going on behind %d entries of %s; they are as they were from %s on, and changes of them since are left out (--restart begins anew)",
		e.entries, e.part(), e.head.Begun.Format(time.RFC3339)))
	_, err = part.Seek(0, io.SeekEnd)
	return err
}

func lineReader(r io.Reader) (bulk.Reader, error) {
	return bulk.NewReader(r, bulk.JSONLines, bulk.Options{})
}

// lineCounter counts the entries that go to the file.
type lineCounter struct {
	to    *bufio.Writer
	e     *exporter
	total int64
}

func (l *lineCounter) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	l.e.entries += int64(bytes.Count(p[:n], []byte{'\n'}))
	l.e.bytes += int64(n)
	l.e.m.report(l.e.entries, l.e.bytes, l.e.entries, l.total)
	return n, err
}

// convert makes the result of what was fetched.
func (e *exporter) convert(part *os.File) error {
	each := func(take func(*bulk.Record) error) error {
		next, err := e.records(part)
		if err != nil {
			return err
		}
		for {
			r, err := next.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", e.part(), err)
			}
			if err := take(&r); err != nil {
				return err
			}
		}
	}
	if e.format == folderFormat {
		return e.folder(each)
	}
	return outfile.Write(e.to, func(w io.Writer) error {
		if strings.HasSuffix(strings.ToLower(e.to), "gz") && e.format != bulk.NPZ {
			z := gzip.NewWriter(w)
			return errors.Join(e.file(z, part, each), z.Close())
		}
		return e.file(w, part, each)
	})
}

// records reads what was fetched from its beginning.
func (e *exporter) records(part *os.File) (bulk.Reader, error) {
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(part, 1<<20)
	if _, err := in.ReadBytes('\n'); err != nil {
		return nil, err
	}
	return lineReader(in)
}

func (e *exporter) file(w io.Writer, part *os.File, each func(func(*bulk.Record) error) error) error {
	var out bulk.Writer
	var err error
	switch e.format {
	case bulk.NPZ:
		in, err := e.records(part)
		if err != nil {
			return err
		}
		return bulk.WriteNPZ(w, int(e.entries), in.Next)
	case bulk.CSV:
		var columns bulk.Columns
		if err := each(columns.Add); err != nil {
			return err
		}
		out, err = bulk.NewCSVWriter(w, &columns)
	default:
		out, err = bulk.NewWriter(w, e.format)
	}
	if err != nil {
		return err
	}
	return errors.Join(each(out.Write), out.Close())
}

// folder writes the files into a folder beside, which takes the name when it is whole.
func (e *exporter) folder(each func(func(*bulk.Record) error) error) (err error) {
	making, err := os.MkdirTemp(filepath.Dir(e.to), filepath.Base(e.to)+".making-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(making))
		}
	}()
	out, err := newFolderWriter(making)
	if err != nil {
		return err
	}
	if err := errors.Join(each(out.Write), out.Close(), os.Chmod(making, 0o755)); err != nil {
		return err
	}
	if err := os.Remove(e.to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(making, e.to)
}
