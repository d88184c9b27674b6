package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxManifest bounds a manifest: a store's limit for a value.
const maxManifest = 64 << 20

// Progress is how far a backup or a restore is. Of and OfBytes are about what there is, and may be less than what comes.
type Progress struct {
	Records, Of    int64
	Bytes, OfBytes int64
}

// Receive takes what Write gives into a place, and returns the manifest when the backup is there. It is ErrCut where the stream ends before, and ErrDamaged where
// what came is not what the manifest says. The error of a place is as it is.
func Receive(ctx context.Context, r io.Reader, to Place, progress func(Progress)) (Manifest, error) {
	in := tar.NewReader(r)
	var m Manifest
	var begin Begin
	var at Progress
	var sums []string
	for begun := false; ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			err = errors.New("the node ended it")
		}
		if err != nil {
			return m, fmt.Errorf("%w: %w", ErrCut, err)
		}
		if h.Size > maxManifest || h.Size > maxPart && h.Name != ManifestName {
			return m, fmt.Errorf("%w: %s has %d bytes", ErrDamaged, h.Name, h.Size)
		}
		b := make([]byte, h.Size)
		if _, err := io.ReadFull(in, b); err != nil {
			return m, fmt.Errorf("%w: %w", ErrCut, err)
		}
		switch {
		case h.Name == failedName:
			var f failed
			if err := json.Unmarshal(b, &f); err != nil {
				return m, fmt.Errorf("%w: %s: %w", ErrDamaged, h.Name, err)
			}
			return m, fmt.Errorf("%w: the node says: %s", ErrCut, f.Error)
		case !begun && h.Name == beginName:
			if err := json.Unmarshal(b, &begin); err != nil {
				return m, fmt.Errorf("%w: %s: %w", ErrDamaged, h.Name, err)
			}
			if err := to.Begin(ctx, begin.ID); err != nil {
				return m, err
			}
			at.Of, at.OfBytes, begun = begin.Messages, begin.Bytes, true
		case begun && h.Name == partName(len(sums)+1):
			if err := to.Put(ctx, h.Name, b); err != nil {
				return m, fmt.Errorf("write %s: %w", h.Name, err)
			}
			sums = append(sums, sum(b))
			at.Records, at.Bytes = at.Records+field(h, recordsField), at.Bytes+field(h, rawField)
			progress(at)
		case begun && h.Name == ManifestName:
			if m, err = ReadManifest(b); err != nil {
				return m, err
			}
			if len(m.Parts) != len(sums) {
				return m, fmt.Errorf("%w: %d parts came, and the manifest has %d", ErrDamaged, len(sums), len(m.Parts))
			}
			for i, p := range m.Parts {
				if p.SHA256 != sums[i] {
					return m, fmt.Errorf("%w: %s did not come as it was sent", ErrDamaged, p.Name)
				}
			}
			if _, err := in.Next(); !errors.Is(err, io.EOF) { // the node waits until all is read
				return m, errors.Join(fmt.Errorf("%w: something comes behind the manifest", ErrDamaged), err)
			}
			if err := to.Put(ctx, h.Name, b); err != nil {
				return m, fmt.Errorf("write %s: %w", h.Name, err)
			}
			return m, nil
		default:
			return m, fmt.Errorf("%w: file %q is not expected", ErrDamaged, h.Name)
		}
	}
}

// field is a number that a stream says of a part; 0 where it does not, since it is for people alone.
func field(h *tar.Header, name string) int64 {
	n, err := strconv.ParseInt(h.PAXRecords[name], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
