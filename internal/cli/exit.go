package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// exitCode is the one table from errors to exit codes. started says whether the arguments were understood: an error
// from before is about them.
func exitCode(err error, started bool) int {
	var config *configError
	switch {
	case err == nil:
		return exitOK
	case !started, errors.Is(err, errUsage), errors.As(err, &config):
		return exitUsage
	}
	return exitFailed
}

// report tells an error, and after wrong use where to read on.
func report(w io.Writer, err error, code int) {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "millrace: interrupted")
		return
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "millrace ") && !strings.HasPrefix(line, "millrace: ") { // a command that names itself
			line = "millrace: " + line
		}
		fmt.Fprintln(w, strings.TrimSuffix(line, "\n"))
	}
	var config *configError
	if code == exitUsage && !errors.As(err, &config) {
		fmt.Fprintln(w, "Run the command with --help to see how it is used.")
	}
}
