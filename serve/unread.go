package serve

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Many clients write a whole request before they read, and see nothing of an answer when the connection is closed under them while they
// write. So a request that is answered before its body was read gets its answer at once, and its body is read and thrown away after that,
// within these bounds; beyond them the connection is closed.
const (
	// unreadBytes and unreadTime bound what is read in vain.
	unreadBytes = 256 << 20
	unreadTime  = 30 * time.Second
	// unreadPause is how long the next bytes may take; unreadExpected is that for a client that asked first (Expect: 100-continue),
	// which sends nothing as a rule once it has its answer.
	unreadPause    = 5 * time.Second
	unreadExpected = time.Second
	// unreadSmall is what net/http reads by itself before it answers, so that the connection can be used again.
	unreadSmall = 256 << 10
)

// A body notes whether a request's body was read to its end.
type body struct {
	io.ReadCloser
	ended bool
	pace  pace
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.pace.read(b.ReadCloser, p)
	b.ended = b.ended || err != nil
	return n, err
}

// answersUnread is called when an answer begins. Where much of the request may be under way still, the answer goes out at once, and
// says that the connection ends with it: what is left of the request must not be taken for the next one.
func (w *response) answersUnread() {
	r := w.request
	if r.ContentLength == 0 || w.body.ended || r.ProtoMajor != 1 {
		return // HTTP/2 has streams that end alone
	}
	if r.Header.Get("Expect") == "" && r.ContentLength > 0 && r.ContentLength <= unreadSmall {
		return
	}
	if http.NewResponseController(w.ResponseWriter).EnableFullDuplex() != nil {
		return // a test's recorder
	}
	w.Header().Set("Connection", "close")
	w.unread = true
}

// readUnread reads what is left of the request after its answer.
func (w *response) readUnread() {
	if !w.unread {
		return
	}
	c := http.NewResponseController(w.ResponseWriter)
	if c.Flush() != nil {
		return
	}
	pause := unreadPause
	if w.request.Header.Get("Expect") != "" {
		pause = unreadExpected
	}
	until := time.Now().Add(unreadTime)
	w.body.pace = pace{} // these reads have bounds of their own
	stop := Draining(w.request.Context())
	buf := make([]byte, 64<<10)
	for n := 0; n < unreadBytes && !w.body.ended; {
		select {
		case <-stop:
			return
		default:
		}
		if left := time.Until(until); left <= 0 || c.SetReadDeadline(time.Now().Add(min(left, pause))) != nil {
			return
		}
		read, err := w.body.Read(buf)
		n += read
		if err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}
