//go:build !cgo || !linux

package cuda

import "errors"

// errNoLibrary says that this build does not ask the driver: it was made without cgo, or for a system whose driver it does not know.
var errNoLibrary = errors.New("this build cannot ask it for devices: that takes Linux and cgo")

func ask(string) (version int, gpus []GPU, err error) { return 0, nil, errNoLibrary }
