package rest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/registry"
)

// maxArchiveFiles bounds how many files an archive of a model may hold.
const maxArchiveFiles = 10_000

// unpackModel returns the ONNX file of a body: the body itself, or the model in a zip, tar or tar.gz of a folder. What
// such a model keeps in files beside itself is taken into it; a SavedModel of TensorFlow's is converted, with ev. limit bounds
// what an archive unpacks to. Every fault is an ErrRefused.
func unpackModel(ctx context.Context, body []byte, limit int64, ev graph.Evaluator) ([]byte, error) {
	var folder *folder
	var err error
	switch {
	case len(body) == 0:
		return nil, fmt.Errorf("%w: the body is empty; send an ONNX file, or a zip or tar of its folder or of a SavedModel", registry.ErrRefused)
	case bytes.HasPrefix(body, []byte("PK\x03\x04")) || bytes.HasPrefix(body, []byte("PK\x05\x06")):
		folder, err = unzip(body, limit)
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			folder, err = untar(z, limit)
		}
	case len(body) > 262 && string(body[257:262]) == "ustar":
		folder, err = untar(bytes.NewReader(body), limit)
	default:
		return body, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: archive: %w", registry.ErrRefused, err)
	}
	return folder.model(ctx, limit, ev)
}

func unzip(body []byte, limit int64) (*folder, error) {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	f := &folder{left: limit}
	for _, entry := range z.File {
		err := f.add(entry.Name, entry.Mode(), func() (io.ReadCloser, error) { return entry.Open() })
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func untar(r io.Reader, limit int64) (*folder, error) {
	// What is skipped counts too: a small body may be very much padding.
	t := tar.NewReader(io.LimitReader(r, limit+64<<20))
	f := &folder{left: limit}
	for {
		entry, err := t.Next()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return nil, err
		}
		if entry.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if entry.Typeflag == tar.TypeLink {
			return nil, fmt.Errorf("%q is a link; store the file itself", entry.Name)
		}
		if err := f.add(entry.Name, entry.FileInfo().Mode(), func() (io.ReadCloser, error) { return io.NopCloser(t), nil }); err != nil {
			return nil, err
		}
	}
}

// folder is an unpacked archive in memory, as an fs.FS.
type folder struct {
	names []string
	files map[string][]byte
	left  int64
}

// add takes one entry. A name that leaves the folder, a link and a second file of one name are faults.
func (f *folder) add(name string, mode fs.FileMode, open func() (io.ReadCloser, error)) (err error) {
	clean := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if clean == "" || clean == "." {
		return nil
	}
	if !fs.ValidPath(clean) || strings.ContainsAny(clean, "\\\x00:") {
		return fmt.Errorf("entry %q leaves the folder", name)
	}
	if mode.IsDir() {
		return nil
	}
	if !mode.IsRegular() {
		return fmt.Errorf("entry %q is no regular file (%v)", name, mode.Type())
	}
	if len(f.names) == maxArchiveFiles {
		return fmt.Errorf("it has more than %d files", maxArchiveFiles)
	}
	if _, twice := f.files[clean]; twice {
		return fmt.Errorf("entry %q is there twice", name)
	}
	r, err := open()
	if err != nil {
		return fmt.Errorf("entry %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(io.LimitReader(r, f.left+1))
	if err != nil {
		return fmt.Errorf("entry %q: %w", name, err)
	}
	if f.left -= int64(len(data)); f.left < 0 {
		return errors.New("it unpacks to more than the limit for models")
	}
	if f.files == nil {
		f.files = make(map[string][]byte)
	}
	f.names, f.files[clean] = append(f.names, clean), data
	return nil
}

// model finds the ONNX file or the SavedModel, at the top or in the folders that hold everything.
func (f *folder) model(ctx context.Context, limit int64, ev graph.Evaluator) ([]byte, error) {
	f.strip()
	name := "model.onnx"
	if _, ok := f.files[name]; !ok {
		var found []string
		for _, n := range f.names {
			if path.Ext(n) == ".onnx" && !strings.Contains(n, "/") {
				found = append(found, n)
			}
		}
		switch {
		case len(found) == 1:
			name = found[0]
		case len(found) > 1:
			return nil, fmt.Errorf("%w: archive: which of %s? Name one model.onnx", registry.ErrRefused, strings.Join(found, ", "))
		case f.files["saved_model.pb"] != nil || f.files["saved_model.pbtxt"] != nil:
			return f.savedModel(ctx, ev)
		default:
			return nil, fmt.Errorf("%w: archive: there is no model.onnx and no saved_model.pb in it", registry.ErrRefused)
		}
	}
	data := f.files[name]
	_, err := onnx.Decode(data, onnx.Options{MaxBytes: limit, Share: true})
	if !errors.Is(err, onnx.ErrExternal) {
		return data, nil // whole in itself; what else is wrong with it, the registry says
	}
	g, err := onnx.Decode(data, onnx.Options{External: f, MaxBytes: limit, Share: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrRefused, err)
	}
	if data, err = onnx.Encode(g); err != nil {
		return nil, fmt.Errorf("%w: take the files beside the model into it: %w", registry.ErrRefused, err)
	}
	return data, nil
}

// savedModel converts the SavedModel that the folder is.
func (f *folder) savedModel(ctx context.Context, ev graph.Evaluator) ([]byte, error) {
	if ev == nil {
		return nil, fmt.Errorf("%w: archive: a SavedModel of TensorFlow's cannot be converted here; send ONNX", registry.ErrRefused)
	}
	s, err := tensorflow.OpenFS(f, ".")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrRefused, err)
	}
	res, err := s.Import(ctx, tensorflow.Options{Evaluator: ev})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrRefused, err)
	}
	data, err := onnx.Encode(res.Graph)
	if err != nil {
		return nil, fmt.Errorf("%w: write the converted model: %w", registry.ErrRefused, err)
	}
	return data, nil
}

// strip takes away the folders that hold everything, one in the other.
func (f *folder) strip() {
	for len(f.names) > 0 {
		top, _, ok := strings.Cut(f.names[0], "/")
		if !ok || slices.ContainsFunc(f.names, func(n string) bool { return !strings.HasPrefix(n, top+"/") }) {
			return
		}
		files := make(map[string][]byte, len(f.files))
		for i, n := range f.names {
			f.names[i] = n[len(top)+1:]
			files[f.names[i]] = f.files[n]
		}
		f.files = files
	}
}

// Open implements fs.FS for the files.
func (f *folder) Open(name string) (fs.File, error) {
	data, ok := f.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openFile{Reader: bytes.NewReader(data), name: path.Base(name)}, nil
}

type openFile struct {
	*bytes.Reader
	name string
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o, nil }
func (o *openFile) Close() error               { return nil }
func (o *openFile) Name() string               { return o.name }
func (o *openFile) Size() int64                { return o.Reader.Size() }
func (o *openFile) Mode() fs.FileMode          { return 0o444 }
func (o *openFile) ModTime() time.Time         { return time.Time{} }
func (o *openFile) IsDir() bool                { return false }
func (o *openFile) Sys() any                   { return nil }
