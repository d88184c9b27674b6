//go:build cgo && linux

package cuda

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

// The few functions of the driver's interface that tell about devices. They are looked up when the program runs, so that it needs no driver to start.
typedef struct {
	int (*init)(unsigned int);
	int (*version)(int *);
	int (*count)(int *);
	int (*get)(int *, int);
	int (*name)(char *, int, int);
	int (*memory)(size_t *, int);
	int (*attribute)(int *, int, int);
	int (*error)(int, const char **);
} driver;

static int driver_open(driver *d, const char *path, char *why, size_t room) {
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (h == NULL) {
		snprintf(why, room, "%s", dlerror());
		return 1;
	}
	const struct { void **to; const char *name; } all[] = {
		{(void **)&d->init, "cuInit"}, {(void **)&d->version, "cuDriverGetVersion"}, {(void **)&d->count, "cuDeviceGetCount"},
		{(void **)&d->get, "cuDeviceGet"}, {(void **)&d->name, "cuDeviceGetName"}, {(void **)&d->memory, "cuDeviceTotalMem_v2"},
		{(void **)&d->attribute, "cuDeviceGetAttribute"}, {(void **)&d->error, "cuGetErrorString"},
	};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		*all[i].to = dlsym(h, all[i].name);
		if (*all[i].to == NULL) {
			snprintf(why, room, "it has no %s", all[i].name);
			return 2;
		}
	}
	return 0;
}

static int driver_init(driver *d) { return d->init(0); }
static int driver_version(driver *d, int *v) { return d->version(v); }
static int driver_count(driver *d, int *n) { return d->count(n); }
static int driver_get(driver *d, int *device, int i) { return d->get(device, i); }
static int driver_name(driver *d, char *to, int room, int device) { return d->name(to, room, device); }
static int driver_memory(driver *d, size_t *bytes, int device) { return d->memory(bytes, device); }
static int driver_attribute(driver *d, int *value, int which, int device) { return d->attribute(value, which, device); }
static const char *driver_error(driver *d, int code) {
	const char *text = NULL;
	return d->error(code, &text) == 0 && text != NULL ? text : "no text for it";
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// errNoLibrary says that the driver's library is not on this machine.
var errNoLibrary = errors.New("the driver's library cannot be loaded")

// The numbers of CUDA's attributes, and the error that it gives where there is no device.
const (
	attributeMajor = 75
	attributeMinor = 76
	codeNoDevice   = 100
)

// maxDevices is how many devices are listed at most.
const maxDevices = 256

// ask loads the driver's library, which stays loaded, and lists the devices. Nothing is opened on them.
func ask(library string) (version int, gpus []GPU, err error) {
	path := C.CString(library)
	defer C.free(unsafe.Pointer(path))
	var d C.driver
	var why [512]C.char
	switch C.driver_open(&d, path, &why[0], C.size_t(len(why))) {
	case 1:
		return 0, nil, fmt.Errorf("%w: %s", errNoLibrary, C.GoString(&why[0]))
	case 2:
		return 0, nil, fmt.Errorf("%s is no library of NVIDIA's driver: %s", library, C.GoString(&why[0]))
	}
	check := func(what string, code C.int) error {
		if code == 0 {
			return nil
		}
		return fmt.Errorf("%s: error %d: %s", what, int(code), C.GoString(C.driver_error(&d, code)))
	}
	var v, n C.int
	if err := check("ask for its version", C.driver_version(&d, &v)); err != nil {
		return 0, nil, err
	}
	if code := C.driver_init(&d); code == codeNoDevice {
		return int(v), nil, nil
	} else if err := check("start it", code); err != nil {
		return int(v), nil, err
	}
	if err := check("count the devices", C.driver_count(&d, &n)); err != nil {
		return int(v), nil, err
	}
	for i := range min(n, maxDevices) {
		g, err := describe(&d, i, check)
		if err != nil {
			return int(v), nil, err
		}
		gpus = append(gpus, g)
	}
	return int(v), gpus, nil
}

func describe(d *C.driver, i C.int, check func(string, C.int) error) (GPU, error) {
	var device, major, minor C.int
	var memory C.size_t
	var name [256]C.char
	if err := check(fmt.Sprintf("find device %d", int(i)), C.driver_get(d, &device, i)); err != nil {
		return GPU{}, err
	}
	if err := errors.Join(
		check("its name", C.driver_name(d, &name[0], C.int(len(name)), device)), check("its memory", C.driver_memory(d, &memory, device)),
		check("its capability", C.driver_attribute(d, &major, attributeMajor, device)), check("its capability", C.driver_attribute(d, &minor, attributeMinor, device)),
	); err != nil {
		return GPU{}, fmt.Errorf("device %d: %w", int(i), err)
	}
	return GPU{Ordinal: int(i), Name: C.GoString(&name[0]), Memory: int64(memory), Major: int(major), Minor: int(minor)}, nil
}
