package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a client waits for an address that never answers; the
// first retransmission of its SYN would come after 1 s (RFC 6298).
const patience = 300 * time.Millisecond

// refused connects to a port nobody listens on.
func refused(ctx context.Context, s *stage) ([]Expectation, error) {
	a := s.newAttempt(s.tuple(closedPort))
	conn, err := s.dial(ctx, a.Tuple)
	if err == nil {
		conn.Close()
		return nil, fmt.Errorf("connect %s: somebody listens", a.Tuple)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("connect %s: %w", a.Tuple, err)
	}
	e := a.expect(ServerParty, kindRefused)
	e.RSTBy = ServerParty
	e.ClientPayload, e.ServerPayload = new(uint64(0)), new(uint64(0))
	return []Expectation{e}, nil
}

// unanswered connects to an address that never answers, and gives up. The
// kernel says how often it has sent the SYN again by then.
func unanswered(ctx context.Context, s *stage) ([]Expectation, error) {
	t := s.tuple(listenPort)
	t.ServerIP = s.ghost
	a := s.newAttempt(t)
	fd, err := s.sendSYN(t)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", t, err)
	}
	defer unix.Close(fd)
	if err := sleep(ctx, patience); err != nil {
		return nil, err
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return nil, fmt.Errorf("read TCP_INFO of %s: %w", t, err)
	}
	e := a.expect(Nobody, kindUnanswered)
	e.Complete = false
	e.Evidence = "one_sided"
	e.ClientSYNRepeats = new(uint64(info.Total_retrans))
	e.ClientPayload, e.ServerPayload = new(uint64(0)), new(uint64(0))
	return []Expectation{e}, nil
}

// sendSYN returns the SYN's socket, which does not block.
func (s *stage) sendSYN(t Tuple) (fd int, err error) {
	family := unix.AF_INET
	if t.ClientIP.Is6() {
		family = unix.AF_INET6
	}
	err = s.network.Do(Client, func() error {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(t.ClientIP, t.ClientPort)))
	if err == nil {
		err = unix.Connect(fd, sockaddr(netip.AddrPortFrom(t.ServerIP, t.ServerPort)))
	}
	if !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, fmt.Errorf("send SYN: %w", nonNil(err))
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
