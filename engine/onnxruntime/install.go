package onnxruntime

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The archive that Install reads, as npm names it, and the SHA-512 that it must have wherever it comes from.
const (
	Package   = "onnxruntime-node"
	Version   = "1.30.0"
	integrity = "twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw=="
)

// maxLibrary is the size of the largest library that is taken out of an archive.
const maxLibrary = 256 << 20

// ErrIntegrity says that an archive is not the one that this version of Millrace knows.
var ErrIntegrity = errors.New("archive has another checksum")

// InstallOptions say where the archive comes from and where the library goes.
type InstallOptions struct {
	// From is the archive: a file, or an http or https URL. Empty asks npm for it.
	From string
	// Dir gets the library, under LibraryName.
	Dir string
}

// Install puts the library for this system into a folder and returns its path. The archive's checksum is held
// against the one in this program before anything is written there.
func Install(ctx context.Context, o InstallOptions) (string, error) {
	member, err := member(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "millrace-onnxruntime-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	archive := o.From
	switch {
	case archive == "":
		archive, err = pack(ctx, tmp)
	case strings.HasPrefix(archive, "http://"), strings.HasPrefix(archive, "https://"):
		archive, err = download(ctx, archive, tmp)
	}
	if err != nil {
		return "", err
	}
	if err := check(archive, sha512.New()); err != nil {
		return "", err
	}
	return extract(archive, member, o.Dir)
}

// member is where the archive has the library of a system.
func member(goos, goarch string) (string, error) {
	files := map[string]string{
		"linux/amd64": "linux/x64/libonnxruntime.so.1", "linux/arm64": "linux/arm64/libonnxruntime.so.1",
		"darwin/arm64":  "darwin/arm64/libonnxruntime.1.dylib",
		"windows/amd64": "win32/x64/onnxruntime.dll", "windows/arm64": "win32/arm64/onnxruntime.dll",
	}
	f, ok := files[goos+"/"+goarch]
	if !ok {
		return "", fmt.Errorf("there is no onnxruntime for %s/%s in %s %s: build it and name it by engines.onnxruntime.library", goos, goarch, Package, Version)
	}
	return "package/bin/napi-v6/" + f, nil
}

// pack lets npm download the archive, from the registry that it is set up for.
func pack(ctx context.Context, dir string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("npm, which downloads the archive, is not here: install it, or download %s-%s.tgz elsewhere and give it with --from", Package, Version)
	}
	cmd := exec.CommandContext(ctx, npm, "pack", Package+"@"+Version, "--pack-destination", dir, "--silent")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w: %s", Package, Version, err, strings.TrimSpace(string(out)))
	}
	return filepath.Join(dir, Package+"-"+Version+".tgz"), nil
}

func download(ctx context.Context, url, dir string) (string, error) {
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
	path := filepath.Join(dir, "archive.tgz")
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

// check holds an archive against the checksum.
func check(path string, sum hash.Hash) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != integrity {
		return fmt.Errorf("%w: %s has sha512-%s, %s %s has sha512-%s", ErrIntegrity, path, got, Package, Version, integrity)
	}
	return nil
}

// extract writes one member of the archive into dir, under the library's name, so that it is there whole or not at all.
func extract(archive, member, dir string) (string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", archive, err)
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read %s: it has no %s", archive, member)
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", archive, err)
		}
		if h.Name == member && h.Typeflag == tar.TypeReg {
			return place(tr, h.Size, dir)
		}
	}
}

func place(r io.Reader, size int64, dir string) (string, error) {
	if size > maxLibrary {
		return "", fmt.Errorf("the library in the archive has %d bytes, more than the limit of %d", size, int64(maxLibrary))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dir, ".onnxruntime-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name()) // after the rename it has that name no more
	_, err = io.CopyN(tmp, r, size)
	if err := errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close()); err != nil {
		return "", fmt.Errorf("write the library: %w", err)
	}
	path := filepath.Join(dir, LibraryName())
	if err := os.Rename(tmp.Name(), path); err != nil {
		return "", err
	}
	return path, nil
}
