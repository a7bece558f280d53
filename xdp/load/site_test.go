package load

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/lab"
)

// The laboratory's hosts.
const (
	clientAddress = "198.18.0.1"
	serverAddress = "198.18.0.2"
	clientIPv6    = "2001:2::1"
	serverIPv6    = "2001:2::2"
	ghostAddress  = "198.18.0.9" // nobody, but has a neighbour entry
	farAddress    = "203.0.113.1"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

type site struct {
	*lab.Network
	t *testing.T
}

func newSite(t *testing.T) *site {
	t.Helper()
	needRoot(t)
	network, err := lab.Build(lab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{network, t}
}

// config is of connections from the client's namespace.
func (s *site) config(target netip.AddrPort) Config {
	source := netip.MustParseAddr(clientAddress)
	if target.Addr().Is6() {
		source = netip.MustParseAddr(clientIPv6)
	}
	return Config{
		Target: target, Sources: []netip.Addr{source}, LowPort: 20000, HighPort: 59999,
		Timeout: 10 * time.Second, MaxConcurrent: 500, Threads: 1,
		Within: func(run func() error) error { return s.Do(lab.Client, run) },
	}
}

// serve has every connection served in the server's namespace, until the test
// is over.
func (s *site) serve(address string, serve func(c *net.TCPConn, over <-chan struct{})) netip.AddrPort {
	s.t.Helper()
	var listener net.Listener
	err := s.Do(lab.Server, func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	over := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				serve(c.(*net.TCPConn), over)
				_ = c.Close()
			})
		}
	})
	s.t.Cleanup(func() {
		_ = listener.Close()
		close(over)
		serving.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// untilFIN reads up to the client's FIN, or RST.
func untilFIN(c *net.TCPConn, _ <-chan struct{}) { _, _ = io.Copy(io.Discard, c) }

// atOnce closes first; what the client sends after it is waited for, so that
// it does not meet a RST.
func atOnce(c *net.TCPConn, _ <-chan struct{}) {
	_ = c.CloseWrite()
	untilFIN(c, nil)
}

// answer waits for a request of five octets, answers it, and waits for the
// client's FIN.
func answer(c *net.TCPConn, _ <-chan struct{}) {
	if _, err := io.ReadFull(c, make([]byte, 5)); err == nil {
		_, _ = c.Write([]byte("answer"))
	}
	untilFIN(c, nil)
}

// answerAndClose is a server of HTTP/1.0.
func answerAndClose(c *net.TCPConn, _ <-chan struct{}) {
	if _, err := io.ReadFull(c, make([]byte, 5)); err == nil {
		_, _ = c.Write([]byte("answer"))
	}
	atOnce(c, nil)
}

func reset(c *net.TCPConn, _ <-chan struct{}) { _ = c.SetLinger(0) }

// silent says nothing.
func silent(_ *net.TCPConn, over <-chan struct{}) { <-over }

// clientSockets counts this process's open sockets with an address of the
// client's. The server's are its own matter.
func clientSockets(t *testing.T) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		fd, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		var local netip.Addr
		switch a, _ := unix.Getsockname(fd); a := a.(type) { // most are no sockets
		case *unix.SockaddrInet4:
			local = netip.AddrFrom4(a.Addr)
		case *unix.SockaddrInet6:
			local = netip.AddrFrom16(a.Addr)
		}
		if local == netip.MustParseAddr(clientAddress) || local == netip.MustParseAddr(clientIPv6) {
			found++
		}
	}
	return found
}

// keepTimeWait makes the client's ports stay in TIME-WAIT. With TCP time stamps
// Linux lets a port that was bound to leave it (tcp_twsk_unique), and without
// tcp_rfc1337 a RST ends it: the server's, where a stalled machine made it send
// its FIN twice, so that the second is acknowledged to a socket that is gone
// (RFC 1337 section 2, "TIME-WAIT assassination").
func (s *site) keepTimeWait() {
	s.t.Helper()
	if err := s.Do(lab.Client, func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/tcp_timestamps", []byte("0"), 0),
			os.WriteFile("/proc/sys/net/ipv4/tcp_rfc1337", []byte("1"), 0))
	}); err != nil {
		s.t.Fatal(err)
	}
}

// closedPort returns a port of the server's that nobody listens on.
func (s *site) closedPort() netip.AddrPort {
	return netip.MustParseAddrPort(serverAddress + ":9")
}

// backlog listens and accepts nothing: the accept queue takes one more than its
// size (sk_acceptq_is_full in include/net/sock.h).
func (s *site) backlog(size int) netip.AddrPort {
	s.t.Helper()
	fd := -1
	s.t.Cleanup(func() { _ = unix.Close(fd) })
	const port = 7777
	err := s.Do(lab.Server, func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		address := &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(serverAddress).As4()}
		return errors.Join(unix.Bind(fd, address), unix.Listen(fd, size))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr(serverAddress), port)
}
