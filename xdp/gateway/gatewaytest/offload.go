package gatewaytest

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ethtool's commands for single offloads (linux/ethtool.h).
const (
	setSegmentation   = 0x1f // ETHTOOL_STSO
	setGeneric        = 0x24 // ETHTOOL_SGSO
	setGenericReceive = 0x2c // ETHTOOL_SGRO
)

// WireLike makes every frame at the site what it would be on a wire: no super-packets.
func (s *Site) WireLike() {
	s.tb.Helper()
	s.In(s.Client, func() error { return whole(End) })
	s.In(s.Server, func() error { return whole(End) })
	s.In(s.Box, func() error { return errors.Join(whole(LAN), whole(WAN)) })
}

func whole(name string) error {
	return errors.Join(switchOff(name, setSegmentation), switchOff(name, setGeneric), switchOff(name, setGenericReceive))
}

// SegmentLate leaves the segmentation of super-packets to the kernel, which does it
// right before an interface's driver has them.
func SegmentLate(name string) error { return switchOff(name, setSegmentation) }

// switchOff sets struct ethtool_value to 0 at an interface of the calling thread's
// namespace.
func switchOff(name string, command uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request := &[2]uint32{command, 0}
	var raw struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(raw.name[:], name)
	raw.data = unsafe.Pointer(request)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&raw))); errno != 0 {
		return fmt.Errorf("switch off offload %#x of %q: %w", command, name, errno)
	}
	return nil
}
