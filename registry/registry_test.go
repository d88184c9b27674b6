package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openGrid(t *testing.T, dir string) *grid.Grid {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{Dir: dir, InMemory: dir == "", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func closeGrid(t *testing.T, g *grid.Grid) {
	t.Helper()
	if err := g.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// opener opens on the native engine, and counts the sessions that are open.
type opener struct {
	mu       sync.Mutex
	open     int
	settings []registry.Settings // of each time
}

type counted struct {
	engine.Session
	o *opener
}

func (c counted) Close() error {
	c.o.mu.Lock()
	c.o.open--
	c.o.mu.Unlock()
	return c.Session.Close()
}

func (o *opener) Open(ctx context.Context, m *model.Model, asked registry.Settings, _ bool) (engine.Session, string, error) {
	o.mu.Lock()
	o.settings = append(o.settings, asked)
	o.mu.Unlock()
	if asked.Engine == "none" {
		return nil, "", errors.New("there is no engine none")
	}
	s, err := native.New(native.Config{}).Open(ctx, m.Graph, engine.Options{})
	if err != nil {
		return nil, "", err
	}
	o.mu.Lock()
	o.open++
	o.mu.Unlock()
	return counted{s, o}, "native", nil
}

// last is what was asked for last.
func (o *opener) last() registry.Settings {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.settings[len(o.settings)-1]
}

func (o *opener) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open
}

func openRegistry(t *testing.T, g *grid.Grid, o *opener, change func(*registry.Config)) *registry.Registry {
	t.Helper()
	cfg := registry.Config{Open: o.Open}
	if change != nil {
		change(&cfg)
	}
	r, err := registry.Open(t.Context(), g, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// plus is a model that adds n to its input.
func plus(t *testing.T, n float32, width int) []byte {
	t.Helper()
	return encode(t, "Add", n, width)
}

func encode(t *testing.T, op string, n float32, width int) []byte {
	t.Helper()
	b := graph.NewBuilder("plus")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: int64(width)}})
	b.Output(b.Name(b.Op(op, nil, x, b.Float(n)), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	data, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// runs returns what the model makes of 1.
func runs(t *testing.T, r *registry.Registry, name string, version int64) float32 {
	t.Helper()
	h, err := r.Acquire(t.Context(), name, version)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	return runHandle(t, h)
}

func runHandle(t *testing.T, h *registry.Handle) float32 {
	t.Helper()
	out := make([]*tensor.Tensor, 1)
	in := []*tensor.Tensor{tensor.Must(tensor.Of([]float32{1, 1}, 1, 2))}
	if err := h.Session().Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	return tensor.Data[float32](out[0])[0]
}

func TestPush(t *testing.T) {
	dir := t.TempDir()
	g := openGrid(t, dir)
	o := &opener{}
	r := openRegistry(t, g, o, nil)
	for i, n := range []float32{10, 20} {
		info, err := r.Push(t.Context(), "plus", 0, plus(t, n, 2))
		if err != nil {
			t.Fatal(err)
		}
		if info.Version != int64(i+1) || !info.Latest || info.State != registry.Ready || info.Engine != "native" || info.Source != "pushed" {
			t.Errorf("info %+v", info)
		}
	}
	if _, err := r.Push(t.Context(), "plus", 2, plus(t, 1, 2)); !errors.Is(err, registry.ErrVersionExists) {
		t.Errorf("a version that is there: %v", err)
	}
	if got := runs(t, r, "plus", 0); got != 21 {
		t.Errorf("newest gives %v", got)
	}
	if got := runs(t, r, "plus", 1); got != 11 {
		t.Errorf("version 1 gives %v", got)
	}
	data, info, err := r.Download(t.Context(), "plus", 1)
	if err != nil || !bytes.Equal(data, plus(t, 10, 2)) || info.Version != 1 {
		t.Errorf("download: %d bytes of %+v, %v", len(data), info, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if o.count() != 0 {
		t.Errorf("%d sessions stay open", o.count())
	}
	closeGrid(t, g)

	g = openGrid(t, dir)
	defer closeGrid(t, g)
	r = openRegistry(t, g, o, nil)
	defer r.Close()
	if got := runs(t, r, "plus", 0); got != 21 {
		t.Errorf("after a restart the newest gives %v", got)
	}
	list, err := r.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Version != 2 || !list[0].Latest || list[1].State != registry.Unloaded {
		t.Errorf("list %+v, %v", list, err)
	}
}

// TestRefused holds invariant 8: what does not load is refused with the reasons, and what was serving goes on.
func TestRefused(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, func(c *registry.Config) { c.MaxBytes = 1000 })
	defer r.Close()
	if _, err := r.Push(t.Context(), "plus", 0, plus(t, 10, 2)); err != nil {
		t.Fatal(err)
	}
	good := plus(t, 10, 2)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"garbage":   {[]byte("hello"), ""},
		"cut":       {good[:len(good)/2], ""},
		"signature": {plus(t, 1, 3), "x float32[N,3]"},
		"operator":  {bytes.ReplaceAll(good, []byte("Add"), []byte("Bad")), "Bad"},
	} {
		_, err := r.Push(t.Context(), "plus", 0, c.data)
		if !errors.Is(err, registry.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if got := runs(t, r, "plus", 0); got != 11 {
			t.Errorf("after %s the model gives %v", name, got)
		}
	}
	if _, err := r.Push(t.Context(), "plus", 0, make([]byte, 1001)); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	for _, name := range []string{"", "a/b", "../x", ".hidden", "-x", strings.Repeat("x", 129)} {
		if _, err := r.Push(t.Context(), name, 0, good); !errors.Is(err, registry.ErrName) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, err := r.Acquire(t.Context(), "other", 0); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("a model that is not there: %v", err)
	}
}

// TestDelete: a version that is removed serves who holds it, and the version before it serves again.
func TestDelete(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	o := &opener{}
	r := openRegistry(t, g, o, nil)
	defer r.Close()
	for _, n := range []float32{10, 20} {
		if _, err := r.Push(t.Context(), "plus", 0, plus(t, n, 2)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := r.Acquire(t.Context(), "plus", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "plus", 2); err != nil {
		t.Fatal(err)
	}
	if got := runHandle(t, h); got != 21 {
		t.Errorf("the version that is lent gives %v", got)
	}
	if got := runs(t, r, "plus", 0); got != 11 {
		t.Errorf("the newest gives %v", got)
	}
	open := o.count()
	h.Release()
	h.Release()
	if o.count() != open-1 {
		t.Errorf("%d sessions before the release, %d after it", open, o.count())
	}
	if err := r.Delete(t.Context(), "plus", 2); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("a second removal: %v", err)
	}
	if err := r.Delete(t.Context(), "plus", 0); err != nil {
		t.Fatal(err)
	}
	c, err := g.Cache(t.Context(), registry.Cache)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Size(t.Context()); err != nil || n != 0 {
		t.Errorf("%d entries are left in the grid, %v", n, err)
	}
}

// TestDeleteAgain: a removal that came as far as the versions, and no farther, can be repeated, and takes the settings too.
func TestDeleteAgain(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	if _, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if err := r.Configure(t.Context(), "plus", registry.Settings{Engine: "native", Threads: 3}); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "plus", 1); err != nil { // as a whole one does first
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "plus", 0); err != nil {
		t.Error(err)
	}
	if s, set := r.Settings(t.Context(), "plus"); set {
		t.Errorf("the settings are left: %+v", s)
	}
	if err := r.Delete(t.Context(), "plus", 0); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("a third time: %v", err)
	}
}

// TestPushAgain: a version that is removed and pushed again and again is the one that was pushed last.
func TestPushAgain(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	for i := range 50 {
		if _, err := r.Push(t.Context(), "plus", 1, plus(t, float32(i), 2)); err != nil {
			t.Fatal(err)
		}
		if got := runs(t, r, "plus", 1); got != float32(i+1) {
			t.Fatalf("push %d gives %v", i, got)
		}
		if err := r.Delete(t.Context(), "plus", 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherNode: what one node pushes and removes, another one on the same grid follows.
func TestOtherNode(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	one := openRegistry(t, g, &opener{}, nil)
	defer one.Close()
	two := openRegistry(t, g, &opener{}, nil)
	defer two.Close()
	wait := func(what string, done func() bool) {
		t.Helper()
		limit := time.After(5 * time.Second)
		for {
			changed := two.Changed()
			if done() {
				return
			}
			select {
			case <-changed:
			case <-limit:
				t.Fatal(what)
			}
		}
	}
	if _, err := one.Push(t.Context(), "plus", 0, plus(t, 10, 2)); err != nil {
		t.Fatal(err)
	}
	wait("the push is not seen", func() bool {
		h, err := two.Acquire(t.Context(), "plus", 0)
		if err != nil {
			return false
		}
		defer h.Release()
		return runHandle(t, h) == 11
	})
	if err := one.Delete(t.Context(), "plus", 1); err != nil {
		t.Fatal(err)
	}
	wait("the removal is not seen", func() bool {
		h, err := two.Acquire(t.Context(), "plus", 0)
		if err == nil {
			h.Release()
		}
		return errors.Is(err, registry.ErrNoModel)
	})
}

// TestPushUnderWay: a registry that opens leaves the chunks of a push alone that another node has begun.
// TestOtherNodeAfterOutage: a node sees what another pushes after the NATS server of both did not answer for longer than the
// grid's time limit.
func TestOtherNodeAfterOutage(t *testing.T) {
	s := natstest.Start(t, natstest.MaxPayload)
	o := &opener{}
	warned := make(chan struct{})
	var registries [2]*registry.Registry
	for i := range registries {
		g, err := grid.Open(t.Context(), grid.Config{URL: s.URL(), Partitions: 2, Timeout: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer closeGrid(t, g)
		r := openRegistry(t, g, o, func(c *registry.Config) {
			if i == 1 {
				c.Logger = slog.New(&onWarning{do: sync.OnceFunc(func() { close(warned) })})
			}
		})
		defer r.Close()
		registries[i] = r
	}
	s.Stop()
	select {
	case <-warned:
	case <-time.After(10 * time.Second):
		t.Fatal("the listener did not notice")
	}
	s.Restart()
	for pushed := false; !pushed; {
		_, err := registries[0].Push(t.Context(), "m", 1, plus(t, 10, 2))
		if err != nil && !errors.Is(err, grid.ErrUnavailable) {
			t.Fatal(err)
		}
		pushed = err == nil
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		changed := registries[1].Changed()
		h, err := registries[1].Acquire(t.Context(), "m", 1)
		if err == nil {
			h.Release()
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			t.Fatal(err)
		}
	}
}

// onWarning calls do for each warning and error.
type onWarning struct {
	slog.Handler
	do func()
}

func (h *onWarning) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h *onWarning) WithAttrs([]slog.Attr) slog.Handler           { return h }

func (h *onWarning) Handle(context.Context, slog.Record) error {
	h.do()
	return nil
}

func TestPushUnderWay(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	o := &opener{}
	one := openRegistry(t, g, o, nil)
	defer one.Close()
	c, err := g.Cache(t.Context(), registry.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the manifest comes last
		if _, err := c.Put(t.Context(), fmt.Sprintf("chunk/begun/%06d", i), []byte("part of a model"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	two := openRegistry(t, g, o, nil)
	defer two.Close()
	for i := range 3 {
		if _, err := c.Get(t.Context(), fmt.Sprintf("chunk/begun/%06d", i)); err != nil {
			t.Errorf("chunk %d of the push: %v", i, err)
		}
	}
}

func TestConcurrentPushes(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	one := openRegistry(t, g, &opener{}, nil)
	defer one.Close()
	two := openRegistry(t, g, &opener{}, nil)
	defer two.Close()
	const pushes = 8
	versions := make(chan int64, 2*pushes)
	var group sync.WaitGroup
	for i := range 2 * pushes {
		group.Go(func() {
			r := []*registry.Registry{one, two}[i%2]
			info, err := r.Push(t.Context(), "plus", 0, plus(t, float32(i), 2))
			if err != nil {
				t.Error(err)
			}
			versions <- info.Version
		})
	}
	group.Wait()
	close(versions)
	seen := map[int64]bool{}
	for v := range versions {
		if seen[v] || v < 1 || v > 2*pushes {
			t.Errorf("version %d", v)
		}
		seen[v] = true
	}
}

// TestFixed: a model of the configuration serves, cannot be removed, and a pushed one comes after it.
func TestFixed(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	m, err := model.Decode(plus(t, 10, 2))
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.With("plus", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(m, "plus.onnx"); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "plus", 1); !errors.Is(err, registry.ErrFixed) {
		t.Errorf("removal: %v", err)
	}
	if info, err := r.Push(t.Context(), "plus", 0, plus(t, 20, 2)); err != nil || info.Version != 2 {
		t.Errorf("push: %+v, %v", info, err)
	}
	if got := runs(t, r, "plus", 0); got != 21 {
		t.Errorf("the newest gives %v", got)
	}
}

// TestMaxOpen: versions that nobody uses are closed beyond the limit, and opened again when they are asked for.
func TestMaxOpen(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	o := &opener{}
	r := openRegistry(t, g, o, func(c *registry.Config) { c.MaxOpen = 2 })
	defer r.Close()
	for i := range 6 {
		if _, err := r.Push(t.Context(), "plus", 0, plus(t, float32(i), 2)); err != nil {
			t.Fatal(err)
		}
	}
	if n := o.count(); n > 4 {
		t.Errorf("%d sessions are open", n)
	}
	for i := range 6 {
		if got := runs(t, r, "plus", int64(i+1)); got != float32(i+1) {
			t.Errorf("version %d gives %v", i+1, got)
		}
	}
	if n := o.count(); n > 4 {
		t.Errorf("%d sessions are open", n)
	}
}

// TestDamaged: bytes that are not those of the manifest do not run.
func TestDamaged(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	if _, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := g.Cache(t.Context(), registry.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range c.List(t.Context(), grid.ListOptions{Prefix: "chunk/"}) {
		if err != nil {
			t.Fatal(err)
		}
		e.Value[0] ^= 1
		if _, err := c.Put(t.Context(), e.Key, e.Value, grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r = openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	if _, err := r.Acquire(t.Context(), "plus", 0); !errors.Is(err, registry.ErrFailed) || !strings.Contains(fmt.Sprint(err), "SHA-256") {
		t.Errorf("acquire: %v", err)
	}
	if info, err := r.Get(t.Context(), "plus", 0); err != nil || info.State != registry.Failed {
		t.Errorf("info %+v, %v", info, err)
	}
}

// TestCheckOnly: a node that runs no models refuses what cannot be run as all do, describes what there is, lends nothing, and keeps no session open; another node runs what
// was pushed through it.
func TestCheckOnly(t *testing.T) {
	url := natstest.URL(t)
	open := func(change func(*registry.Config)) (*registry.Registry, *opener) {
		g, err := grid.Open(t.Context(), grid.Config{URL: url, Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeGrid(t, g) })
		o := new(opener)
		r := openRegistry(t, g, o, change)
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		return r, o
	}
	door, checks := open(func(c *registry.Config) { c.CheckOnly = true })
	compute, _ := open(nil)
	if _, err := door.Acquire(t.Context(), "m", 0); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("a model that is not there: %v", err)
	}
	if _, err := door.Push(t.Context(), "m", 0, []byte("no model")); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("a bad model: %v", err)
	}
	for i := range 2 {
		info, err := door.Push(t.Context(), "m", 0, plus(t, float32(i), 2))
		if err != nil || info.Version != int64(i)+1 || info.Model == nil || info.State != registry.Unloaded {
			t.Fatalf("push: %+v, %v", info, err)
		}
	}
	if _, err := door.Push(t.Context(), "m", 0, plus(t, 1, 3)); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("a model of another signature: %v", err)
	}
	if info, err := door.Get(t.Context(), "m", 0); err != nil || info.Version != 2 || info.Model == nil {
		t.Errorf("get: %+v, %v", info, err)
	}
	if _, err := door.Use(t.Context(), "m", 1); err != nil {
		t.Error(err)
	}
	for _, number := range []int64{0, 1, 2} {
		if _, err := door.Acquire(t.Context(), "m", number); !errors.Is(err, registry.ErrElsewhere) {
			t.Errorf("version %d: %v", number, err)
		}
	}
	if n, asked := checks.count(), len(checks.settings); n != 0 || asked == 0 {
		t.Errorf("%d sessions are open, %d were opened", n, asked)
	}
	for {
		changed := compute.Changed()
		s, err := compute.Serving(t.Context(), "m")
		_, unheard := compute.Get(t.Context(), "m", 2) // what is heard of is heard key by key
		if err == nil && s.Version == 1 && s.Pinned && unheard == nil {
			break
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the other node does not hear of it")
		}
	}
	if got := runs(t, compute, "m", 2); got != 2 {
		t.Errorf("version 2 gives %v", got)
	}
}
