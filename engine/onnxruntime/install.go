package onnxruntime

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine/onnxruntime/cuda"
)

// Package and Version are the npm package and the version of the library that Install gives.
const (
	Package = "onnxruntime-node"
	Version = "1.30.0"
)

// archive is one that Install reads, as npm names it, with the SHA-512 that it must have wherever it comes from, and what is taken out of it.
type archive struct {
	name, version, integrity string
	// files are what is taken, by the member's name, with the name that it gets.
	files map[string]string
}

// String names the archive as npm does.
func (a archive) String() string { return a.name + "@" + a.version }

// file is the name that npm gives the archive.
func (a archive) file() string { return a.name + "-" + a.version + ".tgz" }

// maxLibrary is the size of the largest file that is taken out of an archive.
const maxLibrary = 256 << 20

// ErrIntegrity says that an archive is not the one that this version of Millrace knows.
var ErrIntegrity = errors.New("archive has another checksum")

// InstallOptions say where the archives come from and where the library goes.
type InstallOptions struct {
	// From are the archives, in any order: files, or http or https URLs. Where there is none, npm is asked for them.
	From []string
	// Dir gets the library, under LibraryName; with CUDA its folder of CUDADir does.
	Dir string
	// CUDA asks for the library with the CUDA provider beside it.
	CUDA bool
}

// Install puts the library for this system into a folder and returns its path. Each archive's checksum is held
// against the one in this program before anything is written there.
func Install(ctx context.Context, o InstallOptions) (string, error) {
	wanted, err := archives(runtime.GOOS, runtime.GOARCH, o.CUDA)
	if err != nil {
		return "", err
	}
	dir := o.Dir
	if o.CUDA {
		dir = filepath.Join(dir, CUDADir)
	}
	if err := install(ctx, wanted, o.From, dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, LibraryName()), nil
}

// install fetches all archives before it takes anything out of one, in their order.
func install(ctx context.Context, wanted []archive, from []string, dir string) error {
	tmp, err := os.MkdirTemp("", "millrace-onnxruntime-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	paths, err := fetch(ctx, wanted, from, tmp)
	if err != nil {
		return err
	}
	for i, a := range wanted {
		if err := a.extract(paths[i], dir); err != nil {
			return err
		}
	}
	return nil
}

// archives are those that a system takes its files from. The library's is the last one: a folder is used when it is there.
func archives(goos, goarch string, withCUDA bool) ([]archive, error) {
	library := map[string]string{
		"linux/amd64": "linux/x64/libonnxruntime.so.1", "linux/arm64": "linux/arm64/libonnxruntime.so.1",
		"darwin/arm64":  "darwin/arm64/libonnxruntime.1.dylib",
		"windows/amd64": "win32/x64/onnxruntime.dll", "windows/arm64": "win32/arm64/onnxruntime.dll",
	}[goos+"/"+goarch]
	if library == "" {
		return nil, fmt.Errorf("there is no onnxruntime for %s/%s in %s %s: build it and name it by engines.onnxruntime.library", goos, goarch, Package, Version)
	}
	node := archive{
		name: Package, version: Version, integrity: "twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw==",
		files: map[string]string{"package/bin/napi-v6/" + library: LibraryName()},
	}
	if !withCUDA {
		return []archive{node}, nil
	}
	if goos != "linux" || goarch != "amd64" {
		return nil, fmt.Errorf("the CUDA provider is to be had for linux/amd64 alone, not for %s/%s: build onnxruntime with it and name it by engines.onnxruntime.library", goos, goarch)
	}
	node.version, node.integrity = CUDAVersion, "WjiVVB72riILz8HbYvxvmjKyE/WmkYoSfKY++axo5jAR609HQg8MwiG/HhShpTcJfmmAdzxxmB+MMST3A+SiPA=="
	return []archive{{
		name: "com.github.asus4.onnxruntime.linux-x64-gpu", version: "0.4.9",
		integrity: "FopIhNE/Ng+v2X65wVc9clPCBCvhvA53Hxo2U0Kf5fGdVsC7iCA+mZ0KLWggcQAj7TIZ6pNidR4AC10g74Xo6w==",
		files: map[string]string{
			"package/Plugins/Linux/x64/" + cuda.Provider: cuda.Provider, "package/Plugins/Linux/x64/" + cuda.ProviderBridge: cuda.ProviderBridge,
		},
	}, node}, nil
}

// fetch returns the wanted archives' paths, in their order, each with the right checksum.
func fetch(ctx context.Context, wanted []archive, from []string, tmp string) ([]string, error) {
	paths := make([]string, len(wanted))
	if len(from) == 0 {
		for i, a := range wanted {
			path, err := a.pack(ctx, tmp)
			if err != nil {
				return nil, err
			}
			if got, err := checksum(path); err != nil {
				return nil, err
			} else if got != a.integrity {
				return nil, fmt.Errorf("%w: %v came with sha512-%s, and should have sha512-%s", ErrIntegrity, a, got, a.integrity)
			}
			paths[i] = path
		}
		return paths, nil
	}
	for n, path := range from {
		if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
			var err error
			if path, err = download(ctx, path, filepath.Join(tmp, fmt.Sprintf("archive%d.tgz", n))); err != nil {
				return nil, err
			}
		}
		got, err := checksum(path)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(wanted, func(a archive) bool { return a.integrity == got })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s has sha512-%s; wanted %s", ErrIntegrity, from[n], got, sums(wanted))
		}
		paths[i] = path
	}
	for i, a := range wanted {
		if paths[i] == "" {
			return nil, fmt.Errorf("%v is not among the archives that were given: give %s too", a, a.file())
		}
	}
	return paths, nil
}

// sums lists archives with their checksums.
func sums(all []archive) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = fmt.Sprintf("%v with sha512-%s", a, a.integrity)
	}
	return strings.Join(words, ", ")
}

// pack lets npm download the archive, from the registry that it is set up for.
func (a archive) pack(ctx context.Context, dir string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("npm, which downloads the archive, is not here: install it, or download %s elsewhere and give it with --from", a.file())
	}
	cmd := exec.CommandContext(ctx, npm, "pack", a.String(), "--pack-destination", dir, "--silent")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm pack %v: %w: %s", a, err, strings.TrimSpace(string(out)))
	}
	return filepath.Join(dir, a.file()), nil
}

func download(ctx context.Context, url, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("download %s: %w", url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("download %s: status %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	const maxArchive = 1 << 30
	_, err = io.Copy(f, io.LimitReader(resp.Body, maxArchive))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("download %s: %w", url, err)
	}
	return path, nil
}

// checksum is an archive's SHA-512, as npm writes it.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(sum.Sum(nil)), nil
}

// extract writes the archive's files into dir, each so that it is there whole or not at all.
func (a archive) extract(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	left := maps.Clone(a.files)
	tr := tar.NewReader(zr)
	for len(left) > 0 {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: it has no %s", path, strings.Join(slices.Sorted(maps.Keys(left)), ", "))
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		name, ok := left[h.Name]
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		if err := place(tr, h.Size, filepath.Join(dir, name)); err != nil {
			return err
		}
		delete(left, h.Name)
	}
	return nil
}

func place(r io.Reader, size int64, path string) error {
	if size > maxLibrary {
		return fmt.Errorf("%s in the archive has %d bytes, more than the limit of %d", filepath.Base(path), size, int64(maxLibrary))
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".onnxruntime-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename it has that name no more
	_, err = io.CopyN(tmp, r, size)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
