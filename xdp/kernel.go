package xdp

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelRelease is what uname(2) says, e.g. 6.18.4.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// kernelAtLeast is true where the release cannot be told: the kernel's own
// refusal is then the better message.
func kernelAtLeast(major, minor int) bool { return releaseAtLeast(kernelRelease(), major, minor) }

func releaseAtLeast(release string, major, minor int) bool {
	var haveMajor, haveMinor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &haveMajor, &haveMinor); n != 2 {
		return true
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor
}

// Capability is one of include/uapi/linux/capability.h; it is also granted by those
// in instead.
type Capability struct {
	name    string
	bit     int
	instead []int
}

// What some need besides: NetRaw for AF_XDP sockets, SysAdmin for whatever makes a
// network namespace.
var (
	NetRaw   = Capability{name: "CAP_NET_RAW", bit: unix.CAP_NET_RAW}
	SysAdmin = Capability{name: "CAP_SYS_ADMIN", bit: unix.CAP_SYS_ADMIN}
)

// needed are the capabilities without which nothing can be measured.
var needed = []Capability{
	{name: "CAP_NET_ADMIN", bit: unix.CAP_NET_ADMIN},
	{name: "CAP_BPF", bit: unix.CAP_BPF, instead: []int{unix.CAP_SYS_ADMIN}},
	{name: "CAP_PERFMON", bit: unix.CAP_PERFMON, instead: []int{unix.CAP_SYS_ADMIN}},
}

// CheckPrivilege names every capability that the calling thread lacks, of those
// that are always needed and of some more.
func CheckPrivilege(more ...Capability) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read the process's capabilities: %w", err)
	}
	has := func(bit int) bool { return data[bit/32].Effective&(1<<(bit%32)) != 0 }
	var missing []string
next:
	for _, capability := range slices.Concat(more, needed) {
		for _, bit := range append([]int{capability.bit}, capability.instead...) {
			if has(bit) {
				continue next
			}
		}
		missing = append(missing, capability.name)
	}
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		return fmt.Errorf("missing capability %s: run as root, or grant it to the binary with setcap", list)
	}
	return nil
}
