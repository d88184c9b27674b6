package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
)

// Import reads a model of TensorFlow's, a file or a SavedModel's folder, as the ONNX model that it becomes; its digest and size are those
// of the ONNX file. It returns what a person might want to know beside it. The errors are ErrInvalid,
// tensorflow.ErrChoice and fs.ErrNotExist.
func Import(ctx context.Context, path string, opts tensorflow.Options) (*Model, []string, error) {
	res, err := tensorflow.Import(ctx, path, opts)
	switch {
	case err == nil:
	case errors.Is(err, tensorflow.ErrChoice), errors.Is(err, fs.ErrNotExist): // nothing is wrong with the model
		return nil, nil, err
	default:
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(res.Frozen) > 0 {
		if res.Graph.Metadata == nil {
			res.Graph.Metadata = map[string]string{}
		}
		maps.Copy(res.Graph.Metadata, Metadata{Frozen: res.Frozen}.Props())
	}
	m, err := New(res.Graph)
	if err != nil {
		return nil, nil, fmt.Errorf("import %s: %w", path, err)
	}
	var c counter
	sum := sha256.New()
	if err := onnx.Write(io.MultiWriter(sum, &c), m.Graph); err != nil {
		return nil, nil, fmt.Errorf("import %s: %w", path, err)
	}
	m.Digest, m.Bytes = hex.EncodeToString(sum.Sum(nil)), int64(c)
	return m, res.Notes, nil
}

// counter is a writer that only counts.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
