package xdp

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// awaiter waits for a descriptor to become readable, with the knowledge of the Go
// runtime, so that the waiting goroutine's place to run is free meanwhile: its poller
// waits for an epoll of ours (epoll(7)), in which stand the descriptor and a timer. The
// runtime's own way would wake a thread for whatever arrives, also while nobody waits;
// here the descriptor tells once for each wait (EPOLLONESHOT), and nothing behind it.
// Waiting allocates nothing.
type awaiter struct {
	file   *os.File // the epoll
	fd     int      // of file
	conn   syscall.RawConn
	look   func(fd uintptr) bool
	timer  int
	target int
	set    unix.ItimerSpec
	arm    unix.EpollEvent // has the target tell once
	rest   unix.EpollEvent // has it tell nothing
	events [2]unix.EpollEvent
	ready  bool // the target, at the last look
}

// openAwaiter waits for target, which stays the caller's.
func openAwaiter(target int) (a *awaiter, err error) {
	a = &awaiter{target: target, timer: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return a, fmt.Errorf("make an epoll: %w", err)
	}
	if err = unix.SetNonblock(a.fd, true); err != nil { // for the runtime to wait for it
		return a, errors.Join(fmt.Errorf("make an epoll: %w", err), unix.Close(a.fd))
	}
	a.file = os.NewFile(uintptr(a.fd), "epoll")
	if a.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return a, fmt.Errorf("make a timer: %w", err)
	}
	a.arm = unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(target)}
	a.rest = unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(target)}
	err = errors.Join(
		unix.EpollCtl(a.fd, unix.EPOLL_CTL_ADD, a.timer, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(a.timer)}),
		unix.EpollCtl(a.fd, unix.EPOLL_CTL_ADD, target, &a.rest))
	if err != nil {
		return a, fmt.Errorf("have an epoll wait: %w", err)
	}
	if a.conn, err = a.file.SyscallConn(); err != nil {
		return a, fmt.Errorf("have the runtime wait for an epoll: %w", err)
	}
	a.look = a.see
	return a, nil
}

// wait returns whether the target can be read, within at most d. The calls that it
// makes are over in an instant, so that the runtime is not told of them.
func (a *awaiter) wait(d time.Duration) (bool, error) {
	a.set.Value = unix.NsecToTimespec(d.Nanoseconds())
	a.ready = false
	_, _, failed := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.timer), 0, uintptr(unsafe.Pointer(&a.set)), 0, 0, 0)
	if failed == 0 {
		failed = a.have(&a.arm)
	}
	if failed != 0 {
		return false, failed
	}
	err := a.conn.Read(a.look)
	if err == nil && !a.ready {
		if failed = a.have(&a.rest); failed != 0 {
			err = failed
		}
	}
	return a.ready, err
}

// have changes what the target tells.
func (a *awaiter) have(e *unix.EpollEvent) unix.Errno {
	_, _, failed := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(a.fd), unix.EPOLL_CTL_MOD, uintptr(a.target), uintptr(unsafe.Pointer(e)), 0, 0)
	return failed
}

// see looks at what has happened; false for nothing.
func (a *awaiter) see(fd uintptr) bool {
	n, _, failed := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&a.events[0])), uintptr(len(a.events)), 0, 0, 0)
	if failed != 0 {
		return failed != unix.EINTR
	}
	for _, e := range a.events[:n] {
		a.ready = a.ready || int(e.Fd) == a.target
	}
	return n > 0
}

func (a *awaiter) close() error {
	var errs []error
	if a.timer >= 0 {
		errs = append(errs, unix.Close(a.timer))
	}
	if a.file != nil {
		errs = append(errs, a.file.Close())
	}
	return errors.Join(errs...)
}
