package rest_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve/rest"
)

// TestSettingsDefinition: what a node says of a pipeline's settings is read back as the pipeline that it has, with each of its keys.
func TestSettingsDefinition(t *testing.T) {
	want := pipeline.Config{
		Name: "p", From: "in", Model: "m", Version: 3, To: "out", Errors: "faults", MaxBatch: 7, Start: pipeline.StartNew, OnRemove: pipeline.KeepResult, Top: 2,
		Carry: []string{"room"}, RunTimeout: time.Second, MaxLag: time.Minute, SharesTarget: true, Spread: pipeline.SpreadNever,
	}
	for field, value := range reflect.ValueOf(want).Fields() {
		if field.Name != "Logger" && value.IsZero() {
			t.Errorf("%s has no value here", field.Name)
		}
	}
	got, err := rest.SettingsOf(want).Definition().Config("p")
	if got.Logger = nil; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
