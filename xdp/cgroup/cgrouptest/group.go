// Package cgrouptest makes control groups (cgroup v2) for tests, and processes in them.
package cgrouptest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/xdp/cgroup"
)

// made counts groups, for their names.
var made atomic.Uint64

// Group is a control group that is removed when the test ends.
type Group struct {
	Path string // below the mount: its name
	Dir  string
	ID   uint64
}

// New makes a group below the root, and mounts cgroup2 for the test where it is not.
func New(tb testing.TB) *Group {
	tb.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatal("needs root")
		}
		tb.Skip("needs root")
	}
	mount := findMount(tb)
	return newGroup(tb, mount, fmt.Sprintf("/finwait-test-%d-%d.scope", os.Getpid(), made.Add(1)))
}

// Below makes a group within a group.
func (g *Group) Below(tb testing.TB, name string) *Group {
	tb.Helper()
	return newGroup(tb, strings.TrimSuffix(g.Dir, g.Path), g.Path+"/"+name)
}

func newGroup(tb testing.TB, mount, path string) *Group {
	tb.Helper()
	g := &Group{Path: path, Dir: mount + path}
	if err := os.Mkdir(g.Dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := g.Remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Error(err)
		}
	})
	var status unix.Stat_t
	if err := unix.Stat(g.Dir, &status); err != nil {
		tb.Fatal(err)
	}
	g.ID = status.Ino
	return g
}

// Remove removes the group once its last process is gone.
func (g *Group) Remove() (err error) {
	for range 100 {
		if err = os.Remove(g.Dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// Start starts a command in the group; it is gone when the test ends.
func (g *Group) Start(tb testing.TB, cmd *exec.Cmd) error {
	tb.Helper()
	dir, err := os.Open(g.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	tb.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return nil
}

// findMount finds cgroup2, or mounts it for as long as the test runs.
func findMount(tb testing.TB) string {
	tb.Helper()
	n := cgroup.Open()
	mount := n.Where()
	if err := n.Close(); err != nil {
		tb.Fatal(err)
	}
	if mount != "" {
		return mount
	}
	mount = filepath.Join(tb.TempDir(), "cgroup2")
	if err := os.Mkdir(mount, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
		tb.Fatalf("mount cgroup2: %v", err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
	return mount
}
