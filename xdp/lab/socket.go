package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// windowOctets bounds a socket's buffers, and with them the segments that are
// under way at once, well below what a veth's ring of 256 frames takes.
const windowOctets = 64 << 10

// poll is how long to wait between two looks at a socket's state.
const poll = time.Millisecond

// The states of tcp_info.tcpi_state (linux/tcp_states.h) that plays wait for.
const (
	tcpFinWait2 = 5
	tcpClose    = 7
)

// limitWindow is a Control function for sockets about to connect or listen.
func limitWindow(_, _ string, c syscall.RawConn) error {
	return onDescriptor(c, func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, windowOctets),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, windowOctets),
		)
	})
}

// control prepares a socket that connects from a port of our choice, which
// may have been used by a connection just closed.
func control(network, address string, c syscall.RawConn) error {
	if err := limitWindow(network, address, c); err != nil {
		return err
	}
	return onDescriptor(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
}

// onDescriptor runs fn on a connection's descriptor.
func onDescriptor(c syscall.RawConn, fn func(fd int) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = fn(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// end is one end of a connection, a kernel socket.
type end struct {
	*net.TCPConn
	party   Party
	written uint64 // octets of payload
}

// account is what an end has sent.
type account struct {
	segments uint32 // retransmissions left out
	payload  uint64 // octets
}

// sent asks the kernel.
func (e *end) sent() (account, error) {
	info, err := e.info()
	return account{segments: info.Segs_out - info.Total_retrans, payload: e.written}, err
}

// info reads struct tcp_info.
func (e *end) info() (info unix.TCPInfo, err error) {
	raw, err := e.SyscallConn()
	if err != nil {
		return info, err
	}
	err = onDescriptor(raw, func(fd int) error {
		read, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
		if err == nil {
			info = *read
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("read TCP_INFO of the %s: %w", e.party, err)
	}
	return info, err
}

// unread returns the octets in the receive queue.
func (e *end) unread() (octets int, err error) {
	raw, err := e.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = onDescriptor(raw, func(fd int) error {
		octets, err = unix.IoctlGetInt(fd, unix.SIOCINQ)
		return err
	})
	return octets, err
}

// await polls until done says so.
func (e *end) await(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("wait for the %s to %s: %w", e.party, what, err)
		}
	}
}

// awaitState waits until the socket is in a state of tcp_states.h.
func (e *end) awaitState(ctx context.Context, what string, state uint8) error {
	return e.await(ctx, what, func() (bool, error) {
		info, err := e.info()
		return info.State == state, err
	})
}

// awaitUnread waits until so many octets are in the receive queue.
func (e *end) awaitUnread(ctx context.Context, octets int) error {
	return e.await(ctx, "receive", func() (bool, error) {
		queued, err := e.unread()
		return queued >= octets, err
	})
}

// awaitReset waits until the other end's RST has arrived.
func (e *end) awaitReset() error {
	if _, err := e.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("the %s expected a reset, got %w", e.party, nonNil(err))
	}
	return nil
}

// send writes so many octets.
func (e *end) send(octets int) error {
	n, err := io.Copy(e.TCPConn, io.LimitReader(filler{}, int64(octets)))
	e.written += uint64(n)
	if err != nil {
		return fmt.Errorf("the %s sends %d octets: %w", e.party, octets, err)
	}
	return nil
}

// receive reads so many octets, no more.
func (e *end) receive(octets int) error {
	if n, err := io.CopyN(io.Discard, e.TCPConn, int64(octets)); err != nil {
		return fmt.Errorf("the %s received %d of %d octets: %w", e.party, n, octets, err)
	}
	return nil
}

// receiveEnd reads the other end's FIN.
func (e *end) receiveEnd() error {
	if _, err := e.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the %s expected the end of the stream, got %w", e.party, nonNil(err))
	}
	return nil
}

// abort closes with a RST in place of a FIN (SO_LINGER with a time of 0).
func (e *end) abort() error {
	return errors.Join(e.SetLinger(0), e.Close())
}

var errData = errors.New("data")

// nonNil names the outcome of a read that was not to succeed.
func nonNil(err error) error {
	if err == nil {
		return errData
	}
	return err
}

// filler is an endless stream of payload.
type filler struct{}

func (filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return len(p), nil
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// monotonic is CLOCK_MONOTONIC, the kernel programs' clock, in ns.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(fmt.Sprintf("read CLOCK_MONOTONIC: %v", err)) // not possible with a valid clock
	}
	return now.Nano()
}
