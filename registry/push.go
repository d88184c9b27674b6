package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
)

// A pushed version is a manifest, under manifestPrefix/name/version, and chunks, under chunkPrefix/push/number. The
// chunks are written first and removed last, so that a manifest always has all of its chunks.
const (
	manifestPrefix = "manifest/"
	chunkPrefix    = "chunk/"
	chunkBytes     = 4 << 20
)

// errDownload says that the grid did not give a model's bytes, which is no fault of the model's.
var errDownload = errors.New("cannot read the model from the grid")

// manifest is what the grid keeps of a version beside its bytes.
type manifest struct {
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Digest  string    `json:"sha256"`
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`
	Push    string    `json:"push"`   // where the chunks are
	Chunks  int       `json:"chunks"` // how many
	Origin
}

// An Origin says where a version comes from.
type Origin struct {
	// Source is the path that the configuration has it from; empty for one that was pushed.
	Source string `json:"source,omitempty"`
	// By is who pushed it, as far as that is known: an address, or a node with its configuration.
	By string `json:"by,omitempty"`
	// Trained is what it was trained with, as far as the file says that.
	Trained string `json:"trained,omitempty"`
	// Overrides replace metadata of the file, by names without the prefix.
	Overrides map[string]string `json:"overrides,omitempty"`
}

func (m manifest) key() string {
	return manifestPrefix + m.Name + "/" + strconv.FormatInt(m.Version, 10)
}

func (m manifest) chunk(i int) string { return fmt.Sprintf("%s%s/%06d", chunkPrefix, m.Push, i) }

// PushOptions say more of a push. The zero value is useful.
type PushOptions struct {
	Origin
	// Replace takes a model with another signature than that of the version that serves.
	Replace bool
	// Settings, where they are set, are those that it is opened with; see Configure, which sets them.
	Settings *Settings
	// DryRun does all but keep the model: what would be refused is refused. The version that is told of is the one that it would have.
	DryRun bool
}

// Push is PushWith without options.
func (r *Registry) Push(ctx context.Context, name string, number int64, data []byte) (Info, error) {
	return r.PushWith(ctx, name, number, data, PushOptions{})
}

// PushWith takes an ONNX file as a version of a model; 0 is the next version. It refuses (ErrRefused, with every reason)
// what does not load, what no engine here can run, and what has another signature than the version that serves; the
// version that was serving goes on then. The new version is kept in the grid, and serves when PushWith returns, unless another one is pinned (Use).
// The oldest versions that are more than Config.Keep and not in use are removed.
func (r *Registry) PushWith(ctx context.Context, name string, number int64, data []byte, o PushOptions) (Info, error) {
	if err := CheckName(name, number); err != nil {
		return Info{}, err
	}
	if int64(len(data)) > r.cfg.MaxBytes {
		return Info{}, fmt.Errorf("%w: %d bytes are more than the limit of %d", ErrTooLarge, len(data), r.cfg.MaxBytes)
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()

	f := manifest{Name: name, Version: number, Bytes: int64(len(data)), Created: time.Now().UTC(), Origin: o.Origin}
	f.Digest = digest(data)
	r.mu.Lock()
	if number == 0 {
		f.Version = 1
		if vs := r.newestFirst(name); len(vs) > 0 {
			newest := vs[0].Version
			if newest == math.MaxInt64 {
				r.mu.Unlock()
				return Info{}, noNext(name)
			}
			f.Version = max(newest, 0) + 1
		}
	} else if r.models[name][number] != nil {
		r.mu.Unlock()
		return Info{}, fmt.Errorf("%w: %s version %d (versions do not change: push a new one)", ErrVersionExists, name, number)
	}
	r.mu.Unlock()

	m, err := r.decode(f, data)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if !o.Replace {
		if err := r.compatible(ctx, m); err != nil {
			return Info{}, err
		}
	}
	if f.Trained == "" {
		f.Trained = trainedWith(m)
	}
	settings, set := r.Settings(ctx, name)
	if o.Settings != nil {
		settings, set = *o.Settings, true
	}
	session, name2, err := r.cfg.Open(ctx, m, settings, set)
	if err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if o.DryRun {
		return Info{Model: m, Name: name, Version: f.Version, State: Unloaded, Digest: f.Digest, Bytes: f.Bytes}, session.Close()
	}
	if f, err = r.store(ctx, f, data, number == 0); err != nil {
		return Info{}, errors.Join(err, session.Close())
	}
	if m.Version != f.Version { // another node took the number meanwhile
		if m, err = m.With(name, f.Version, nil); err != nil {
			return Info{}, errors.Join(err, session.Close())
		}
	}
	info := r.serve(f, m, session, name2)
	r.prune(ctx, name)
	return info, nil
}

// trainedWith says what a model was trained with, as far as its file says that: Millrace's training notes it, and others their name.
func trainedWith(m *model.Model) string {
	if m.Trained != "" {
		return m.Trained
	}
	return m.Graph.Producer
}

// compatible refuses a model that clients of the one that serves could not use.
func (r *Registry) compatible(ctx context.Context, m *model.Model) error {
	h, err := r.borrow(ctx, m.Name, 0)
	switch {
	case errors.Is(err, ErrNoModel), errors.Is(err, ErrFailed):
		return nil
	case err != nil:
		return err
	}
	defer h.Release()
	if err := h.model.Compatible(m); err != nil {
		return fmt.Errorf("%w: its signature is not that of version %d, which serves (push it under another name, or replace it on purpose, by --replace or ?replace=true): %w",
			ErrRefused, h.model.Version, err)
	}
	return nil
}

// store writes chunks, then the manifest. With next, it takes the next free number where f's was taken meanwhile.
func (r *Registry) store(ctx context.Context, f manifest, data []byte, next bool) (manifest, error) {
	f.Push = rand.Text()
	for f.Chunks = 0; f.Chunks*chunkBytes < len(data); f.Chunks++ {
		chunk := data[f.Chunks*chunkBytes : min(len(data), (f.Chunks+1)*chunkBytes)]
		if _, err := r.cache.Put(ctx, f.chunk(f.Chunks), chunk, grid.PutOptions{ContentType: "application/octet-stream"}); err != nil {
			return f, errors.Join(fmt.Errorf("keep model %s: %w", f.Name, err), r.removeChunks(context.WithoutCancel(ctx), f))
		}
	}
	const tries = 100
	for range tries {
		value, err := json.Marshal(f)
		if err != nil {
			return f, err
		}
		_, err = r.cache.Create(ctx, f.key(), value, grid.PutOptions{ContentType: "application/json"})
		if err == nil {
			return f, nil
		}
		if errors.Is(err, grid.ErrExists) && f.Source != "" {
			if other, same := r.sameAs(ctx, f); same { // another node of the same configuration was faster
				return other, r.removeChunks(context.WithoutCancel(ctx), f)
			}
		}
		if !errors.Is(err, grid.ErrExists) || !next {
			if errors.Is(err, grid.ErrExists) {
				err = ErrVersionExists
			}
			return f, errors.Join(fmt.Errorf("keep model %s version %d: %w", f.Name, f.Version, err), r.removeChunks(context.WithoutCancel(ctx), f))
		}
		if f.Version == math.MaxInt64 {
			return f, errors.Join(noNext(f.Name), r.removeChunks(context.WithoutCancel(ctx), f))
		}
		f.Version++
	}
	return f, errors.Join(fmt.Errorf("keep model %s: no free version after %d", f.Name, f.Version), r.removeChunks(context.WithoutCancel(ctx), f))
}

// noNext says that the newest version has the last number that there is.
func noNext(name string) error {
	return fmt.Errorf("%w: %s version %d, and no number comes after it (push with a number of your own, or remove that version)", ErrVersionExists, name, int64(math.MaxInt64))
}

// serve makes an opened version visible.
func (r *Registry) serve(f manifest, m *model.Model, s engine.Session, engineName string) Info {
	r.mu.Lock()
	v := r.models[f.Name][f.Version]
	if v == nil { // the listener may have been faster
		v = &version{manifest: f, source: f.place()}
		r.put(v)
	}
	var unused []engine.Session
	if v.session == nil && v.loading == nil && !r.closed && !r.cfg.CheckOnly {
		v.model, v.session, v.engine, v.failure = m, s, engineName, nil
		unused = r.trim(v)
		r.notify()
	} else {
		unused = append(unused, s)
	}
	info := r.info(v)
	r.mu.Unlock()
	for _, s := range unused {
		r.close(v, s)
	}
	info.Model = m
	if !r.cfg.CheckOnly {
		info.State = Ready
	}
	return info
}

// Delete removes a version that the grid keeps; 0 removes all versions of the model. The one that was chosen by Use is ErrInUse. Who holds a Handle goes on to use it.
func (r *Registry) Delete(ctx context.Context, name string, number int64) error {
	r.pushing.Lock()
	defer r.pushing.Unlock()
	r.mu.Lock()
	var gone []*version
	for _, v := range r.newestFirst(name) {
		if number == 0 || v.Version == number {
			gone = append(gone, v)
		}
	}
	pin := r.aliases[name].Version
	r.mu.Unlock()
	if len(gone) == 0 {
		if number == 0 { // an earlier removal may have come so far
			if had, err := r.removeSettings(ctx, name); had || err != nil {
				return err
			}
		}
		return noModel(name, number)
	}
	for _, v := range gone {
		if !v.kept() {
			return fmt.Errorf("%w: %s version %d comes from %s", ErrFixed, v.Name, v.Version, v.source)
		}
	}
	if number != 0 && number == pin {
		return fmt.Errorf("%w: %s version %d is the one that was chosen to serve; choose another one, or the newest, first", ErrInUse, name, number)
	}
	if number == 0 {
		if _, err := r.cache.Delete(ctx, aliasPrefix+name, grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("delete model %s: %w", name, err)
		}
		r.setAlias(name, alias{})
	}
	if err := r.remove(ctx, gone); err != nil || number != 0 {
		return err
	}
	_, err := r.removeSettings(ctx, name)
	return err
}

// removeSettings removes those of a model, and reports whether it had any.
func (r *Registry) removeSettings(ctx context.Context, name string) (had bool, err error) {
	_, err = r.cache.Delete(ctx, settingsPrefix+name, grid.DeleteOptions{})
	if had = !errors.Is(err, grid.ErrNotFound); had && err != nil {
		return false, fmt.Errorf("delete the settings of model %s, whose versions are gone; repeat it: %w", name, err)
	}
	r.adopt(name, nil)
	return had, nil
}

// remove removes versions that the grid keeps. Where it fails, those are left that it had not come to, and the same again goes on. What is left of the file of one that is
// removed is swept at the start of a node (readManifests). The caller holds pushing.
func (r *Registry) remove(ctx context.Context, gone []*version) error {
	for i, v := range gone {
		if _, err := r.cache.Delete(ctx, v.key(), grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("delete model %s version %d (%d of %d versions are removed; repeat it for the others): %w", v.Name, v.Version, i, len(gone), err)
		}
		r.forget(v)
		if err := r.removeChunks(ctx, v.manifest); err != nil {
			r.log.Warn("a version of a model is removed, and parts of its file are left; a node removes them when it starts", "model", v.Name, "version", v.Version, "error", err)
		}
	}
	return nil
}

func (r *Registry) forget(v *version) {
	r.mu.Lock()
	unused := r.drop(v)
	r.mu.Unlock()
	r.close(v, unused)
}

// Download returns a pushed version's file. A model from the configuration is not kept here: ErrFixed.
func (r *Registry) Download(ctx context.Context, name string, number int64) ([]byte, Info, error) {
	info, err := r.Get(ctx, name, number)
	if err != nil {
		return nil, Info{}, err
	}
	r.mu.Lock()
	v := r.models[name][info.Version]
	r.mu.Unlock()
	if v == nil {
		return nil, Info{}, noModel(name, number)
	}
	if !v.kept() {
		return nil, Info{}, fmt.Errorf("%w: the file of %s version %d is %s", ErrFixed, name, v.Version, v.source)
	}
	data, err := r.download(ctx, v.manifest)
	return data, info, err
}

// digest is the SHA-256 of a file, in hexadecimal.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// download reads the chunks and holds them against the checksum.
func (r *Registry) download(ctx context.Context, f manifest) ([]byte, error) {
	if f.Bytes < 0 || f.Bytes > r.cfg.MaxBytes {
		return nil, fmt.Errorf("%w: the manifest says %d bytes, the limit is %d", ErrTooLarge, f.Bytes, r.cfg.MaxBytes)
	}
	data := make([]byte, 0, f.Bytes)
	for i := range f.Chunks {
		e, err := r.cache.Get(ctx, f.chunk(i))
		if err != nil {
			return nil, fmt.Errorf("%w: chunk %d of %d: %w", errDownload, i, f.Chunks, err)
		}
		if int64(len(data)+len(e.Value)) > f.Bytes {
			return nil, fmt.Errorf("%w: chunk %d goes beyond the %d bytes that the manifest says", model.ErrInvalid, i, f.Bytes)
		}
		data = append(data, e.Value...)
	}
	if digest(data) != f.Digest {
		return nil, fmt.Errorf("%w: the bytes that are kept do not have the SHA-256 %s", model.ErrInvalid, f.Digest)
	}
	return data, nil
}

func (r *Registry) removeChunks(ctx context.Context, f manifest) error {
	var faults []error
	for i := range f.Chunks {
		if _, err := r.cache.Delete(ctx, f.chunk(i), grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
