// Package fault collects what is wrong with a configuration, each fault with the field that it is in, so that one look shows all and
// whoever read the configuration can say where it stands. Which values are right is left to the packages whose configuration it is.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// A Fault is one thing that is wrong.
type Fault struct {
	// Path is the field, as a configuration file writes it: "max_entries", "tokens[1]", "caches.digits.max_idle". It is empty where the
	// fault is of the whole.
	Path string
	// Msg says what is wrong and what would be right.
	Msg string
}

func (f Fault) String() string {
	if f.Path == "" {
		return f.Msg
	}
	return f.Path + ": " + f.Msg
}

// Errors is every fault of a configuration, in the order of its fields. As an error it is never empty: see Err.
type Errors []Fault

// Error has a line for each fault.
func (l Errors) Error() string { return strings.Join(l.Reasons(), "\n") }

// Reasons returns the faults' texts.
func (l Errors) Reasons() []string {
	lines := make([]string, len(l))
	for i, f := range l {
		lines[i] = f.String()
	}
	return lines
}

// Err returns the list as an error, nil where there is no fault.
func (l Errors) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Add adds a fault.
func (l *Errors) Add(path, format string, args ...any) {
	*l = append(*l, Fault{path, fmt.Sprintf(format, args...)})
}

// Check adds a fault unless ok.
func (l *Errors) Check(ok bool, path, format string, args ...any) {
	if !ok {
		l.Add(path, format, args...)
	}
}

// Take adds the faults that err holds, with the path that rename gives each; those for which it says no are left out. An error that is no
// Errors is one fault of the path "".
func (l *Errors) Take(err error, rename func(path string) (string, bool)) {
	if err == nil {
		return
	}
	var faults Errors
	if !errors.As(err, &faults) {
		faults = Errors{{Msg: err.Error()}}
	}
	for _, f := range faults {
		if path, ok := rename(f.Path); ok {
			*l = append(*l, Fault{path, f.Msg})
		}
	}
}
