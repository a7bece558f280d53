package access

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// connections is a listener that keeps no more than limit of them.
type connections struct {
	net.Listener
	limit     int
	secure    bool
	writeTime time.Duration
	refusals  *refusals

	mu      sync.Mutex
	open    int
	waiting *list.List // of *connection, the one that has waited longest in front
}

func newConnections(listener net.Listener, a *Access) *connections {
	return &connections{Listener: listener, limit: a.config.Connections, secure: a.Secure(),
		writeTime: a.patience.write, refusals: &a.refusals, waiting: list.New()}
}

// Accept implements net.Listener. Where there is no room, the connection that
// has waited longest makes some; where all are being served, the new one goes.
func (l *connections) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if conn := l.admit(c); conn != nil {
			return conn, nil
		}
		l.refusals[connectionLimit].Add(1)
		_ = c.Close() // nothing was read or written that could be lost
	}
}

func (l *connections) admit(c net.Conn) *connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limit {
		oldest := l.waiting.Front()
		if oldest == nil {
			return nil
		}
		l.refusals[connectionDisplaced].Add(1)
		l.drop(oldest.Value.(*connection))
	}
	conn := &connection{Conn: c, of: l}
	conn.place = l.waiting.PushBack(conn)
	l.open++
	return conn
}

// count is how many there are now.
func (l *connections) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// drop closes a connection for its place. The lock is held.
func (l *connections) drop(c *connection) {
	c.displaced = true
	l.leave(c)
	_ = c.Conn.Close() // its server reads the error and ends
}

// leave takes a connection off the books, once. The lock is held.
func (l *connections) leave(c *connection) {
	if c.gone {
		return
	}
	c.gone = true
	l.open--
	l.stopWaiting(c)
}

func (l *connections) stopWaiting(c *connection) {
	if c.place != nil {
		l.waiting.Remove(c.place)
		c.place = nil
	}
}

// follow is http.Server.ConnState.
func (l *connections) follow(conn net.Conn, state http.ConnState) {
	c := l.unwrap(conn)
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateNew: // admit has noted it
	case http.StateActive:
		l.stopWaiting(c)
		c.active, c.servedBefore = true, c.served.Load()
	case http.StateIdle:
		c.active, c.idle = false, true
		c.octets.Store(0)
		if !c.gone && c.place == nil {
			c.place = l.waiting.PushBack(c)
		}
	default:
		l.leave(c)
		if reason, refused := c.verdict(); refused {
			l.refusals[reason].Add(1)
		}
	}
}

func (l *connections) unwrap(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

// connectionKey is where a request's context has its connection.
type connectionKey struct{}

// note is http.Server.ConnContext.
func (l *connections) note(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, l.unwrap(conn))
}

// reached notes that a request came whole to a handler.
func reached(r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && c != nil {
		c.served.Add(1)
	}
}

// connection is one client's. Each piece that it writes must be
// taken within a time; so an answer may be long, and a stream may rest.
type connection struct {
	net.Conn
	of *connections

	served   atomic.Uint64 // requests that came to a handler
	octets   atomic.Int64  // read since the last answer
	timedOut atomic.Bool   // reading was given up
	ended    atomic.Bool   // the client ended or broke it

	// Under the lock of connections.
	place        *list.Element // among those that wait
	active       bool          // a request, or its beginning, was read
	idle         bool          // a request was answered before
	displaced    bool
	gone         bool
	servedBefore uint64 // served when it became active
}

// Read implements net.Conn and notes how reading ends.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.octets.Add(int64(n))
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.timedOut.Store(true)
	case errors.Is(err, net.ErrClosed):
	default:
		c.ended.Store(true)
	}
	return n, err
}

// Write implements net.Conn.
func (c *connection) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.of.writeTime)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.of.refusals[slowReader].Add(1)
	}
	return n, err
}

// ReadFrom keeps net/http from finding that of the TCP connection below, which
// would write without Write's deadline.
func (c *connection) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	c.of.leave(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// verdict is why a connection that ended was not served, false where it was, or
// where its client gave up. net/http answers what it cannot read by itself and
// says nothing; so this is inferred from what was seen. The lock is held.
func (c *connection) verdict() (reason, bool) {
	octets := c.octets.Load()
	switch {
	case c.displaced:
		return 0, false // counted where it was done
	case c.active && c.served.Load() != c.servedBefore:
		return 0, false
	case c.timedOut.Load() && octets > 0:
		return slowRequest, true
	case c.timedOut.Load():
		return noRequest, !c.idle
	case octets >= maxHeaderOctets:
		return headerTooLarge, true
	case c.ended.Load(), octets == 0:
		return 0, false
	case c.active:
		return malformedRequest, true
	default:
		return tlsHandshake, c.of.secure
	}
}
