package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/shipped"
)

// repository writes files, "model" being a model that can be run, and "" a folder.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	digits, ok := shipped.Model("digits")
	if !ok {
		t.Fatal("there is no model in the binary")
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		data := []byte(content)
		if content == "model" {
			data = digits
		}
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && content == "" {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRepositoryOfModels: what is wrong in one folder is told, and the node serves the others.
func TestRepositoryOfModels(t *testing.T) {
	const tooMuch = "99999999999999999999"
	dir := repository(t, map[string]string{
		"good/1/model.onnx": "model", "good/2": "", // a version without its file
		"damaged/1/model.onnx": "model", "damaged/3/model.onnx": "no model",
		"both/1/model.onnx": "model", "both/01/model.onnx": "no model", "both/001/model.onnx": "no model",
		"zeros/01/model.onnx":  "model",
		"large/1/model.onnx":   "model",
		"large/" + tooMuch:     "",
		"nought/0/model.onnx":  "model",
		"folder/1/model.onnx/": "", "notes": "", "words/readme.txt": "hello", "file.txt": "hello",
		"bad name!/1/model.onnx": "model",
		".DS_Store":              "junk", "._good": "junk", "__MACOSX/good/1/._model.onnx": "junk", ".git/1/model.onnx": "junk",
		"good/.DS_Store": "junk", "good/1/._model.onnx": "junk", "good/1~": "junk", "lost+found": "",
	})
	cfg := app.Defaults()
	cfg.Node.Data = app.Path(t.TempDir())
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Engine = "native"
	cfg.ModelRepository = app.Path(dir)
	cfg.Complete()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	n, err := app.Open(ctx, cfg, "test", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		stop()
		t.Fatalf("the node does not start: %v", err)
	}
	told := log.String() // while nobody writes to it
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()

	type info struct {
		Name, State, Reason string
		Version             int64
		Latest              bool
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(n.URL(), "/")+"/rest/v2/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var list []info
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	got := map[string]info{}
	for _, i := range list {
		got[i.Name+" "+string(rune('0'+i.Version))] = i
	}
	for name, reason := range map[string]string{ // an empty reason is a version that serves
		"good 1": "", "good 2": "no model.onnx", "damaged 1": "", "damaged 3": "model", "both 1": "", "zeros 1": "", "large 1": "", "folder 1": "is a folder",
	} {
		i, ok := got[name]
		if !ok || (i.State == "failed") != (reason != "") || !strings.Contains(i.Reason, reason) || i.Latest != (reason == "") {
			t.Errorf("%s: %+v", name, i)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("the list has %v too", got)
	}
	for _, want := range []string{
		"folders 1 and 01 are the same version", "folders 1 and 001 are the same version", tooMuch, "a version is a number from 1 to", "notes has no version",
		"words has no version", "bad name!", "files=5 example=.DS_Store", "files=2 example=.DS_Store",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the log does not say %q:\n%s", want, told)
		}
	}
}

// TestModelPath: a path that the configuration names itself must have something that can be served.
func TestModelPath(t *testing.T) {
	dir := repository(t, map[string]string{"empty": "", "none/1": "", "none/2": "", "some/1/model.onnx": "model", "some/2": ""})
	for name, fault := range map[string]string{"empty": "has no version", "none": "no model.onnx", "absent": "no such file", "some": ""} {
		cfg := app.Defaults()
		cfg.Node.Data = app.Path(t.TempDir())
		cfg.HTTP.Listen = "127.0.0.1:0"
		cfg.Engine = "native"
		cfg.Models = map[string]app.ModelConfig{"m": {Path: app.Path(filepath.Join(dir, name))}}
		cfg.Complete()
		n, err := app.Open(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
		if fault == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if err := n.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), fault) || !strings.Contains(err.Error(), "models.m.path") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
