package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/pipeline"
)

const (
	// chunkRows and chunkBytes bound what goes in one request: what an interruption costs.
	chunkRows  = 4096
	chunkBytes = 4 << 20
	// placeEvery is how often the place is written down, beside at the end.
	placeEvery = 200 * time.Millisecond
)

func (c *command) cacheImport(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import CACHE FILE|FOLDER",
		Short: "Bring a CSV file, JSON lines, an .npz, a tar or a folder of files into a cache",
		Long: `Brings many entries into a cache. A row of a CSV file becomes a JSON object with the columns' names, with numbers as numbers; a line of
JSON is an entry where the first one has key and value, else a value; a row of a tensor of an .npz becomes an .npy; a file of a tar or a
folder is a value under its path. What cache export wrote comes back as it was.

The key is in the column or field that --key names, else in one named "key", else it is the row's number. Where the command ends early it has
written down beside the file how far it was, and the same command goes on from there. ` + remoteHelp,
		Example: `  millrace cache import readings readings.csv --key id
  millrace cache import photos ~/photos
  millrace cache import digits test.npz --array x_test`,
		Args: args("CACHE", "FILE|FOLDER"),
	}
	var o bulk.Options
	f := cmd.Flags()
	format := f.String("format", "", "csv, jsonl, tar or npz (default: what the file's name says)")
	f.StringVar(&o.Key, "key", "", "the `column` or field that has the keys; with --no-header its number")
	f.StringVar(&o.Prefix, "prefix", "", "begins each key that is a row's number or a file's name")
	separator := f.String("separator", "", "what separates a CSV's columns: one character, or tab (default: found)")
	f.BoolVar(&o.NoHeader, "no-header", false, "a CSV's first row is data; each row becomes a list")
	f.StringVar(&o.Array, "array", "", "the `tensor` of an .npz whose rows are the entries")
	restart := f.Bool("restart", false, "begin from the first row, whatever an earlier import had stored")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *separator != "" {
			var err error
			if o.Separator, err = separatorOf(*separator); err != nil {
				return usagef("--separator: %w", err)
			}
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		cache, err := cl.Cache(cmd.Context(), given[0])
		if err != nil {
			return fmt.Errorf("import into %s: %w", given[0], err)
		}
		o.MaxBytes = cache.Config.MaxEntryBytes
		src, err := c.openSource(given[1], *format, o)
		if err != nil {
			return fmt.Errorf("import %s: %w", given[1], err)
		}
		defer src.Close()
		im := &importer{c: c, cl: cl, cache: given[0], src: src, m: c.meter(*asJSON)}
		im.place = importPlace{Server: cl.Server(), Cache: given[0], Size: src.size, Modified: src.modified, Options: fmt.Sprint(*format, o)}
		if src.place != "" && !*restart {
			im.resume()
		}
		err = im.run(cmd.Context())
		im.m.end()
		if err != nil {
			return fmt.Errorf("import %s into %s: %w", given[1], given[0], err)
		}
		if *asJSON {
			return printJSON(c.Stdout, map[string]any{"cache": given[0], "rows": im.place.Rows, "stored": im.place.Stored, "skipped": im.begun, "seconds": time.Since(im.m.started).Seconds()})
		}
		if _, err = fmt.Fprintln(c.Stdout, im.text()); err != nil {
			return err
		}
		return im.readers(cmd.Context())
	}
	return cmd
}

func separatorOf(s string) (rune, error) {
	if s == "tab" || s == `\t` {
		return '\t', nil
	}
	r, size := utf8.DecodeRuneInString(s)
	if size != len(s) || r == utf8.RuneError {
		return 0, fmt.Errorf("%q is not one character or tab", s)
	}
	return r, nil
}

// importPlace is how far an import has come, as it stands in the file beside its source. It is of use while nothing else in it has changed.
type importPlace struct {
	Server   string    `json:"server"`
	Cache    string    `json:"cache"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Options  string    `json:"options"`
	// Rows are done, and Stored entries were stored of them.
	Rows   int64 `json:"rows"`
	Stored int64 `json:"stored"`
}

// importer brings a source's records to a node, a chunk after the other: in order, so that the last row of a key wins.
type importer struct {
	c     *command
	cl    *client.Client
	cache string
	src   *source
	m     *meter
	place importPlace
	begun int64 // rows that an earlier import had done
	early int64 // entries that it had stored
	bytes int64
	saved time.Time
}

// text says what was done, for people.
func (i *importer) text() string {
	noun := "rows"
	if i.src.files {
		noun = "files"
	}
	seconds := max(time.Since(i.m.started).Seconds(), 1e-3)
	text := fmt.Sprintf("%d %s were stored in %s (%.0f/s)", i.place.Stored-i.early, noun, i.cache, float64(i.place.Rows-i.begun)/seconds)
	if i.begun > 0 {
		text += fmt.Sprintf("; %d were skipped, which an earlier import had stored", i.begun)
	}
	if i.src.passed > 0 {
		text += fmt.Sprintf("; %d were passed over, hidden ones or what systems leave behind", i.src.passed)
	}
	return text
}

// readers tells of the pipelines that work on what was stored.
func (i *importer) readers(ctx context.Context) error {
	all, err := i.cl.Pipelines(ctx)
	if err != nil {
		i.c.warn(fmt.Sprintf("which pipelines read %s is not known: %v", i.cache, err))
		return nil
	}
	for _, p := range all {
		if p.From != i.cache || p.Origin == "" {
			continue
		}
		what := fmt.Sprintf("pipeline %s reads them: `millrace pipeline ls` shows when its results are there", p.Name)
		if p.State == string(pipeline.Paused) || p.State == string(pipeline.Blocked) {
			what = fmt.Sprintf("pipeline %s, which reads them, is %s: %s", p.Name, p.State, p.Reason)
		}
		if _, err := fmt.Fprintln(i.c.Stdout, what); err != nil {
			return err
		}
	}
	return nil
}

// resume takes over how far an earlier import of the same came.
func (i *importer) resume() {
	b, err := os.ReadFile(i.src.place + i.suffix())
	if err != nil {
		return // there was none
	}
	var was importPlace
	if json.Unmarshal(b, &was) != nil {
		return
	}
	now := i.place
	now.Rows, now.Stored = was.Rows, was.Stored
	if !was.Modified.Equal(now.Modified) || was.Size != now.Size {
		i.c.warn("the source has changed since the import that was interrupted: it begins anew")
		return
	}
	if now.Modified = was.Modified; was != now || was.Rows == 0 {
		return
	}
	i.place, i.begun, i.early = now, now.Rows, now.Stored
	fmt.Fprintf(i.c.Stderr, "millrace: going on behind %d rows that are stored (--restart begins anew)\n", was.Rows)
}

func (i *importer) suffix() string { return "." + i.cache + ".import" }

// save writes down how far the import is, where an interruption is to leave something to go on from.
func (i *importer) save(now bool) {
	if i.src.place == "" || !now && time.Since(i.saved) < placeEvery {
		return
	}
	i.saved = time.Now()
	b, err := json.Marshal(i.place)
	if err == nil {
		err = outfile.Write(i.src.place+i.suffix(), func(w io.Writer) error { _, err := w.Write(b); return err })
	}
	if err != nil {
		i.c.warn(fmt.Sprintf("an interrupted import will begin anew: %v", err))
		i.src.place = ""
	}
}

// chunk is what one request brings.
type chunk struct {
	lines []byte
	rows  int64
	bytes int64
	at    int64 // of the source
	err   error // why no more follow; io.EOF at the end
}

func (i *importer) run(ctx context.Context) error {
	chunks := make(chan chunk)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for range chunks { // the reader may stand there with one
		}
	}()
	go i.read(ctx, chunks)
	for ch := range chunks {
		if ch.rows > 0 {
			if err := i.send(ctx, ch); err != nil {
				i.save(true)
				return err
			}
		}
		if ch.err != nil && !errors.Is(ch.err, io.EOF) {
			i.save(true)
			return fmt.Errorf("%w; %d entries were stored", ch.err, i.place.Stored)
		}
	}
	if err := ctx.Err(); err != nil {
		i.save(true)
		return err
	}
	if i.src.place != "" {
		if err := os.Remove(i.src.place + i.suffix()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// read makes chunks of the source, while the one before is on its way.
func (i *importer) read(ctx context.Context, out chan<- chunk) {
	defer close(out)
	row := int64(0)
	for {
		var ch chunk
		for ch.err == nil && ch.rows < chunkRows && len(ch.lines) < chunkBytes {
			r, err := i.src.Next()
			if err != nil {
				ch.err = err
				break
			}
			if row++; row <= i.begun {
				continue
			}
			ch.lines = append(bulk.AppendLine(ch.lines, &r), '\n')
			ch.rows++
			ch.bytes += int64(len(r.Value))
		}
		ch.at = i.src.at()
		select {
		case out <- ch:
		case <-ctx.Done():
			return
		}
		if ch.err != nil {
			return
		}
	}
}

func (i *importer) send(ctx context.Context, ch chunk) error {
	stored, err := i.cl.ImportLines(ctx, i.cache, ch.lines)
	if err == nil {
		i.place.Rows += ch.rows
		i.place.Stored += stored
		i.bytes += ch.bytes
		i.m.report(i.place.Rows, i.bytes, ch.at, i.src.total)
		i.save(false)
		return nil
	}
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Row == nil {
		if ctx.Err() != nil {
			if i.src.place != "" {
				i.m.end()
				i.c.warn(fmt.Sprintf("the same command goes on behind row %d (--restart begins anew)", i.place.Rows))
			}
			return ctx.Err()
		}
		return fmt.Errorf("%w; %d entries were stored, and the same command goes on from there", err, i.place.Stored)
	}
	row := i.place.Rows + *refused.Row
	i.place.Rows = row - 1
	i.place.Stored += *refused.Stored
	said := *refused
	said.Message = rowOf.ReplaceAllString(storedOf.ReplaceAllString(said.Message, ""), "")
	return fmt.Errorf("row %d: %w; %d entries were stored, and the same command goes on from this row", row, &said, i.place.Stored)
}

// What the node says of a row is of its request; here it is of the whole source.
var (
	rowOf    = regexp.MustCompile(`^row \d+ (\(line \d+\))?:? *`)
	storedOf = regexp.MustCompile(`; \d+ entries were stored$`)
)

// source is where records come from.
type source struct {
	bulk.Reader
	io.Closer
	total    int64 // bytes or files, 0 where it is not known
	at       func() int64
	size     int64
	modified time.Time
	files    bool   // its records are files
	passed   int64  // files that are none
	place    string // what the file that keeps the place is named after; empty where there can be none
}

func (c *command) openSource(name, format string, o bulk.Options) (*source, error) {
	if name == "-" {
		if format == "" {
			return nil, usagef("name the --format of the standard input")
		}
		kind, err := bulk.ParseFormat(format)
		if err != nil || kind == bulk.NPZ {
			return nil, usagef("--format %q must be one of csv, jsonl, tar%s", format, didYouMean(format, []string{"csv", "jsonl", "tar"}))
		}
		in, err := bulk.NewReader(c.Stdin, kind, o)
		return &source{Reader: in, files: kind == bulk.Tar, Closer: io.NopCloser(nil), at: func() int64 { return 0 }}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if format != "" && format != "folder" {
			return nil, usagef("%s is a folder, and --format says %s", name, format)
		}
		return openFolder(name, o)
	}
	kind, err := bulk.FormatOfFile(name)
	if format != "" {
		if kind, err = bulk.ParseFormat(format); err != nil {
			return nil, usagef("--format %q must be one of csv, jsonl, tar, npz%s", format, didYouMean(format, []string{"csv", "jsonl", "tar", "npz"}))
		}
	}
	if err != nil {
		return nil, usagef("%v (--format)", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	s := &source{Closer: f, files: kind == bulk.Tar, size: info.Size(), modified: info.ModTime(), total: info.Size(), place: filepath.Clean(name)}
	counted := &countingReader{from: f}
	s.at = counted.at
	if kind == bulk.NPZ {
		s.Reader, err = bulk.NewNPZReader(f, info.Size(), o)
		s.total = 0
	} else {
		s.Reader, err = bulk.NewReader(counted, kind, o)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}
