package rest

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media/jsontensor"
)

// appendEntry appends an entry as one line of JSON: key, revision and, where there is a value, what is known of it.
// The value is inline where it is JSON, a string where it is text, and base64 under valueBase64 else.
func appendEntry(dst []byte, e *grid.Entry, value bool) []byte {
	dst = appendKey(dst, e)
	if !value {
		return append(dst, '}')
	}
	return append(bulk.AppendValue(appendKnown(dst, e), e.ContentType, e.Value, false), '}')
}

// appendInfo is appendEntry with the value's size, and whether it is cold, in place of the value.
func appendInfo(dst []byte, i *grid.Info) []byte {
	dst = appendKnown(appendKey(dst, &i.Entry), &i.Entry)
	dst = strconv.AppendInt(append(dst, `,"bytes":`...), int64(i.Size), 10)
	return append(strconv.AppendBool(append(dst, `,"cold":`...), i.Cold), '}')
}

// appendKey begins an entry's object.
func appendKey(dst []byte, e *grid.Entry) []byte {
	dst = grid.JSONKey(e.Key).AppendJSON(append(dst, `{"key":`...))
	return strconv.AppendUint(append(dst, `,"revision":`...), uint64(e.Revision), 10)
}

// appendKnown appends what is known of an entry beside key, revision and value.
func appendKnown(dst []byte, e *grid.Entry) []byte {
	dst = e.Created.UTC().AppendFormat(append(dst, `,"created":"`...), time.RFC3339Nano)
	dst = append(dst, '"')
	if e.ContentType != "" {
		dst = jsontensor.AppendString(append(dst, `,"contentType":`...), e.ContentType)
	}
	if !e.Expires.IsZero() {
		dst = strconv.AppendInt(append(dst, `,"timeToLiveSeconds":`...), secondsUp(time.Until(e.Expires)), 10)
	}
	if e.MaxIdle > 0 {
		dst = strconv.AppendInt(append(dst, `,"maxIdleTimeSeconds":`...), secondsUp(e.MaxIdle), 10)
	}
	if len(e.Labels) > 0 {
		dst = append(dst, `,"labels":`...)
		sep := byte('{')
		for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
			dst = jsontensor.AppendString(append(dst, sep), name)
			dst = jsontensor.AppendString(append(dst, ':'), e.Labels[name])
			sep = ','
		}
		dst = append(dst, '}')
	}
	return dst
}
