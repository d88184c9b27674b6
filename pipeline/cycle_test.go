package pipeline_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/pipeline"
)

func TestValidateAll(t *testing.T) {
	pipe := func(name, from, to, faults string) pipeline.Config {
		return pipeline.Config{Name: name, From: from, Model: "m", To: to, Errors: faults}
	}
	for _, c := range []struct {
		name string
		all  []pipeline.Config
		want fault.Errors
	}{
		{"none", nil, nil},
		{"a chain", []pipeline.Config{pipe("p", "a", "b", ""), pipe("q", "b", "c", "")}, nil},
		{"two readers of one cache", []pipeline.Config{pipe("p", "a", "b", ""), pipe("q", "a", "c", "")}, nil},
		{"two names", []pipeline.Config{pipe("p", "a", "b", ""), pipe("p", "a", "c", "")}, fault.Errors{{Path: "p", Msg: "there are two pipelines of this name"}}},
		{"there and back", []pipeline.Config{pipe("p", "a", "b", ""), pipe("q", "b", "a", "")}, fault.Errors{
			{Path: "p.to", Msg: "the pipelines feed each other without end: p -> q -> p"},
			{Path: "q.to", Msg: "the pipelines feed each other without end: q -> p -> q"},
		}},
		{"round three", []pipeline.Config{pipe("p", "a", "b", ""), pipe("q", "b", "c", ""), pipe("r", "c", "a", ""), pipe("s", "b", "d", "")}, fault.Errors{
			{Path: "p.to", Msg: "the pipelines feed each other without end: p -> q -> r -> p"},
			{Path: "q.to", Msg: "the pipelines feed each other without end: q -> r -> p -> q"},
			{Path: "r.to", Msg: "the pipelines feed each other without end: r -> p -> q -> r"},
		}},
		{"by the errors", []pipeline.Config{pipe("p", "a", "b", ""), pipe("q", "p-errors", "a", "")}, fault.Errors{
			{Path: "p.errors", Msg: "the pipelines feed each other without end: p -> q -> p"},
			{Path: "q.to", Msg: "the pipelines feed each other without end: q -> p -> q"},
		}},
		{"one that feeds itself is its own fault", []pipeline.Config{pipe("p", "a", "a", "")}, nil},
		{"what is left out is no cycle", []pipeline.Config{pipe("p", "", "", ""), pipe("q", "", "a", "")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := pipeline.ValidateAll(c.all)
			if (err != nil) != errors.Is(err, pipeline.ErrConfig) {
				t.Fatal(err)
			}
			var got fault.Errors
			errors.As(err, &got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
