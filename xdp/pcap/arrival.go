package pcap

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// arrival tells whether a pipe, socket or device has something to read, so
// that a silent writer does not hold up whoever asked for it.
type arrival struct {
	conn    syscall.RawConn
	control func(fd uintptr)
	timeout int // ms
	poll    [1]unix.PollFd
	ready   bool
}

// follow learns a file's size, or how to wait for its writer. A file behind
// gzip is not polled: octets that the decompressor holds would not show.
func (s *Source) follow(file *os.File) {
	info, err := file.Stat()
	if err != nil {
		return
	}
	if info.Mode().IsRegular() {
		s.size = info.Size()
		return
	}
	if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeCharDevice) == 0 || s.stream.packed != nil {
		return
	}
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	s.arrival = newArrival(conn)
}

func newArrival(conn syscall.RawConn) *arrival {
	a := &arrival{conn: conn}
	a.control = func(fd uintptr) {
		a.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, err := unix.Poll(a.poll[:], a.timeout)
		// Of any other error the read itself will tell.
		a.ready = n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	}
	return a
}

// within waits for something to read, or for the end, at most wait.
func (a *arrival) within(wait time.Duration) bool {
	a.timeout = max(0, int((wait+time.Millisecond-1)/time.Millisecond))
	if err := a.conn.Control(a.control); err != nil {
		return true
	}
	return a.ready
}
