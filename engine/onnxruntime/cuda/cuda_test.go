package cuda_test

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/onnxruntime/cuda"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// compile makes a shared library of C. It skips where there is no compiler, which builds with cgo have.
func compile(t *testing.T, path, soname, source string, args ...string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs Linux and a C compiler")
	}
	c := write(t, filepath.Join(t.TempDir(), "lib.c"), source)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), cc, append([]string{"-shared", "-fPIC", "-Wl,-soname," + soname, "-o", path, c}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// moduleText is what the kernel module of a driver says of itself.
const moduleText = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (dvs-builder@U22-I3)  Wed Aug 27 2026\nGCC version:  gcc version 12.3.0\n"

// TestNoDriver: each way to have no device is told with what is missing.
func TestNoDriver(t *testing.T) {
	dir := t.TempDir()
	loaded := filepath.Join(dir, "loaded")
	write(t, filepath.Join(loaded, "version"), moduleText)
	for name, c := range map[string]struct {
		places cuda.Places
		says   []string
	}{
		"none":       {cuda.Places{Library: "libmillrace-none.so.1", Proc: filepath.Join(dir, "none")}, []string{"there is no NVIDIA driver on this machine"}},
		"no library": {cuda.Places{Library: "libmillrace-none.so.1", Proc: loaded}, []string{"580.82.07 is loaded", "--gpus all"}},
	} {
		_, gpus, err := cuda.Look(c.places)
		if !errors.Is(err, cuda.ErrNone) || len(gpus) > 0 {
			t.Errorf("%s: %v, %v", name, gpus, err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q lacks %q", name, err, s)
			}
		}
	}
}

// TestOldDriver: a driver that does not know the provider's CUDA is refused, and one that was not asked is not.
func TestOldDriver(t *testing.T) {
	if err := (cuda.Driver{Version: "550.54", CUDA: 12040}).Old(); err == nil || !strings.Contains(err.Error(), "550.54 (CUDA 12.4) is too old for CUDA 13") {
		t.Error(err)
	}
	for _, d := range []cuda.Driver{{}, {CUDA: 13000}, {CUDA: 14010}} {
		if err := d.Old(); err != nil {
			t.Errorf("%v: %v", d, err)
		}
	}
}

// TestFindAsLoader: Find gives what ldd, which asks the loader itself, gives for every library of a program that has many.
func TestFindAsLoader(t *testing.T) {
	ldd, err := exec.LookPath("ldd")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs Linux and ldd")
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	line := regexp.MustCompile(`(?m)^\s*(\S+\.so\S*) => (/\S+)`)
	found := 0
	for _, program := range []string{"/bin/bash", "/usr/bin/git", "/usr/bin/python3", "/usr/bin/curl"} {
		out, err := exec.CommandContext(t.Context(), ldd, program).Output()
		if err != nil {
			continue // is not here
		}
		l := &cuda.Loader{Machine: machine, Path: os.Getenv("LD_LIBRARY_PATH")}
		for _, m := range line.FindAllStringSubmatch(string(out), -1) {
			found++
			if path, err := l.Find(m[1]); err != nil || !sameFile(path, m[2]) {
				t.Errorf("%s of %s: %q, %v; the loader has %q", m[1], program, path, err, m[2])
			}
		}
	}
	if found == 0 {
		t.Error("ldd named no library")
	}
}

func sameFile(a, b string) bool {
	one, err1 := os.Stat(a)
	two, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// TestNeeds reads what a provider wants from its header, and finds it in LD_LIBRARY_PATH alone; what is no library does not count.
func TestNeeds(t *testing.T) {
	dir := t.TempDir()
	toolkit := filepath.Join(dir, "toolkit")
	blas := compile(t, filepath.Join(toolkit, "libcublas.so.13"), "libcublas.so.13", "int blas(void) { return 1; }")
	driver := compile(t, filepath.Join(dir, "libcuda.so.1"), "libcuda.so.1", "int driver(void) { return 1; }")
	provider := compile(t, filepath.Join(dir, cuda.Provider), cuda.Provider, "#include <stdio.h>\nint blas(void); int driver(void); int provider(void) { return puts(\"\") + blas() + driver(); }", blas, driver)
	write(t, filepath.Join(toolkit, "libcudnn.so.9"), "no library")
	empty := write(t, filepath.Join(dir, "cache"), "glibc-ld.so.cache1.1"+strings.Repeat("\x00", 28))
	needs, err := cuda.Needs(provider, &cuda.Loader{Path: toolkit, Cache: empty})
	if err != nil {
		t.Fatal(err)
	}
	find := func(name string) cuda.Need {
		i := slices.IndexFunc(needs, func(n cuda.Need) bool { return n.Name == name })
		if i < 0 {
			t.Fatalf("%s is not among %v", name, needs)
		}
		return needs[i]
	}
	if n := find("libcublas.so.13"); n.Path != blas || n.From != "CUDA 13" || n.Later {
		t.Errorf("%+v", n)
	}
	if n := find("libcuda.so.1"); n.From != "NVIDIA's driver" || n.Path == driver {
		t.Errorf("%+v: the folder of the provider is none of the loader's", n)
	}
	if n := find("libc.so.6"); n.Path == "" || n.From != "the system" {
		t.Errorf("%+v", n)
	}
	if n := find("libcudnn.so.9"); n.Path != "" || n.From != "cuDNN 9" || !n.Later {
		t.Errorf("%+v", n)
	}
	// One for another processor is passed over, and what the loader's cache names is found.
	data, err := os.ReadFile(blas)
	if err != nil {
		t.Fatal(err)
	}
	data[18], data[19] = byte(elf.EM_RISCV), 0 // e_machine
	write(t, filepath.Join(toolkit, "libcublas.so.13"), string(data))
	elsewhere := compile(t, filepath.Join(dir, "elsewhere", "real.so"), "libcublas.so.13", "int blas(void) { return 1; }")
	text := "libcublas.so.13\x00" + elsewhere + "\x00"
	entry := []byte{0: 3, 1: 3, 4: 72, 8: 72 + 16, 23: 0} // the flags of a library for amd64, and where its name and path are
	cache := write(t, filepath.Join(dir, "cache1"), "glibc-ld.so.cache1.1\x01\x00\x00\x00"+strings.Repeat("\x00", 24)+string(entry)+text)
	if needs, err = cuda.Needs(provider, &cuda.Loader{Path: toolkit, Cache: cache}); err != nil {
		t.Fatal(err)
	}
	if n := find("libcublas.so.13"); n.Path != elsewhere {
		t.Errorf("%+v, want the one in the cache, %s", n, elsewhere)
	}
	if _, err := cuda.Needs(filepath.Join(toolkit, "libcudnn.so.9"), &cuda.Loader{Cache: empty}); err == nil {
		t.Error("a file that is no library was read")
	}
}

// TestBadCache: a cache that is cut or not one is an error, not an empty one; a system without one has none.
func TestBadCache(t *testing.T) {
	dir := t.TempDir()
	magic := "glibc-ld.so.cache1.1"
	for name, text := range map[string]string{
		"other": "something else", "short": magic, "more than it has": magic + "\xff\xff\xff\x7f" + strings.Repeat("\x00", 24),
		"outside": magic + "\x01\x00\x00\x00" + strings.Repeat("\x00", 24) + strings.Repeat("\xff", 24),
	} {
		l := &cuda.Loader{Machine: elf.EM_X86_64, Cache: write(t, filepath.Join(dir, name), text)}
		if path, err := l.Find("libc.so.6"); err == nil {
			t.Errorf("%s: found %q", name, path)
		}
	}
	l := &cuda.Loader{Machine: elf.EM_X86_64, Cache: filepath.Join(dir, "none")}
	if path, err := l.Find("libmillrace-none.so.1"); err != nil || path != "" {
		t.Errorf("no cache: %q, %v", path, err)
	}
}
