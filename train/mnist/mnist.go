// Package mnist fetches the training half of the MNIST database of handwritten digits and checks it.
// Reading it is left to package train.
package mnist

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/outfile"
)

var (
	// ErrChecksum says that a file is not MNIST's: its checksum is another one.
	ErrChecksum = errors.New("checksum is wrong")
	// ErrDownload says that no address gave a file. The message has each address with its reason.
	ErrDownload = errors.New("download failed")
)

// DefaultURLs are where the files are looked for, in this order. Each is a folder.
var DefaultURLs = []string{
	"https://ossci-datasets.s3.amazonaws.com/mnist/",
	"https://storage.googleapis.com/cvdf-datasets/mnist/",
}

// A File is one of the database's files.
type File struct {
	// Name as it is downloaded and kept: gzipped.
	Name string
	// SHA256 is that of the uncompressed content, and Size its length in bytes.
	SHA256 string
	Size   int64
}

// Files are the training half: 60,000 pictures of 28x28 bytes and their labels.
var Files = []File{
	{"train-images-idx3-ubyte.gz", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 16 + 60000*28*28},
	{"train-labels-idx1-ubyte.gz", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 8 + 60000},
}

// Options say how to fetch. The zero value is useful.
type Options struct {
	// URLs are folders to look in; none means DefaultURLs.
	URLs []string
	// Files are what to fetch; none means Files.
	Files []File
	// Client makes the requests; nil is one with a time limit of 10 minutes a file.
	Client *http.Client
	// Log gets a line for each file; nil is silent.
	Log *slog.Logger
}

// Fetch puts the files into dir, which it makes where it is not there. Files that are there with the right checksum are
// kept. A file is in place only after its content was checked.
func Fetch(ctx context.Context, dir string, opts Options) error {
	if len(opts.URLs) == 0 {
		opts.URLs = DefaultURLs
	}
	if len(opts.Files) == 0 {
		opts.Files = Files
	}
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: 10 * time.Minute}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("fetch MNIST: %w", err)
	}
	for _, f := range opts.Files {
		path := filepath.Join(dir, f.Name)
		switch err := Verify(path, f); {
		case err == nil:
			opts.Log.Info("the file is there already", "file", path)
			continue
		case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrChecksum):
			return fmt.Errorf("fetch MNIST: %w", err)
		}
		if err := fetch(ctx, path, f, opts); err != nil {
			return fmt.Errorf("fetch MNIST: %w", err)
		}
	}
	return nil
}

// fetch tries each address for one file.
func fetch(ctx context.Context, path string, f File, opts Options) error {
	if err := outfile.CheckDir(filepath.Dir(path)); err != nil {
		return err
	}
	faults := []error{ErrDownload}
	for _, base := range opts.URLs {
		url := strings.TrimSuffix(base, "/") + "/" + f.Name
		begin := time.Now()
		data, err := get(ctx, opts.Client, url, f)
		if err == nil {
			if err := outfile.Write(path, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
				return err
			}
			opts.Log.Info("fetched", "file", path, "from", url, "bytes", len(data), "took", time.Since(begin).Round(time.Millisecond))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		opts.Log.Warn("an address did not give the file", "url", url, "error", err)
		faults = append(faults, fmt.Errorf("%s: %w", url, err))
	}
	return errors.Join(faults...)
}

// get downloads a file and checks it.
func get(ctx context.Context, client *http.Client, url string, f File) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	// A gzipped file is never much larger than its content.
	limit := f.Size + f.Size/100 + 1024
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: the server sends more than %d bytes", ErrChecksum, limit)
	}
	return data, check(bytes.NewReader(data), f)
}

// check holds a gzipped file against its checksum. It unpacks no more than the file's size.
func check(r io.Reader, f File) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(z, f.Size+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != f.Size || got != f.SHA256 {
		return fmt.Errorf("%w: the content has %d bytes with SHA-256 %s, not %d with %s", ErrChecksum, n, got, f.Size, f.SHA256)
	}
	return nil
}

// Verify holds a file on disk against its checksum.
func Verify(path string, f File) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := check(in, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
