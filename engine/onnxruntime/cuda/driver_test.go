//go:build cgo && linux

package cuda_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/onnxruntime/cuda"
)

// driverSource is the part of a driver's library that Look asks, with two devices, so that asking is tested where there is no driver. FAIL is what cuInit answers.
const driverSource = `
#include <stddef.h>
#include <string.h>
int cuInit(unsigned int flags) { return flags == 0 ? FAIL : 1; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = COUNT; return 0; }
int cuDeviceGet(int *device, int i) { *device = 40 + i; return 0; }
int cuDeviceGetName(char *to, int room, int device) { strncpy(to, device == 40 ? "First" : "Second", room); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 40 ? (size_t)80 << 30 : 1 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 9 : which == 76 ? device - 40 : -1; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 803 ? "the driver and its library differ" : NULL; return 0; }
`

func TestDevices(t *testing.T) {
	dir := t.TempDir()
	proc := filepath.Join(dir, "proc")
	write(t, filepath.Join(proc, "version"), moduleText)
	driver := func(name, fail, count string) cuda.Places {
		return cuda.Places{Library: compile(t, filepath.Join(dir, name), "libcuda.so.1", driverSource, "-DFAIL="+fail, "-DCOUNT="+count), Proc: proc}
	}
	d, gpus, err := cuda.Look(driver("two.so", "0", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if d.String() != "NVIDIA's driver 580.82.07 (CUDA 13.0)" {
		t.Errorf("%v", d)
	}
	want := []cuda.GPU{{Ordinal: 0, Name: "First", Memory: 80 << 30, Major: 9}, {Ordinal: 1, Name: "Second", Memory: 1 << 30, Major: 9, Minor: 1}}
	if len(gpus) != 2 || gpus[0] != want[0] || gpus[1] != want[1] {
		t.Errorf("%+v, want %+v", gpus, want)
	}
	for name, c := range map[string]struct {
		places cuda.Places
		says   string
	}{
		"no device":  {driver("none.so", "100", "0"), "shows no device"},
		"hidden":     {driver("hidden.so", "0", "0"), "CUDA_VISIBLE_DEVICES"},
		"mismatch":   {driver("mismatch.so", "803", "1"), "error 803: the driver and its library differ"},
		"no driver":  {cuda.Places{Library: compile(t, filepath.Join(dir, "other.so"), "other.so", "int f(void) { return 0; }"), Proc: proc}, "it has no cuInit"},
		"no library": {cuda.Places{Library: write(t, filepath.Join(dir, "text.so"), "text"), Proc: proc}, "its " + filepath.Join(dir, "text.so")},
	} {
		if _, gpus, err := cuda.Look(c.places); !errors.Is(err, cuda.ErrNone) || len(gpus) > 0 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v", name, gpus, err)
		}
	}
}
