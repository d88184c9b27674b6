package engine_test

import (
	"testing"

	"github.com/millrace/millrace/engine"
)

func TestOptionsValidate(t *testing.T) {
	for _, o := range []engine.Options{{}, {Device: "cpu", Threads: 8}, {Device: "cuda:0"}, {Device: "cuda:127"}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for o, want := range map[*engine.Options]string{
		{Threads: -1}:                "threads: -1 must be at least 0",
		{Device: "cuda:"}:            `device: "cuda:" must be cpu or cuda:N`,
		{Threads: -1, Device: "tpu"}: "threads: -1 must be at least 0\n" + `device: "tpu" must be cpu or cuda:N`,
	} {
		if err := o.Validate(); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", *o, err, want)
		}
	}
}
