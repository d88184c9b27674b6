package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// conditions are a request's preconditions (RFC 9110, section 13). An entry's ETag is its revision in quotes.
type conditions struct {
	match, noneMatch          *tags
	unmodified, modifiedSince time.Time // zero where absent
}

// tags is the list of If-Match or If-None-Match.
type tags struct {
	any  bool // *
	list []tag
}

type tag struct {
	weak     bool
	revision grid.Revision // 0, which no entry has, for a tag that is not ours
}

func etag(revision grid.Revision) string { return `"` + strconv.FormatUint(uint64(revision), 10) + `"` }

// parseConditions reads the headers. Dates that cannot be read are ignored, as the standard says; lists are not.
func parseConditions(h http.Header) (conditions, error) {
	var c conditions
	var err error
	if c.match, err = parseTags("If-Match", h["If-Match"]); err != nil {
		return c, err
	}
	if c.noneMatch, err = parseTags("If-None-Match", h["If-None-Match"]); err != nil {
		return c, err
	}
	if c.match == nil {
		c.unmodified = parseDate(h, "If-Unmodified-Since")
	}
	if c.noneMatch == nil {
		c.modifiedSince = parseDate(h, "If-Modified-Since")
	}
	return c, nil
}

func parseDate(h http.Header, name string) time.Time {
	v := h[name]
	if len(v) != 1 {
		return time.Time{}
	}
	t, err := http.ParseTime(v[0])
	if err != nil {
		return time.Time{}
	}
	return t
}

func parseTags(name string, values []string) (*tags, error) {
	if len(values) == 0 {
		return nil, nil
	}
	t := &tags{}
	for _, v := range values {
		s := strings.Trim(v, " \t")
		if s == "*" && len(values) == 1 {
			t.any = true
			return t, nil
		}
		for {
			s = strings.TrimLeft(s, " \t,")
			if s == "" {
				break
			}
			var one tag
			s, one.weak = strings.CutPrefix(s, "W/")
			end := -1
			if strings.HasPrefix(s, `"`) {
				end = strings.IndexByte(s[1:], '"')
			}
			if end < 0 {
				return nil, fmt.Errorf(`%w: header %s: %q is neither * nor a list of tags such as "17"`, serve.ErrRequest, name, v)
			}
			if n, err := strconv.ParseUint(s[1:1+end], 10, 64); err == nil && strconv.FormatUint(n, 10) == s[1:1+end] {
				one.revision = grid.Revision(n)
			}
			t.list = append(t.list, one)
			s = strings.TrimLeft(s[end+2:], " \t")
			if s != "" && s[0] != ',' {
				return nil, fmt.Errorf("%w: header %s: %q: tags are separated by commas", serve.ErrRequest, name, v)
			}
		}
	}
	return t, nil
}

// has reports whether the entry of this revision (0: there is none) is in the list. A strong comparison leaves weak
// tags out.
func (t *tags) has(revision grid.Revision, strong bool) bool {
	if revision == 0 {
		return false
	}
	if t.any {
		return true
	}
	for _, one := range t.list {
		if one.revision == revision && (!strong || !one.weak) {
			return true
		}
	}
	return false
}

func (c conditions) none() bool {
	return c.match == nil && c.noneMatch == nil && c.unmodified.IsZero()
}

// onlyRevision returns the revision where the conditions are one strong If-Match tag and nothing else, so that the
// grid itself can hold it.
func (c conditions) onlyRevision() (grid.Revision, bool) {
	if c.match == nil || c.noneMatch != nil || len(c.match.list) != 1 {
		return 0, false
	}
	one := c.match.list[0]
	return one.revision, one.revision != 0 && !one.weak
}

// onlyAbsent reports whether the conditions are If-None-Match: * and nothing else.
func (c conditions) onlyAbsent() bool {
	return c.noneMatch != nil && c.noneMatch.any && c.match == nil && c.unmodified.IsZero()
}

// check holds a write's conditions against what is there: revision 0 is no entry.
func (c conditions) check(revision grid.Revision, written time.Time) error {
	switch {
	case c.match != nil && !c.match.has(revision, true):
		return fmt.Errorf("%w: If-Match: %s", serve.ErrPrecondition, there(revision))
	case !c.unmodified.IsZero() && revision != 0 && written.Truncate(time.Second).After(c.unmodified):
		return fmt.Errorf("%w: If-Unmodified-Since: it was written at %s", serve.ErrPrecondition, written.UTC().Format(http.TimeFormat))
	case c.noneMatch != nil && c.noneMatch.has(revision, false):
		return fmt.Errorf("%w: If-None-Match: %s", serve.ErrPrecondition, there(revision))
	}
	return nil
}

func there(revision grid.Revision) string {
	if revision == 0 {
		return "there is no entry"
	}
	return fmt.Sprintf("the entry has revision %d", revision)
}

// notModified reports whether a reader has this revision already. check came before.
func (c conditions) notModified(revision grid.Revision, written time.Time) bool {
	if c.noneMatch != nil {
		return c.noneMatch.has(revision, false)
	}
	return !c.modifiedSince.IsZero() && !written.Truncate(time.Second).After(c.modifiedSince)
}

// forReading is what a GET holds before it answers 200 or 304: its If-None-Match makes 304, not 412.
func (c conditions) forReading() conditions {
	c.noneMatch = nil
	return c
}
