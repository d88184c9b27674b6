package tensorflow_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/tensorflowtest"
)

// What is wrong with what was given is said, with what to do.
func TestMessages(t *testing.T) {
	dir := t.TempDir()
	small := tensorflowtest.Small
	if err := errors.Join(small.Meta(filepath.Join(dir, "a.ckpt")), tensorflowtest.Net{Width: 8, Channels: 4, Denses: 5}.Meta(filepath.Join(dir, "b.ckpt"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "b.ckpt.meta")); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		opts tensorflow.Options
		want []string
	}{
		"a folder that is no SavedModel":  {path: ".", want: []string{"neither saved_model.pb nor", "give a file in it: a.ckpt.meta"}},
		"a checkpoint":                    {path: "b.ckpt", want: []string{"it is a checkpoint", "--checkpoint"}},
		"a file that is not there":        {path: "c.pb", want: []string{"no such file"}},
		"another model's checkpoint":      {path: "a.ckpt.meta", opts: tensorflow.Options{Checkpoint: "b.ckpt"}, want: []string{`VariableV2: the checkpoint has no value for it; it has "dense0/bias"`, "5 more", "nodes: ", "conv0/kernel", "conv0/bias"}},
		"a checkpoint that is not there":  {path: "a.ckpt.meta", opts: tensorflow.Options{Checkpoint: "c.ckpt"}, want: []string{"c.ckpt"}},
		"a signature where there is none": {path: "a.ckpt.meta", opts: tensorflow.Options{Signature: "serve"}, want: []string{`no signature "serve"`}},
		"an output that is not there":     {path: "a.ckpt.meta", opts: tensorflow.Options{Outputs: []string{"Relu"}}, want: []string{`no node "Relu"; there is conv0/Relu, conv1/Relu`}},
		"an input that is not there":      {path: "a.ckpt.meta", opts: tensorflow.Options{Inputs: []string{"y"}}, want: []string{`no node "y" to be an input`}},
		"an output twice":                 {path: "a.ckpt.meta", opts: tensorflow.Options{Outputs: []string{"mean", "mean"}}, want: []string{`"mean" is asked for twice`}},
		"an output that the node has not": {path: "a.ckpt.meta", opts: tensorflow.Options{Outputs: []string{"mean:3"}}, want: []string{"mean"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.opts.Evaluator = native.Evaluator()
			if tt.opts.Checkpoint != "" {
				tt.opts.Checkpoint = filepath.Join(dir, tt.opts.Checkpoint)
			}
			_, err := tensorflow.Import(t.Context(), filepath.Join(dir, tt.path), tt.opts)
			if err == nil {
				t.Fatal("it is imported")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not have %q", err, want)
				}
			}
		})
	}
}
