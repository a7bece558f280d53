package load

import (
	"errors"

	"golang.org/x/sys/unix"
)

// portTries is how many sources one connection tries.
const portTries = 4

// open opens a connection; now is the time.
func (t *thread) open(counted bool, now int64) {
	i := t.free
	if i == 0 {
		t.failed(counted, NoSlot, nil)
		return
	}
	fd, err := t.connect()
	if err != nil {
		t.failed(counted, reasonOf(err), err)
		return
	}
	t.counts.Opened++
	t.shared.opened.Add(1)
	t.free = t.slots[i].next
	t.used++
	t.slots[i] = slot{fd: int32(fd), counted: counted}
	t.wait(i, connecting, &t.waits, now)
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(i)}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		t.fail(i, Other, err, now)
	}
}

// connect sends a SYN from the next source that is free.
func (t *thread) connect() (int, error) {
	var err error
	for range portTries {
		var fd int
		fd, err = unix.Socket(t.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return -1, err
		}
		// A source whose last connection is in TIME-WAIT may be bound to. It
		// may connect as well where both ends use TCP time stamps
		// (tcp_twsk_unique in net/ipv4/tcp_ipv4.c, RFC 6191).
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err == nil {
			err = unix.Bind(fd, t.ports.take())
		}
		if err == nil {
			err = unix.Connect(fd, t.target)
		}
		if err == nil || errors.Is(err, unix.EINPROGRESS) {
			return fd, nil
		}
		_ = unix.Close(fd) // nothing was begun
		if reasonOf(err) != NoLocalPort {
			break
		}
	}
	return -1, err
}

// wait puts a connection, which is in no queue, into one.
func (t *thread) wait(i uint32, until state, q *queue, now int64) {
	t.slots[i].state = until
	q.join(t.slots, i, now)
}

// queueOf is where a connection waits.
func (t *thread) queueOf(i uint32) *queue {
	if t.slots[i].state == holding {
		return &t.holds
	}
	return &t.waits
}

// handle follows what the kernel tells of a connection. Events are told once
// (EPOLLET), so everything in one is followed.
func (t *thread) handle(e *unix.EpollEvent, now int64) {
	i := uint32(e.Fd)
	s := &t.slots[i]
	if e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 && s.state == connecting {
		t.fail(i, Other, t.pending(i), now)
		return
	}
	if s.state == connecting {
		t.establish(i, now)
	}
	if s.state != unused && e.Events&unix.EPOLLOUT != 0 && s.sent > 0 && int(s.sent) < len(t.config.Send) {
		t.write(i, now)
	}
	if s.state != unused && e.Events&^unix.EPOLLOUT != 0 {
		t.receive(i, e.Events&unix.EPOLLRDHUP != 0, now)
	}
}

// pending is a socket's error.
func (t *thread) pending(i uint32) error {
	errno, err := unix.GetsockoptInt(int(t.slots[i].fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		return unix.Errno(errno)
	}
	return err
}

// establish follows the SYN-ACK.
func (t *thread) establish(i uint32, now int64) {
	t.waits.leave(t.slots, i)
	s := &t.slots[i]
	s.established, s.establishedAt = true, now
	measured := t.plan.window.contains(now)
	if measured {
		t.counts.EstablishedThen++
	}
	if s.counted {
		t.counts.Established++
	}
	t.shared.established(measured)
	if t.config.Close == ByServer && t.config.Hold > 0 {
		t.wait(i, holding, &t.holds, now)
		return
	}
	t.request(i, now)
}

// request sends what is to be sent, for a connection in no queue, and begins
// the wait for what comes of it.
func (t *thread) request(i uint32, now int64) {
	switch {
	case t.config.Close == ByServer:
		t.wait(i, closing, &t.waits, now)
	case len(t.config.Send) > 0:
		t.wait(i, answering, &t.waits, now)
	default:
		t.hold(i, now)
		return
	}
	if len(t.config.Send) > 0 {
		t.write(i, now)
	}
}

// write sends what is left of the request; the kernel tells when it takes more.
func (t *thread) write(i uint32, now int64) {
	s := &t.slots[i]
	n, err := unix.Write(int(s.fd), t.config.Send[s.sent:])
	switch {
	case err == nil:
		s.sent += uint32(n)
		t.answered(i, now)
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
		t.fail(i, Other, err, now)
	}
}

// answered goes on where the request is out and the answer is there.
func (t *thread) answered(i uint32, now int64) {
	s := &t.slots[i]
	if s.state == answering && int(s.sent) == len(t.config.Send) && int(s.received) == t.config.Expect {
		t.waits.leave(t.slots, i)
		t.hold(i, now)
	}
}

// hold keeps a connection that is in no queue open for as long as it should
// be.
func (t *thread) hold(i uint32, now int64) {
	if t.config.Hold > 0 {
		t.wait(i, holding, &t.holds, now)
		return
	}
	t.end(i, now)
}

// receive takes all that has come. The content does not matter.
func (t *thread) receive(i uint32, ended bool, now int64) {
	s := &t.slots[i]
	for {
		n, err := unix.Read(int(s.fd), t.buffer)
		switch {
		case err != nil && errors.Is(err, unix.EINTR):
		case err != nil && errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			t.fail(i, Other, err, now)
			return
		case n == 0:
			t.finAfter(i, now)
			return
		default:
			s.received = uint32(min(int(s.received)+n, t.config.Expect))
			t.answered(i, now)
			if s.state == unused || n < len(t.buffer) && !ended {
				return
			}
		}
	}
}

// finAfter follows the target's FIN.
func (t *thread) finAfter(i uint32, now int64) {
	s := &t.slots[i]
	if s.state != closing || int(s.received) < t.config.Expect {
		t.fail(i, EarlyClose, nil, now)
		return
	}
	t.waits.leave(t.slots, i)
	t.finish(i, now)
}

// end ends a connection that is in no queue, as the client that closes first.
func (t *thread) end(i uint32, now int64) {
	s := &t.slots[i]
	if t.config.Close == ByReset {
		resetOnClose(int(s.fd))
		t.finish(i, now)
		return
	}
	if err := unix.Shutdown(int(s.fd), unix.SHUT_WR); err != nil {
		t.wait(i, closing, &t.waits, now)
		t.fail(i, Reset, err, now)
		return
	}
	t.wait(i, closing, &t.waits, now)
}

// finish closes a connection, which is in no queue and did what it should.
func (t *thread) finish(i uint32, now int64) {
	if t.slots[i].counted {
		t.counts.Closed++
	}
	if t.plan.window.contains(now) {
		t.counts.ClosedThen++
	}
	t.release(i, now)
}

// fail gives up a connection that is in its queue. A reason of Other is
// looked for in err.
func (t *thread) fail(i uint32, reason Failure, err error, now int64) {
	s := &t.slots[i]
	t.queueOf(i).leave(t.slots, i)
	if reason == Other && err != nil {
		reason = reasonOf(err)
	}
	t.failed(s.counted, reason, err)
	if s.established {
		resetOnClose(int(s.fd)) // so that neither end keeps it
	}
	t.release(i, now)
}

// failed counts a failure.
func (t *thread) failed(counted bool, reason Failure, err error) {
	t.counts.AllFailures[reason]++
	if counted {
		t.counts.Failures[reason]++
	}
	if reason == Other && t.counts.OtherError == nil {
		t.counts.OtherError = err
	}
	if !reason.ours() {
		t.shared.failed()
	}
}

// release closes the socket and makes its slot free.
func (t *thread) release(i uint32, now int64) {
	s := &t.slots[i]
	_ = unix.Close(int(s.fd)) // what it had to say, it has said
	if s.established {
		t.shared.open.Add(-1)
		t.integral += float64(t.plan.window.overlap(s.establishedAt, now))
	}
	*s = slot{next: t.free}
	t.free = i
	t.used--
}

// resetOnClose has close(2) send a RST in place of a FIN (socket(7)).
func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // then it ends by a FIN
}
