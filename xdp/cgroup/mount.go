package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// idSize is the octets of a handle of cgroup2, which are the id (fs/kernfs/mount.c).
	idSize = 8
	// deleted ends the path of a directory that was removed meanwhile (d_path in the
	// kernel's fs/d_path.c).
	deleted = " (deleted)"
)

// mount is a mount of cgroup2 by whose root handles are opened.
type mount struct {
	path   string
	root   *os.File
	handle int32 // type of a handle; its octets are the id
}

// openMount opens the mount and looks up its root, as a trial.
func openMount() (m *mount, err error) {
	table, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	path := mountPoint(string(table))
	if path == "" {
		return nil, errors.New("cgroup2 is mounted nowhere in full: mount -t cgroup2 none /sys/fs/cgroup")
	}
	root, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the mount of cgroup2: %w", err)
	}
	defer func() {
		if err != nil {
			_ = root.Close() // nothing was written
		}
	}()
	handle, _, err := unix.NameToHandleAt(int(root.Fd()), "", unix.AT_EMPTY_PATH)
	if err == nil && handle.Size() != idSize {
		err = fmt.Errorf("%d octets", handle.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("%q has no handles by which groups could be looked up: %w", path, err)
	}
	m = &mount{path: path, root: root, handle: handle.Type()}
	if _, err = m.find(binary.NativeEndian.Uint64(handle.Bytes())); err != nil {
		return nil, fmt.Errorf("look up a group in %q: %w: run as root, or with CAP_DAC_READ_SEARCH", path, err)
	}
	return m, nil
}

// mountPoint finds in a table of mounts (proc_pid_mountinfo(5)) the first of all of
// cgroup2, empty where there is none.
func mountPoint(table string) string {
	for line := range strings.Lines(table) {
		own, of, _ := strings.Cut(line, " - ")
		fields := strings.Fields(own)
		if len(fields) > 4 && fields[3] == "/" && strings.HasPrefix(of, "cgroup2 ") {
			return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		}
	}
	return ""
}

// find returns the path of a group below the mount.
func (m *mount) find(id uint64) (string, error) {
	handle := unix.NewFileHandle(m.handle, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(int(m.root.Fd()), handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }() // a path alone
	path, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", err
	}
	below, within := strings.CutPrefix(path, strings.TrimSuffix(m.path, "/"))
	switch {
	case below == "" && within:
		return "/", nil
	case !within || below[0] != '/':
		return "", fmt.Errorf("%q is not below %q", path, m.path)
	}
	return m.present(below), nil
}

// present takes the mark of a group that is gone by now off its path, and leaves a group
// alone that is called so.
func (m *mount) present(path string) string {
	before, marked := strings.CutSuffix(path, deleted)
	if _, err := os.Lstat(m.path + path); !marked || err == nil {
		return path
	}
	return before
}

func (m *mount) close() error { return m.root.Close() }
