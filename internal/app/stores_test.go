package app_test

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"github.com/millrace/millrace/internal/app"
)

// TestStoreIsLogged: who reads the log knows which stores the node has, where, and how much is in them.
func TestStoreIsLogged(t *testing.T) {
	dir := t.TempDir()
	c := app.Defaults()
	c.HTTP.Listen = "127.0.0.1:0"
	c.Node.Data = app.Path(t.TempDir())
	c.Stores = map[string]app.StoreConfig{"attic": {Type: "disk", Dir: app.Path(dir)}}
	c.Complete()
	var log bytes.Buffer
	n, err := app.Open(t.Context(), c, "test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	want := regexp.MustCompile(`level=INFO msg="store is open" store=attic type=disk at=` + regexp.QuoteMeta(dir) + ` bytes=[1-9]\d*\n`)
	if !want.Match(log.Bytes()) {
		t.Errorf("the log has no such line:\n%s", log.String())
	}
}
