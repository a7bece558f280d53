// Package netns makes network namespaces that nobody else can name, and runs
// functions in them: for laboratories, tests and benchmarks that must not
// touch the machine's own interfaces.
//
// A namespace is an open file, and is gone as soon as the last descriptor,
// thread and interface in it are, also when the process is killed. All
// functions may be called from any goroutine.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Current is the network namespace of the thread that opens it.
const Current = "/proc/thread-self/ns/net"

// New makes a network namespace without a name. It needs CAP_SYS_ADMIN.
func New() (*os.File, error) {
	var made *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace (needs CAP_SYS_ADMIN; run as root): %w", err)
		}
		var err error
		made, err = os.Open(Current)
		return err
	})
	return made, err
}

// Enter moves the calling thread, which the caller has locked, to ns.
func Enter(ns *os.File) error {
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %q (needs CAP_SYS_ADMIN; run as root): %w", ns.Name(), err)
	}
	return nil
}

// Do runs fn with the calling thread in ns and puts it back after: sockets that
// fn makes belong to ns for good, goroutines that it starts run elsewhere.
func Do(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := Enter(ns); err != nil {
			return err
		}
		return fn()
	})
}

// Inode returns the inode number of a namespace, by which the kernel names it
// in /proc/PID/ns/net and in struct net.
func Inode(ns *os.File) (uint32, error) {
	var status unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &status); err != nil {
		return 0, fmt.Errorf("network namespace %q: %w", ns.Name(), err)
	}
	return uint32(status.Ino), nil
}

// onThread runs fn locked to its thread and restores the thread's network
// namespace, also when fn panics. A thread that cannot be restored stays
// locked, so that the runtime ends it with its goroutine.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(Current)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open network namespace of this thread: %w", err)
	}
	restored := errors.New("not restored")
	defer func() {
		if restored == nil {
			runtime.UnlockOSThread()
		}
	}()
	defer home.Close()
	defer func() { restored = unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) }()
	return fn()
}

// Sysctl writes values below /proc/sys/net, which show the namespace of the
// thread that opens them. A name that ends in ? may be missing from the kernel.
func Sysctl(values map[string]string) error {
	for name, value := range values {
		path, optional := strings.CutSuffix("/proc/sys/net/"+name, "?")
		err := os.WriteFile(path, []byte(value), 0)
		if optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("set sysctl %q: %w", name, err)
		}
	}
	return nil
}
