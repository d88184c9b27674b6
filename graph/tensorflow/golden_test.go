package tensorflow_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// goldenCase is a case.json: a model, and what TensorFlow computed with it.
type goldenCase struct {
	Format     string   `json:"format"`
	Model      string   `json:"model"`
	Checkpoint string   `json:"checkpoint"`
	Signature  string   `json:"signature"`
	Tags       []string `json:"tags"`
	Inputs     []string `json:"inputs"`
	Outputs    []string `json:"outputs"`
	Sets       []struct {
		Inputs  map[string]string `json:"inputs"`
		Outputs map[string]string `json:"outputs"`
	} `json:"sets"`
	RTol        float64  `json:"rtol"`
	ATol        float64  `json:"atol"`
	Expect      string   `json:"expect"`
	RefuseNames []string `json:"refuse_names"`
	Ops         []string `json:"ops"`
	Tier        int      `json:"tier"`

	dir  string
	data map[string]*tensor.Tensor
}

func readCase(tb testing.TB, dir string) *goldenCase {
	tb.Helper()
	c := &goldenCase{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, c); err != nil {
		tb.Fatalf("%s: %v", dir, err)
	}
	f, err := os.Open(filepath.Join(dir, "data.npz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	if c.data, err = media.ReadNPZ(f, info.Size(), 1<<30); err != nil {
		tb.Fatalf("%s: %v", dir, err)
	}
	return c
}

func cases(tb testing.TB, dir string) []*goldenCase {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "case.json"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no cases in %s (%v)", dir, err)
	}
	var all []*goldenCase
	for _, f := range files {
		all = append(all, readCase(tb, filepath.Dir(f)))
	}
	return all
}

func (c *goldenCase) options() tensorflow.Options {
	o := tensorflow.Options{
		Evaluator: native.Evaluator(), Signature: c.Signature, Tags: c.Tags, Outputs: c.Outputs,
	}
	if c.Format != "saved_model" {
		o.Inputs = c.Inputs
	}
	if c.Checkpoint != "" {
		o.Checkpoint = filepath.Join(c.dir, c.Checkpoint)
	}
	return o
}

// outcome is what became of a case on one engine.
type outcome struct {
	ok      bool
	refused bool
	text    string
}

// check imports a case, writes and reads the ONNX file, and runs it on engines.
func (c *goldenCase) check(t testing.TB, engines map[string]engine.Engine) map[string]outcome {
	all := map[string]outcome{}
	each := func(o outcome) map[string]outcome {
		for name := range engines {
			all[name] = o
		}
		return all
	}
	res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
	if err != nil {
		o := outcome{refused: errors.Is(err, tensorflow.ErrRefused), text: err.Error()}
		if o.ok = o.refused && c.Expect != "equal"; o.ok {
			for _, name := range c.RefuseNames {
				if !strings.Contains(strings.ToLower(o.text), strings.ToLower(name)) {
					o.ok, o.text = false, fmt.Sprintf("the message does not name %s: %s", name, o.text)
				}
			}
		}
		return each(o)
	}
	if c.Expect == "refused" {
		return each(outcome{text: "it is not refused"})
	}
	if v := res.Graph.Opset[""]; v < 17 || v > 20 {
		return each(outcome{text: fmt.Sprintf("opset %d", v)})
	}
	file, err := onnx.Encode(res.Graph)
	if err != nil {
		return each(outcome{text: err.Error()})
	}
	for name, e := range engines {
		all[name] = c.run(t, e, file)
	}
	return all
}

func (c *goldenCase) run(t testing.TB, e engine.Engine, file []byte) outcome {
	g, err := onnx.Decode(file, onnx.Options{})
	if err != nil {
		return outcome{text: err.Error()}
	}
	s, err := e.Open(t.Context(), g, engine.Options{})
	if err != nil {
		return outcome{text: err.Error()}
	}
	defer s.Close()
	for i, set := range c.Sets {
		in := map[string]*tensor.Tensor{}
		for _, v := range s.Inputs() {
			if key, ok := set.Inputs[v.Name]; ok {
				in[v.Name] = c.value(key, v.DType)
			}
		}
		got, err := engine.Run(t.Context(), s, in)
		if err != nil {
			return outcome{text: fmt.Sprintf("set %d: %v", i, err)}
		}
		for name, key := range set.Outputs {
			var v *tensor.Tensor
			if v = got[name]; v == nil {
				v = got[name+"_out"]
			}
			want := c.data[key]
			if v != nil {
				want = c.value(key, v.DType())
			}
			if err := conformance.Within(v, want, conformance.Tolerance{Abs: c.ATol, Rel: c.RTol}); err != nil {
				return outcome{text: fmt.Sprintf("set %d, output %s: %v", i, name, err)}
			}
		}
	}
	return outcome{ok: true}
}

// value returns an array of the data. NumPy has no bfloat16: its arrays are the bits.
func (c *goldenCase) value(key string, dtype tensor.DType) *tensor.Tensor {
	t := c.data[key]
	if t == nil || dtype != tensor.BFloat16 || t.DType() == tensor.BFloat16 {
		return t
	}
	if t.DType() == tensor.Uint16 {
		return tensor.Must(tensor.FromBytes(tensor.BFloat16, t.Bytes(), t.Shape()...))
	}
	return t
}

var (
	update = flag.Bool("update", false, "write docs/tensorflow.md anew")
	only   = flag.String("only", "", "the cases whose name has this text")
)

// refusable reports whether the case may be refused: an operator that is not common.
func (c *goldenCase) refusable() bool { return c.Tier > 2 }

// engines returns those that are here.
func engines(tb testing.TB) map[string]engine.Engine {
	tb.Helper()
	all := map[string]engine.Engine{"native": native.New(native.Config{})}
	if e := library(tb); e != nil {
		all["onnxruntime"] = e
	}
	return all
}

// TestGolden holds what both engines compute with what TensorFlow's files become against what TensorFlow computed.
func TestGolden(t *testing.T) {
	root := sharedtest.Data(t, "tensorflow")
	engines := engines(t)
	rows := map[string]*row{}
	var refused []string
	details := details{operators: map[int]map[string]*count{}}
	for _, part := range []string{"ops", "nets"} {
		for _, c := range cases(t, filepath.Join(root, part)) {
			name := filepath.Base(c.dir)
			if !strings.Contains(name, *only) {
				continue
			}
			group := "networks"
			if part == "ops" {
				group = fmt.Sprintf("operators of tier %d", c.Tier)
			}
			all := c.check(t, engines)
			details.add(t, c, part, all)
			for engineName, o := range all {
				r := rows[group+" on "+engineName]
				if r == nil {
					r = &row{group: group, engine: engineName}
					rows[group+" on "+engineName] = r
				}
				switch {
				case o.ok && o.refused:
					r.rightlyRefused++
				case o.ok:
					r.right++
				case o.refused && c.refusable():
					r.refused++
					if refused = append(refused, name); *only != "" {
						t.Log(o.text)
					}
				default:
					r.wrong++
					t.Errorf("%s on %s: %s", name, engineName, o.text)
				}
			}
		}
	}
	slices.Sort(refused)
	page := report(rows, slices.Compact(refused), details)
	t.Log("\n" + page)
	if *update && *only == "" {
		if err := os.WriteFile(docPath, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// docPath is the page that says what passes.
const docPath = "../../docs/tensorflow.md"
