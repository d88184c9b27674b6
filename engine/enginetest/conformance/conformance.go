// Package conformance runs folders of test cases in ONNX's layout on an engine and says which pass. Contract tests that
// need no files are left to package enginetest.
//
// A case is a folder with model.onnx and folders test_data_set_0, test_data_set_1 and so on, each with input_0.pb,
// input_1.pb and so on, and output_0.pb and so on. ONNX's own cases are in Debian's package libonnx-testdata.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// A Verdict is what became of a case.
type Verdict string

const (
	// Passed cases gave the expected outputs.
	Passed Verdict = "passed"
	// Wrong cases gave other outputs, or an error once they were loaded.
	Wrong Verdict = "wrong"
	// Crashed cases panicked.
	Crashed Verdict = "crashed"
	// Refused cases were not loaded, or not run, because the file or the engine lacks something, which the reason names.
	Refused Verdict = "refused"
)

// A Case is the verdict of one case.
type Case struct {
	Name    string  `json:"name"` // the folder, relative to the one that was run
	Verdict Verdict `json:"verdict"`
	// Reason says why a case did not pass, or that a passed one is only within ONNX's tolerance (see ONNX) and not as
	// near as engines are among each other (see Alike).
	Reason string `json:"reason,omitempty"`
}

// Totals count verdicts.
type Totals struct {
	Total   int `json:"total"`
	Passed  int `json:"passed"`
	Wrong   int `json:"wrong"`
	Crashed int `json:"crashed"`
	Refused int `json:"refused"`
}

// A Report is the result of a run.
type Report struct {
	Totals
	Cases []Case `json:"cases"` // by name
}

// Add counts one case.
func (r *Report) Add(c Case) {
	r.Cases = append(r.Cases, c)
	r.Total++
	switch c.Verdict {
	case Passed:
		r.Passed++
	case Wrong:
		r.Wrong++
	case Crashed:
		r.Crashed++
	case Refused:
		r.Refused++
	}
}

// Run runs every case in dir and its subfolders on e, one after the other. It fails only where dir cannot be read, has
// no cases, or ctx ends.
func Run(ctx context.Context, dir string, e engine.Engine) (Report, error) {
	return RunFS(ctx, os.DirFS(dir), e)
}

// RunFS is Run over a file system.
func RunFS(ctx context.Context, fsys fs.FS, e engine.Engine) (Report, error) {
	dirs, err := Find(fsys)
	if err != nil {
		return Report{}, err
	}
	var r Report
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		r.Add(RunCase(ctx, fsys, dir, e))
	}
	return r, ctx.Err()
}

// Find lists the folders of fsys that hold a case, by name. Finding none is an error.
func Find(fsys fs.FS) ([]string, error) {
	var dirs []string
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == "model.onnx" {
			dirs = append(dirs, path.Dir(p))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find test cases: %w", err)
	}
	if len(dirs) == 0 {
		return nil, errors.New("find test cases: there is no folder with a model.onnx")
	}
	slices.Sort(dirs)
	return dirs, nil
}

// contradicts are cases of ONNX's own whose outputs are not those of their model.
var contradicts = map[string]string{
	"test_adam_multiple": "its outputs were made with an epsilon of 0.01, which its model does not give; ONNX's default is 1e-6",
}

// RunCase runs the case in one folder.
func RunCase(ctx context.Context, fsys fs.FS, dir string, e engine.Engine) (c Case) {
	c.Name = dir
	defer func() {
		if p := recover(); p != nil {
			c.Verdict, c.Reason = Crashed, fmt.Sprint("panic: ", p)
		}
	}()
	v, err := runCase(ctx, fsys, dir, e)
	if why := contradicts[path.Base(dir)]; v == Wrong && why != "" && !errors.Is(err, engine.ErrPanic) {
		v, err = Refused, fmt.Errorf("the case is not supported: %s", why)
	}
	c.Verdict = v
	if err != nil {
		c.Reason = err.Error()
		if errors.Is(err, engine.ErrPanic) {
			c.Verdict = Crashed
		}
	}
	return c
}

func runCase(ctx context.Context, fsys fs.FS, dir string, e engine.Engine) (Verdict, error) {
	data, err := fs.ReadFile(fsys, path.Join(dir, "model.onnx"))
	if err != nil {
		return Wrong, err
	}
	opts := onnx.Options{}
	if opts.External, err = fs.Sub(fsys, dir); err != nil {
		return Wrong, err
	}
	g, err := onnx.Decode(data, opts)
	if errors.Is(err, onnx.ErrUnsupported) {
		return Refused, err
	}
	if err != nil {
		return Wrong, err
	}
	sets, err := readSets(fsys, dir, g)
	if errors.Is(err, onnx.ErrUnsupported) {
		return Refused, err
	}
	if err != nil {
		return Wrong, err
	}
	adjust(g, sets)
	s, err := e.Open(ctx, g, engine.Options{Threads: 1, Values: hasContainers(g)})
	var lacks *engine.UnsupportedError
	if errors.As(err, &lacks) {
		return Refused, err
	}
	if err != nil {
		return Wrong, err
	}
	defer s.Close()
	var loose error
	for _, set := range sets {
		near, err := runSet(ctx, set, s, draws(g))
		if errors.As(err, &lacks) { // which only the values tell, such as a picture's format
			return Refused, err
		}
		if err != nil {
			return Wrong, fmt.Errorf("%s: %w", set.name, err)
		}
		loose = errors.Join(loose, near)
	}
	if loose != nil {
		return Passed, fmt.Errorf("within ONNX's tolerance only: %w", loose)
	}
	return Passed, nil
}

// hasContainers reports whether an input or output is no tensor.
func hasContainers(g *graph.Graph) bool {
	return slices.ContainsFunc(slices.Concat(g.Inputs, g.Outputs), func(v graph.Value) bool { return v.Container != "" })
}

// A set is one set of inputs and expected outputs.
type set struct {
	name     string
	in, want []tensor.Value
}

// readSets reads all sets of a case.
func readSets(fsys fs.FS, dir string, g *graph.Graph) ([]set, error) {
	names, err := fs.Glob(fsys, path.Join(dir, "test_data_set_*"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("the case has no test_data_set_0")
	}
	var sets []set
	for _, name := range names {
		s := set{name: path.Base(name)}
		if s.in, err = readValues(fsys, name, "input", g.Inputs, g.Placeholders()); err == nil {
			s.want, err = readValues(fsys, name, "output", g.Outputs, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// adjust reconciles files with what their model declares, where ONNX's own cases do not. Files are numbered as the
// graph's inputs, of which some may have an initializer and are no placeholders: these are dropped. Older files hold
// bfloat16 as uint16. Where an input has another shape than its declaration, the declaration is dropped.
func adjust(g *graph.Graph, sets []set) {
	for s := range sets {
		in := sets[s].in
		if len(in) == len(g.Inputs) {
			var given []tensor.Value
			for i, v := range g.Inputs {
				if g.Initializer(v.Name) == nil {
					given = append(given, in[i])
				}
			}
			in = given
		}
		for i, v := range g.Placeholders() {
			if i >= len(in) {
				break
			}
			in[i] = asDeclared(in[i], v.DType)
			if in[i].Kind == tensor.KindTensor && !fits(in[i].Tensor.Shape(), v.Shape) {
				for j := range g.Inputs {
					if g.Inputs[j].Name == v.Name {
						g.Inputs[j].Shape = nil
					}
				}
			}
		}
		for i, v := range g.Outputs {
			if i < len(sets[s].want) {
				sets[s].want[i] = asDeclared(sets[s].want[i], v.DType)
			}
		}
		sets[s].in = in
	}
}

func fits(shape tensor.Shape, declared graph.Shape) bool {
	if declared == nil {
		return true
	}
	if len(shape) != len(declared) {
		return false
	}
	for i, d := range declared {
		if d.Known() && int(d.Size) != shape[i] {
			return false
		}
	}
	return true
}

// draws reports whether g draws numbers from a generator that ONNX leaves to the engine, in functions and subgraphs too.
func draws(g *graph.Graph) bool {
	found := false
	look := func(n *graph.Node) {
		switch n.OpType {
		case "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike":
			found = found || n.Domain == graph.OnnxDomain
		}
	}
	graph.Walk(g.Nodes, look)
	for _, f := range g.Functions {
		graph.Walk(f.Nodes, look)
	}
	return found
}

// runSet runs one set of inputs. near says what is only within ONNX's tolerance. Where the numbers are drawn, types and shapes are compared
// alone.
func runSet(ctx context.Context, set set, s engine.Session, drawn bool) (near, err error) {
	in, want := set.in, set.want
	if len(want) > len(s.Outputs()) {
		return nil, fmt.Errorf("%d outputs are expected, the model has %d", len(want), len(s.Outputs()))
	}
	got, err := runValues(ctx, s, in)
	if err != nil {
		return nil, err
	}
	for i, w := range want {
		name := s.Outputs()[i].Name
		if drawn && w.Kind == tensor.KindTensor && got[i].Tensor != nil {
			if got, want := got[i].Tensor, w.Tensor; got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) {
				return nil, fmt.Errorf("output %q: got %v%v, want %v%v", name, got.DType(), got.Shape(), want.DType(), want.Shape())
			}
			continue
		}
		if err := compareValues(got[i], w, &ONNX); err != nil {
			if alike := compareValues(got[i], w, nil); alike != nil {
				return nil, fmt.Errorf("output %q: %w", name, alike)
			}
		} else if err := compareValues(got[i], w, nil); err != nil {
			near = errors.Join(near, fmt.Errorf("output %q: %w", name, err))
		}
	}
	return near, nil
}

// runValues runs a session, by Run where all that goes in and out are tensors.
func runValues(ctx context.Context, s engine.Session, in []tensor.Value) ([]tensor.Value, error) {
	out := make([]tensor.Value, len(s.Outputs()))
	if slices.ContainsFunc(slices.Concat(s.Inputs(), s.Outputs()), func(v graph.Value) bool { return v.Container != "" }) {
		v, ok := s.(engine.ValueSession)
		if !ok {
			return nil, errors.New("the session takes and gives tensors alone, which Open did not say")
		}
		return out, v.RunValues(ctx, in, out)
	}
	given, got := make([]*tensor.Tensor, len(in)), make([]*tensor.Tensor, len(out))
	for i, v := range in {
		given[i] = v.Tensor
	}
	err := s.Run(ctx, given, got)
	for i, t := range got {
		out[i] = tensor.ValueOf(t)
	}
	return out, err
}

// asDeclared reads uint16 as the bfloat16 that the model declares.
func asDeclared(v tensor.Value, d tensor.DType) tensor.Value {
	t := v.Tensor
	if v.Kind != tensor.KindTensor || t.DType() != tensor.Uint16 || d != tensor.BFloat16 {
		return v
	}
	b, err := tensor.FromBytes(d, t.Bytes(), t.Shape()...)
	if err != nil {
		return v
	}
	return tensor.ValueOf(b)
}

// readValues reads kind_0.pb, kind_1.pb and so on, which are as many as one of these lists of declarations, or fewer.
func readValues(fsys fs.FS, set, kind string, declared, other []graph.Value) ([]tensor.Value, error) {
	var files [][]byte
	for i := 0; ; i++ {
		data, err := fs.ReadFile(fsys, path.Join(set, fmt.Sprintf("%s_%d.pb", kind, i)))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		files = append(files, data)
	}
	if other != nil && len(files) == len(other) {
		declared = other
	}
	vs := make([]tensor.Value, len(files))
	for i, data := range files {
		container := ""
		if i < len(declared) {
			container = declared[i].Container
		}
		v, err := onnx.DecodeValue(data, container)
		if err != nil {
			return nil, fmt.Errorf("%s_%d.pb: %w", kind, i, err)
		}
		vs[i] = v
	}
	return vs, nil
}
