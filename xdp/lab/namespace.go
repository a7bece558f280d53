package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace names one of the network namespaces of a Network.
type Namespace uint8

// The namespaces, each but the hub with one interface.
const (
	Hub    Namespace = iota // the bridge and its ports
	Client                  // where connections are opened from
	Server                  // where they are accepted
	Tap                     // sees a copy of every frame

	namespaces = 4
)

func (n Namespace) String() string {
	return [...]string{"hub", "client", "server", "tap"}[n]
}

// threadNamespace is the network namespace of the calling thread.
const threadNamespace = "/proc/thread-self/ns/net"

// newNamespace makes a network namespace that has no name, so that it is gone
// as soon as the last descriptor, thread and interface in it are.
func newNamespace() (*os.File, error) {
	var made *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace (needs CAP_SYS_ADMIN; run as root): %w", err)
		}
		var err error
		made, err = os.Open(threadNamespace)
		return err
	})
	return made, err
}

// inNamespace runs fn with the calling thread in ns and puts it back after.
func inNamespace(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %q (needs CAP_SYS_ADMIN; run as root): %w", ns.Name(), err)
		}
		return fn()
	})
}

// onThread runs fn locked to its thread and restores the thread's network
// namespace, also when fn panics. A thread that cannot be restored stays
// locked, so that the runtime ends it with its goroutine.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNamespace)
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

// setSysctls writes values below /proc/sys/net, which show the namespace of
// the thread that opens them. A name that ends in ? may be missing from the
// kernel.
func setSysctls(values map[string]string) error {
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
