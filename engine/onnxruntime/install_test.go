package onnxruntime_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/onnxruntime"
)

func TestInstallRefuses(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.tgz")
	if err := os.WriteFile(archive, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "lib")
	if _, err := onnxruntime.Install(t.Context(), onnxruntime.InstallOptions{From: []string{archive}, Dir: to}); !errors.Is(err, onnxruntime.ErrIntegrity) {
		t.Errorf("another archive: %v", err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was made: %v", err)
	}
	if _, err := onnxruntime.Install(t.Context(), onnxruntime.InstallOptions{From: []string{filepath.Join(dir, "none.tgz")}, Dir: to}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no archive: %v", err)
	}
}

// pack makes an archive as npm does, of members with their text.
func pack(t *testing.T, name string, members map[string]string) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(f)
	tw := tar.NewWriter(zw)
	for member, text := range members {
		err = errors.Join(err, tw.WriteHeader(&tar.Header{Name: member, Size: int64(len(text)), Mode: 0o644, Typeflag: tar.TypeReg}))
		_, failed := tw.Write([]byte(text))
		err = errors.Join(err, failed)
	}
	if err := errors.Join(err, tw.Close(), zw.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if sum, err = onnxruntime.Checksum(path); err != nil {
		t.Fatal(err)
	}
	return path, sum
}

// TestInstallTwo: a library and its provider come from two archives, given in any order, as files or by HTTP, and lie in one folder.
func TestInstallTwo(t *testing.T) {
	provider, providerSum := pack(t, "gpu-1.0.0.tgz", map[string]string{"package/so/cuda.so": "cuda", "package/so/shared.so": "shared", "package/so/other.so": "other"})
	library, librarySum := pack(t, "node-1.0.0.tgz", map[string]string{"package/bin/lib.so.1": "library"})
	wanted := []onnxruntime.Archive{
		{Name: "gpu", Integrity: providerSum, Files: map[string]string{"package/so/cuda.so": "cuda.so", "package/so/shared.so": "shared.so"}},
		{Name: "node", Integrity: librarySum, Files: map[string]string{"package/bin/lib.so.1": "lib.so"}},
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(library))))
	defer server.Close()
	for name, from := range map[string][]string{"files": {library, provider}, "http": {provider, server.URL + "/node-1.0.0.tgz"}} {
		dir := filepath.Join(t.TempDir(), "lib", "both")
		if err := onnxruntime.InstallFrom(t.Context(), wanted, from, dir); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 3 {
			t.Errorf("%s: %v, %v", name, entries, err)
		}
		for file, text := range map[string]string{"cuda.so": "cuda", "shared.so": "shared", "lib.so": "library"} {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != text {
				t.Errorf("%s: %s is %q, %v", name, file, got, err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "lib")
	for name, c := range map[string]struct {
		from []string
		says string
		is   error
	}{
		"one missing": {[]string{library}, "give gpu-1.0.0.tgz too", nil},
		"another":     {[]string{library, os.Args[0]}, providerSum, onnxruntime.ErrIntegrity},
		"not there":   {[]string{server.URL + "/none.tgz"}, "404", nil},
	} {
		err := onnxruntime.InstallFrom(t.Context(), wanted, c.from, dir)
		if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused install wrote something: %v", err)
	}
	wanted[1].Files["package/bin/none"] = "none"
	if err := onnxruntime.InstallFrom(t.Context(), wanted, []string{library, provider}, dir); err == nil || !strings.Contains(err.Error(), "it has no package/bin/none") {
		t.Errorf("an archive without a file: %v", err)
	}
}

// TestSearchPaths: the library with a provider goes before the one without, and what the environment names before both.
func TestSearchPaths(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, onnxruntime.LibraryName())
	withCUDA := filepath.Join(dir, onnxruntime.CUDADir, onnxruntime.LibraryName())
	named := filepath.Join(dir, "named.so")
	for _, path := range []string{plain, withCUDA, named} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		got, err := onnxruntime.Config{Paths: onnxruntime.SearchPaths(map[bool]string{true: named}[path == named], dir)}.Find()
		if err != nil || got != path {
			t.Errorf("found %q, %v; want %q", got, err, path)
		}
	}
}
