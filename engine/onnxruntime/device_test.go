//go:build cgo && linux

package onnxruntime_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/engine/onnxruntime/cuda"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// driverSource is a driver's library with one device, so far as it is asked about it.
const driverSource = `
#include <stddef.h>
int cuInit(unsigned int flags) { return 0; }
int cuDriverGetVersion(int *v) { *v = VERSION; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDeviceGetName(char *to, int room, int device) { to[0] = 'G'; to[1] = 0; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = 9; return 0; }
int cuGetErrorString(int code, const char **text) { return 1; }
`

// TestDevicesListed: a device that a driver shows is listed with what keeps this library from it; without a driver there is a line that says so.
func TestDevicesListed(t *testing.T) {
	if os.Getenv(enginetest.EnvDevice) != "" {
		t.Skip("the library may have a provider, which would be given this test's driver")
	}
	e := open(t).(*onnxruntime.Engine)
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler")
	}
	dir := t.TempDir()
	list := func(version string) []engine.Device {
		source, library := filepath.Join(dir, "driver.c"), filepath.Join(dir, "driver"+version+".so")
		if err := os.WriteFile(source, []byte(driverSource), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), cc, "-shared", "-fPIC", "-DVERSION="+version, "-o", library, source).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return e.CUDADevices(cuda.Places{Library: library, Proc: filepath.Join(dir, "none")})
	}
	for version, says := range map[string]string{"12040": "(CUDA 12.4) is too old for CUDA 13", "13000": "engine install onnxruntime --cuda"} {
		got := list(version)
		if len(got) != 1 || got[0].Name != "cuda:0" || got[0].Model != "G" || got[0].Memory != 1<<30 || !strings.Contains(got[0].Reason, says) {
			t.Errorf("%s: %+v", version, got)
		}
	}
	got := e.CUDADevices(cuda.Places{Library: "libmillrace-none.so", Proc: filepath.Join(dir, "none")})
	if len(got) != 1 || got[0].Name != "cuda" || !strings.Contains(got[0].Reason, "there is no NVIDIA driver on this machine") {
		t.Errorf("no driver: %+v", got)
	}
	b := graph.NewBuilder("test")
	b.Output(b.Name(b.Op("Relu", nil, b.Input("x", tensor.Float32, graph.Dims(2))), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(t.Context(), g, engine.Options{Device: "cuda:0"}); !errors.Is(err, engine.ErrUnavailable) || strings.Contains(err.Error(), "refuses the model") {
		t.Errorf("open on cuda:0: %v", err)
	}
}
