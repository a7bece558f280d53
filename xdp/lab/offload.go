package lab

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wireFeatures are the device features that make a frame inside the machine
// differ from the one on a wire: several segments in one, checksums left to
// the hardware, VLAN tags beside the frame. The names are those of
// net/ethtool/common.c (netdev_features_strings).
var wireFeatures = []string{
	"tx-checksum-ip-generic",
	"tx-scatter-gather",
	"tx-generic-segmentation",
	"tx-tcp-segmentation",
	"tx-tcp-ecn-segmentation",
	"tx-tcp-accecn-segmentation",
	"tx-tcp-mangleid-segmentation",
	"tx-tcp6-segmentation",
	"tx-udp-segmentation",
	"tx-gso-list",
	"rx-gro",
	"rx-gro-list",
	"rx-udp-gro-forwarding",
	"tx-vlan-hw-insert",
	"tx-vlan-stag-hw-insert",
	"rx-vlan-hw-parse",
	"rx-vlan-stag-hw-parse",
}

// ifreq is struct ifreq with a pointer as its data (linux/if.h).
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Of linux/ethtool.h.
const (
	stringLength   = 32 // ETH_GSTRING_LEN
	featureStrings = 4  // ETH_SS_FEATURES
)

// makeWireLike switches wireFeatures off on an interface of the calling
// thread's namespace, so that the tap sees frames as a wire carries them.
func makeWireLike(name string) error { return setFeatures(name, wireFeatures, false) }

// coalesce has an interface of the calling thread's namespace join the segments
// that it receives. It sends several in one by itself.
func coalesce(name string) error { return setFeatures(name, []string{"rx-gro"}, true) }

// setFeatures switches device features on or off.
func setFeatures(name string, features []string, on bool) error {
	names, err := featureNames(name)
	if err != nil {
		return err
	}
	blocks := (len(names) + 31) / 32
	request := make([]uint32, 2+2*blocks) // struct ethtool_sfeatures
	request[0], request[1] = unix.ETHTOOL_SFEATURES, uint32(blocks)
	for i, feature := range names {
		if slices.Contains(features, feature) {
			request[2+i/32*2] |= 1 << (i % 32) // valid
			if on {
				request[3+i/32*2] |= 1 << (i % 32) // requested
			}
		}
	}
	if err := ethtool(name, unsafe.Pointer(&request[0])); err != nil {
		return fmt.Errorf("switch offloads of %q: %w", name, err)
	}
	return nil
}

// featureNames lists the kernel's device features in the order of their bits.
func featureNames(name string) ([]string, error) {
	info := struct { // struct ethtool_sset_info with room for one size
		command, _ uint32
		sets       uint64
		size       uint32
	}{command: unix.ETHTOOL_GSSET_INFO, sets: 1 << featureStrings}
	if err := ethtool(name, unsafe.Pointer(&info)); err != nil {
		return nil, fmt.Errorf("count offloads of %q: %w", name, err)
	}
	const header = 12 // struct ethtool_gstrings up to its data
	request := make([]uint32, (header+int(info.size)*stringLength)/4)
	request[0], request[1], request[2] = unix.ETHTOOL_GSTRINGS, featureStrings, info.size
	if err := ethtool(name, unsafe.Pointer(&request[0])); err != nil {
		return nil, fmt.Errorf("name offloads of %q: %w", name, err)
	}
	octets := unsafe.Slice((*byte)(unsafe.Pointer(&request[0])), 4*len(request))[header:]
	var names []string
	for text := range slices.Chunk(octets, stringLength) {
		end := bytes.IndexByte(text, 0)
		if end < 0 {
			end = len(text)
		}
		names = append(names, string(text[:end]))
	}
	return names, nil
}

// ethtool issues SIOCETHTOOL with a request that begins with its command.
func ethtool(name string, request unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The kernel follows a pointer that lies in memory only, so neither the
	// request nor the ifreq may move: both are kept on the heap.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(request)
	req := &ifreq{data: request}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req))); errno != 0 {
		return errno
	}
	return nil
}
