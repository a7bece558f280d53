package worker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm ends a sleep of which the Go runtime knows: the worker's place to run is free
// meanwhile, and its monitor sleeps too. It is a timer of the kernel that the runtime's
// poller waits for (timerfd_create(2)), since a timer of the runtime's own wakes two
// threads more: its monitor, and one that looks for work. Every sleep allocates nothing.
type alarm struct {
	file    *os.File
	fd      uintptr // of file
	conn    syscall.RawConn
	rung    func(fd uintptr) bool
	set     itimerspec
	expired uint64
}

// itimerspec is struct itimerspec of linux/time.h.
type itimerspec struct{ interval, value syscall.Timespec }

// Of linux/timerfd.h, and the clock of linux/time.h.
const (
	clockMonotonic = 1
	timerFlags     = syscall.O_NONBLOCK | syscall.O_CLOEXEC // TFD_NONBLOCK, TFD_CLOEXEC
)

// newAlarm makes an alarm of the calling process; close gives it back.
func newAlarm() (*alarm, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, timerFlags, 0)
	if errno != 0 {
		return nil, fmt.Errorf("make a timer: %w", errno)
	}
	a := &alarm{file: os.NewFile(fd, "timerfd"), fd: fd}
	var err error
	if a.conn, err = a.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("have the runtime wait for a timer: %w", err), a.close())
	}
	a.rung = a.hasRung
	return a, nil
}

// sleep returns after d.
func (a *alarm) sleep(d time.Duration) {
	a.set.value = syscall.NsecToTimespec(int64(d))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, a.fd, 0, uintptr(unsafe.Pointer(&a.set)), 0, 0, 0)
	if errno != 0 || a.conn.Read(a.rung) != nil {
		nap(d) // a timer gives no reason for either
	}
}

// hasRung takes what the timer says, by a call of which the runtime does not know, as it
// would wake its monitor.
func (a *alarm) hasRung(fd uintptr) bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&a.expired)), unsafe.Sizeof(a.expired))
	return errno != syscall.EAGAIN
}

func (a *alarm) close() error { return a.file.Close() }
