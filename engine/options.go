package engine

import (
	"regexp"

	"github.com/millrace/millrace/fault"
)

// deviceRule is the form of Options.Device. Which devices there are shows when a session is opened on one.
var deviceRule = regexp.MustCompile(`^(cpu|cuda:[0-9]{1,3})?$`)

// Validate reports every fault of the options that every engine has, as fault.Errors.
func (o Options) Validate() error {
	var l fault.Errors
	l.Check(o.Threads >= 0, "threads", "%d must be at least 0", o.Threads)
	l.Check(deviceRule.MatchString(o.Device), "device", "%q must be cpu or cuda:N", o.Device)
	return l.Err()
}
