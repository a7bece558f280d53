package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// listenPort is where the server listens, and closedPort where it does not.
	listenPort = 7000
	closedPort = 7009
	// settle is what the tap's copies are given to arrive in its queues, which
	// one CPU may serve later than another. A tap with one queue has them in
	// order in any case.
	settle = 3 * time.Millisecond
	// playTimeout ends a play that is stuck; none takes a tenth of it.
	playTimeout = 30 * time.Second
)

// stage is where the scenarios of one family are played.
type stage struct {
	network *Network
	*family
	listener  *net.TCPListener
	pairing   sync.Mutex // from dialling to accepting
	injectors injectors
}

// newStage starts the family's server.
func (n *Network) newStage(f *family, injectors injectors) (*stage, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: limitWindow}
	config.SetMultipathTCP(false)
	s := &stage{network: n, family: f, injectors: injectors}
	address := netip.AddrPortFrom(f.server, listenPort).String()
	err := n.Do(Server, func() error {
		listener, err := config.Listen(context.Background(), "tcp", address)
		if err == nil {
			s.listener = listener.(*net.TCPListener)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return s, nil
}

// tuple returns a tuple from the client to one of the server's ports.
func (s *stage) tuple(serverPort uint16) Tuple {
	return Tuple{ClientIP: s.client, ClientPort: s.network.port(), ServerIP: s.server, ServerPort: serverPort}
}

// dial connects the client's socket. Nothing but the address is looked at, so
// the socket is made on the calling thread, in the client's namespace.
func (s *stage) dial(ctx context.Context, t Tuple) (*net.TCPConn, error) {
	dialer := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.ClientIP, t.ClientPort)),
		KeepAlive: -1,
		Control:   control,
	}
	dialer.SetMultipathTCP(false)
	var conn net.Conn
	err := s.network.Do(Client, func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(t.ServerIP, t.ServerPort).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// connection is an established connection with both of its ends in hand.
type connection struct {
	attempt
	client, server *end
	release        func() bool // of the context's hold on the two
}

// connect opens a connection on t.
func (s *stage) connect(ctx context.Context, t Tuple) (*connection, error) {
	s.pairing.Lock()
	defer s.pairing.Unlock()
	attempt := s.newAttempt(t)
	client, err := s.dial(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", t, err)
	}
	server, err := s.accept(ctx, netip.AddrPortFrom(attempt.outside.ClientIP, attempt.outside.ClientPort))
	if err != nil {
		client.Close()
		return nil, err
	}
	// NAT may have found the port taken.
	attempt.outside.ClientPort = server.RemoteAddr().(*net.TCPAddr).AddrPort().Port()
	c := &connection{
		attempt: attempt,
		client:  &end{TCPConn: client, party: ClientParty},
		server:  &end{TCPConn: server, party: ServerParty},
	}
	c.release = context.AfterFunc(ctx, func() { wake(client, server) })
	return c, nil
}

// accept takes the connection of one client from the listener, and closes those
// whose client gave up. Behind a gateway the port is not known.
func (s *stage) accept(ctx context.Context, client netip.AddrPort) (*net.TCPConn, error) {
	if err := s.listener.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("accept %s: %w", client, err)
	}
	stop := context.AfterFunc(ctx, func() { wake(s.listener) })
	defer stop()
	for {
		conn, err := s.listener.AcceptTCP()
		if err != nil {
			return nil, fmt.Errorf("accept %s: %w", client, err)
		}
		remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		if remote == client || s.network.gateway && remote.Addr() == client.Addr() {
			return conn, nil
		}
		conn.Close()
	}
}

// wake ends whatever a goroutine waits for on a socket.
func wake(sockets ...interface{ SetDeadline(time.Time) error }) {
	for _, socket := range sockets {
		_ = socket.SetDeadline(time.Now()) // a closed socket has woken everybody
	}
}

// Close closes what the play has left open. Sockets that it closed itself are
// no error.
func (c *connection) Close() error {
	c.release()
	return errors.Join(ignoreClosed(c.client.Close()), ignoreClosed(c.server.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// ends returns the end of a party, and the other one.
func (c *connection) ends(first Party) (one, other *end) {
	if first == ClientParty {
		return c.client, c.server
	}
	return c.server, c.client
}

// exchange lets one end send a request of so many octets and the other answer,
// and all of it settle. The answer acknowledges what came before it, so that
// afterwards its sender has no ACK left to send.
func exchange(ctx context.Context, asking, answering *end, octets int) error {
	answered := make(chan error, 1)
	go func() {
		err := answering.receive(octets)
		if err == nil {
			err = answering.send(answerOctets)
		}
		answered <- err
	}()
	err := asking.send(octets)
	if err == nil {
		err = asking.receive(answerOctets)
	}
	if err != nil {
		wake(asking, answering)
	}
	if err = errors.Join(err, <-answered); err != nil {
		return err
	}
	return sleep(ctx, settle)
}
