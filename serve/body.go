package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// firstBuffer is what a body gets before any of it came: a length in a header is a claim, not memory.
const firstBuffer = 64 << 10

// ReadBody returns the body of r, at most limit bytes. It returns ErrBodyTooLarge, before anything is read where the
// header already says so, ErrBodyTimeout and ErrBodyCut. buf, which may be nil, is used where it is large enough.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, buf []byte) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken here", ErrBodyTooLarge, r.ContentLength, limit)
	}
	if r.Body == nil || r.ContentLength == 0 {
		return buf[:0], nil
	}
	body := http.MaxBytesReader(w, r.Body, limit)
	buf = buf[:0]
	if cap(buf) == 0 {
		size := int64(firstBuffer)
		if r.ContentLength > 0 {
			size = min(size, r.ContentLength+1) // one more, so that the end shows without growing
		}
		buf = make([]byte, 0, size)
	}
	for {
		if len(buf) == cap(buf) {
			buf = grow(buf, r.ContentLength)
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, BodyError(err)
		}
	}
}

// grow doubles buf, but not past the length that was announced.
func grow(buf []byte, announced int64) []byte {
	size := 2 * int64(cap(buf))
	if announced >= int64(len(buf)) {
		size = min(size, announced+1)
	}
	bigger := make([]byte, len(buf), max(size, int64(len(buf))+512))
	copy(bigger, buf)
	return bigger
}

// NameLimit adds to an error of a body that is too large which setting its limit is; others stay as they are.
func NameLimit(err error, setting string) error {
	if !errors.Is(err, ErrBodyTooLarge) {
		return err
	}
	return fmt.Errorf("%w (%s)", err, setting)
}

// BodyError says in this package's errors why reading a request's body failed.
func BodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%w: at most %d bytes are taken here", ErrBodyTooLarge, tooLarge.Limit)
	case errors.Is(err, errPace):
		return fmt.Errorf("%w: %w", ErrBodyTimeout, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: send the whole request sooner", ErrBodyTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the connection closed within it", ErrBodyCut)
	}
	return fmt.Errorf("%w: read body: %w", ErrRequest, err)
}

// ExtendRead gives the body of the request that w answers d more time from now; 0 takes the deadline away.
func ExtendRead(w http.ResponseWriter, d time.Duration) {
	// Without a connection (a test's recorder) there is no deadline to move.
	_ = http.NewResponseController(w).SetReadDeadline(deadline(d))
	if r := responseOf(w); r != nil {
		r.body.pace.until = deadline(d)
	}
}

// ExtendWrite gives the next writes to w d more time from now; 0 takes the deadline away.
func ExtendWrite(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(deadline(d))
}

func deadline(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
