package grid

import (
	"fmt"
	"strings"
)

// systemPrefix begins the names of the caches that the system keeps for itself, such as the registry's models.
const systemPrefix = "_"

// IsSystem reports whether a cache of this name is the system's own. The grid treats it like any other, but that its gets are the leader's to answer; every door to the outside
// leaves it out of its lists and answers CheckPublic's error where somebody names it.
func IsSystem(cache string) bool { return strings.HasPrefix(cache, systemPrefix) }

// CheckPublic returns ErrNoCache where the name is the system's, so that such a cache does not exist for callers outside.
func CheckPublic(cache string) error {
	if IsSystem(cache) {
		return fmt.Errorf("%w: %s (names that begin with %s are the system's own)", ErrNoCache, cache, systemPrefix)
	}
	return nil
}
