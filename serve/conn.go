package serve

import (
	"context"
	"net"
	"net/http"
)

type connKey struct{}

// withConn lets a request find its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, plainConn(c))
}

// plainConn is the connection below TLS.
func plainConn(c net.Conn) net.Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c
}

// BoundSend bounds what the kernel keeps of an answer until its reader takes it. Without it that is up to some MiB, of every reader that reads
// nothing. It stays for the connection's life.
func BoundSend(r *http.Request, bytes int) {
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		if t, ok := c.Conn.(*net.TCPConn); ok {
			_ = t.SetWriteBuffer(bytes) // of a connection that ended meanwhile
		}
	}
}
