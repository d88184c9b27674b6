package enginetest

import (
	"os"

	"github.com/millrace/millrace/engine"
)

// EnvDevice is the variable that points tests of an engine to a device.
const EnvDevice = "MILLRACE_DEVICE"

// OnDevice returns e, which opens sessions on the device that MILLRACE_DEVICE names, such as cuda:0, where a test names none. A device that is not there fails the test: it was asked for.
func OnDevice(e engine.Engine) engine.Engine {
	device := os.Getenv(EnvDevice)
	if device == "" {
		return e
	}
	return engine.With(e, engine.Options{Device: device})
}
