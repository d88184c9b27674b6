// Package wire is a small client of the NATS protocol for the two paths of the grid on which every microsecond counts: the
// feed, which takes what a stream delivers, and batches, which are written at once. It speaks to a server in the same process
// over the connection that the server gives. It leaves to nats.go all else (JetStream's API, reconnecting, TLS, credentials), and to
// its caller which answer belongs to which request.
//
// Nothing is allocated for a message: a message is read where it lies in the read buffer, by the goroutine that reads, and a batch is
// one buffer that is used again.
//
// A connection in the process is a net.Pipe, since the server makes both ends itself: a write waits until the server has read it, and a read
// gives one of the server's pieces, of 0.5 to 64 KiB. (For messages of 784 bytes that is 0.6 reads a message. A TCP socket would take 4 to 9 %
// off a feed's processor time; another pipe cannot be handed in.)
//
// The server collects what it has for us while a handler runs. It closes the connection when that is more than its MaxPending, or when a
// write of its own waits for longer than its write deadline (10 s by default). So a handler may be busy but must not block.
package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	// ErrClosed is what every call returns after Close.
	ErrClosed = errors.New("the connection is closed")
	// ErrTooLarge is a message over the server's max_payload, or a subject and reply over its control line.
	ErrTooLarge = errors.New("the message is larger than the server takes")
	// ErrSubject is a subject that the protocol cannot carry.
	ErrSubject = errors.New("not a subject")
	// ErrHeader is a header block that does not begin as one.
	ErrHeader = errors.New("not a header block")
	// ErrProtocol is what the server sent that is not the protocol. It ends the connection.
	ErrProtocol = errors.New("the server sent what is not NATS")
	// ErrRefused is an error that the server sent. It ends the connection.
	ErrRefused = errors.New("the server refused")
)

const (
	readBuffer  = 128 << 10 // twice the server's largest piece
	readFree    = 64 << 10  // as much is free before each read, or the read would be in two parts
	shrinkAfter = 64        // reads without a large message, until a grown buffer is given up
	batchKeep   = 1 << 20   // a batch's buffer over this is given up by Reset
	byReference = 32 << 10  // payloads from here on are written from where they lie
	maxLine     = 4096      // the server's default limit of a line's arguments
	maxReadLine = 64 << 10  // INFO is longer than the rest
	maxMessage  = 64 << 20  // the server's own limit of max_payload
	slack       = 1 << 20   // what the server adds to a stored message: headers of a direct get
)

// Msg is a message that was delivered. Its slices lie in the read buffer: they are valid only while the handler runs.
type Msg struct {
	Subject []byte
	Reply   []byte // nil without one
	Header  Header // nil without one
	Data    []byte
}

// Conn is a connection. Its methods are safe for concurrent use. It does not reconnect: its owner makes a new one.
type Conn struct {
	conn       net.Conn
	onClose    func(error)
	maxPayload int
	running    sync.WaitGroup
	done       chan struct{} // closed when nothing more is read

	out *writer
	in  reader // the reading goroutine's

	mu    sync.Mutex // guards what follows; out's is taken before it
	subs  map[uint64]func(*Msg)
	last  uint64
	pongs []chan struct{}
	ended error
}

// Dial greets the server over conn, which is the Conn's from here on, and starts the goroutines that read and write. The context limits the greeting.
// When the connection ends other than by Close, the one that reads calls onClose once, as its last act, with the reason: ErrRefused, ErrProtocol, or what reading or
// writing gave. A nil onClose is allowed. Close must be called in either case, and not in onClose.
func Dial(ctx context.Context, conn net.Conn, name string, onClose func(error)) (*Conn, error) {
	c := &Conn{conn: conn, onClose: onClose, done: make(chan struct{}), subs: map[uint64]func(*Msg){}}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := c.greet(name)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, fmt.Errorf("greet the NATS server: %w", err)
	}
	c.out = newWriter(conn)
	c.running.Go(c.read)
	c.running.Go(c.out.run)
	return c, nil
}

func (c *Conn) greet(name string) error {
	c.in = reader{from: c.conn, buf: make([]byte, readBuffer), limit: maxReadLine}
	var f frame
	if err := c.in.next(&f); err != nil {
		return err
	}
	var info struct {
		MaxPayload int `json:"max_payload"`
	}
	if f.kind != kindInfo {
		return fmt.Errorf("%w: its first line is not INFO", ErrProtocol)
	}
	if err := json.Unmarshal(f.text, &info); err != nil {
		return fmt.Errorf("%w: INFO: %w", ErrProtocol, err)
	}
	if info.MaxPayload <= 0 || info.MaxPayload > maxMessage {
		return fmt.Errorf("%w: a max_payload of %d", ErrProtocol, info.MaxPayload)
	}
	c.maxPayload = info.MaxPayload
	c.in.limit = info.MaxPayload + slack
	options, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "headers": true, "no_responders": true, "echo": true,
		"protocol": 1, "lang": "go", "version": "1", "name": name,
	})
	if err != nil {
		return fmt.Errorf("write CONNECT: %w", err)
	}
	// Written beside the reading: a server that refuses says so and does not read.
	wrote := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintf(c.conn, "CONNECT %s\r\nPING\r\n", options)
		wrote <- err
	}()
	err = c.welcome(&f)
	if err != nil {
		_ = c.conn.Close()
	}
	if written := <-wrote; err == nil {
		err = written
	}
	return err
}

// welcome reads until the answer to the first PING.
func (c *Conn) welcome(f *frame) error {
	for {
		if err := c.in.next(f); err != nil {
			return err
		}
		switch f.kind {
		case kindPong:
			return nil
		case kindErr:
			return refused(f.text)
		case kindPing:
			if _, err := c.conn.Write(pong); err != nil {
				return fmt.Errorf("write PONG: %w", err)
			}
		}
	}
}

// MaxPayload is the most bytes of header block and data together that the server takes.
func (c *Conn) MaxPayload() int { return c.maxPayload }

// Subscribe has handle called with each message of a subject, which may have wildcards. The goroutine that reads calls it, one message
// after the other over all subscriptions: it must not block, nor call Ping or Close. It may call Send.
func (c *Conn) Subscribe(subject string, handle func(*Msg)) (sid uint64, err error) {
	if !validFilter(subject) {
		return 0, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	c.mu.Lock()
	c.last++
	sid = c.last
	c.subs[sid] = handle
	c.mu.Unlock()
	if err := c.line("SUB " + subject + " " + strconv.FormatUint(sid, 10) + "\r\n"); err != nil {
		return 0, err
	}
	return sid, nil
}

// Unsubscribe ends a subscription. A call of its handler may still be under way when it returns, unless a handler calls it; none
// begins after it.
func (c *Conn) Unsubscribe(sid uint64) error {
	c.mu.Lock()
	_, ok := c.subs[sid]
	delete(c.subs, sid)
	c.mu.Unlock()
	if !ok {
		return nil
	}
	return c.line("UNSUB " + strconv.FormatUint(sid, 10) + "\r\n")
}

// validFilter says whether the server takes a subject to subscribe to; one that it does not take would end the connection.
func validFilter(subject string) bool {
	if len(subject) > maxLine-24 || strings.ContainsAny(subject, " \t\r\n") {
		return false
	}
	for more := true; more; {
		var token string
		token, subject, more = strings.Cut(subject, ".")
		if token == "" || token == ">" && more {
			return false
		}
	}
	return true
}

// Send writes a batch, which is the caller's again when it returns. While nobody else sends, it returns when the server has read the batch. Otherwise the batch is
// copied and goes out with others'; what one goroutine sends stays in its order. It waits while 1 MiB is to go out.
// ErrTooLarge means that nothing was sent. After any other error the connection has ended, or is about to, and onClose says why. How much the server has got of
// what was sent before an end is not known.
func (c *Conn) Send(b *Batch) error {
	if b.largest > c.maxPayload {
		return fmt.Errorf("%w: %d bytes, of at most %d", ErrTooLarge, b.largest, c.maxPayload)
	}
	if b.count == 0 {
		return nil
	}
	return c.out.write(b.buf, b.large, nil)
}

// Ping returns when the server has parsed all that was sent before. It must not be called in a handler.
func (c *Conn) Ping(ctx context.Context) error {
	answer := make(chan struct{})
	err := c.out.write([]byte("PING\r\n"), nil, func() {
		c.mu.Lock()
		c.pongs = append(c.pongs, answer)
		c.mu.Unlock()
	})
	if err != nil {
		return err
	}
	select {
	case <-answer:
		return nil
	case <-c.done:
		return c.end(ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Conn) line(s string) error { return c.out.write([]byte(s), nil, nil) }

// end ends the connection for a reason and returns the first reason that there was.
func (c *Conn) end(why error) error {
	c.mu.Lock()
	if c.ended == nil {
		c.ended = why
	}
	why = c.ended
	c.mu.Unlock()
	_ = c.conn.Close()
	c.out.end(why)
	return why
}

// Close ends the connection and waits for its goroutines, so for a handler under way. What other goroutines have just sent may be lost: Ping before
// it where that matters. It must not be called in a handler or in onClose.
func (c *Conn) Close() {
	_ = c.end(ErrClosed)
	c.running.Wait()
}

var pong = []byte("PONG\r\n")

// read hands out messages until the connection ends.
func (c *Conn) read() {
	defer close(c.done)
	var f frame
	for {
		err := c.in.next(&f)
		if err == nil {
			err = c.take(&f)
		}
		if err == nil {
			continue
		}
		if why := c.end(err); !errors.Is(why, ErrClosed) && c.onClose != nil {
			c.onClose(why)
		}
		return
	}
}

func (c *Conn) take(f *frame) error {
	switch f.kind {
	case kindMsg:
		c.mu.Lock()
		handle := c.subs[f.sid]
		c.mu.Unlock()
		if handle != nil {
			handle(&f.msg)
		}
	case kindPing:
		return c.out.write(pong, nil, nil)
	case kindPong:
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.pongs) == 0 {
			return fmt.Errorf("%w: a PONG without a PING", ErrProtocol)
		}
		close(c.pongs[0])
		c.pongs = c.pongs[1:]
	case kindErr:
		return refused(f.text)
	}
	return nil
}

func refused(text []byte) error {
	return fmt.Errorf("%w: %s", ErrRefused, bytes.Trim(text, "' "))
}
