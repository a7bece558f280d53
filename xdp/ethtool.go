package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layouts and limits of linux/ethtool.h.
const (
	stringLength     = 32   // ETH_GSTRING_LEN
	featureStrings   = 4    // ETH_SS_FEATURES
	flowTCP4         = 1    // TCP_V4_FLOW
	flowTCP6         = 5    // TCP_V6_FLOW
	hashTuple        = 0xf0 // RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3
	rxHashHeader     = 24   // struct ethtool_rxfh up to its table
	rxHashToeplitz   = 1    // ETH_RSS_HASH_TOP
	rxHashKeepTable  = 0xffffffff
	featureBlock     = 32
	rxFlowHashLength = 192 // struct ethtool_rxnfc
)

// ethtool speaks the ioctl interface of ethtool(8) to the network namespace in
// which it was opened.
type ethtool struct{ fd int }

func openEthtool() (*ethtool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket for ethtool requests: %w", err)
	}
	return &ethtool{fd: fd}, nil
}

func (e *ethtool) close() error { return unix.Close(e.fd) }

// request is struct ifreq with a pointer to the command.
type request struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// do runs the command that stands, with its number, at the beginning of buffer.
func (e *ethtool) do(name string, buffer []byte) error {
	r := request{data: unsafe.Pointer(&buffer[0])}
	copy(r.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return errno
	}
	return nil
}

// command makes a buffer of size octets that begins with a command's number.
func command(number uint32, size int) []byte {
	buffer := make([]byte, size)
	binary.NativeEndian.PutUint32(buffer, number)
	return buffer
}

func word(buffer []byte, i int) uint32 { return binary.NativeEndian.Uint32(buffer[4*i:]) }

func setWord(buffer []byte, i int, v uint32) { binary.NativeEndian.PutUint32(buffer[4*i:], v) }

// Driver is the kernel driver of an interface of the calling thread's namespace, empty
// where it has none.
func Driver(name string) string {
	tool, err := openEthtool()
	if err != nil {
		return ""
	}
	defer func() { _ = tool.close() }()
	return tool.driver(name)
}

// driver is the name of the interface's driver, "unknown" where it has none.
func (e *ethtool) driver(name string) string {
	info, err := unix.IoctlGetEthtoolDrvinfo(e.fd, name)
	if err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(info.Driver[:])
}

// queues is the number of receive queues in use, 0 where the driver does not
// say (struct ethtool_channels: rx and combined).
func (e *ethtool) queues(name string) int {
	channels := command(unix.ETHTOOL_GCHANNELS, 36)
	if e.do(name, channels) != nil {
		return 0
	}
	return int(word(channels, 5) + word(channels, 8))
}

// featureNames lists the features in the order of their bits.
func (e *ethtool) featureNames(name string) ([]string, error) {
	count := command(unix.ETHTOOL_GSSET_INFO, 20)
	binary.NativeEndian.PutUint64(count[8:], 1<<featureStrings)
	if err := e.do(name, count); err != nil {
		return nil, err
	}
	n := int(word(count, 4))
	buffer := command(unix.ETHTOOL_GSTRINGS, 12+n*stringLength)
	setWord(buffer, 1, featureStrings)
	setWord(buffer, 2, uint32(n))
	if err := e.do(name, buffer); err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = unix.ByteSliceToString(buffer[12+i*stringLength:][:stringLength])
	}
	return names, nil
}

// feature is one offload: whether it is on, and may be changed.
type feature struct {
	bit         int
	on, mutable bool
}

// features returns the state of every feature by name.
func (e *ethtool) features(name string) (map[string]feature, error) {
	names, err := e.featureNames(name)
	if err != nil {
		return nil, err
	}
	blocks := (len(names) + featureBlock - 1) / featureBlock
	buffer := command(unix.ETHTOOL_GFEATURES, 8+16*blocks)
	setWord(buffer, 1, uint32(blocks))
	if err := e.do(name, buffer); err != nil {
		return nil, err
	}
	all := make(map[string]feature, len(names))
	for bit, label := range names {
		// Per block: available, requested, active, never_changed.
		block, mask := 2+4*(bit/featureBlock), uint32(1)<<(bit%featureBlock)
		all[label] = feature{
			bit:     bit,
			on:      word(buffer, block+2)&mask != 0,
			mutable: word(buffer, block)&mask != 0 && word(buffer, block+3)&mask == 0,
		}
	}
	return all, nil
}

// setFeature switches one feature; count is how many features there are.
func (e *ethtool) setFeature(name string, bit, count int, on bool) error {
	blocks := (count + featureBlock - 1) / featureBlock
	buffer := command(unix.ETHTOOL_SFEATURES, 8+8*blocks)
	setWord(buffer, 1, uint32(blocks))
	// Per block: valid, requested.
	block, mask := 2+2*(bit/featureBlock), uint32(1)<<(bit%featureBlock)
	setWord(buffer, block, mask)
	if on {
		setWord(buffer, block+1, mask)
	}
	return e.do(name, buffer)
}

// rssKey returns the key of the Toeplitz hash (struct ethtool_rxfh).
func (e *ethtool) rssKey(name string) ([]byte, error) {
	sizes := command(unix.ETHTOOL_GRSSH, rxHashHeader)
	if err := e.do(name, sizes); err != nil {
		return nil, err
	}
	table, key := word(sizes, 2), word(sizes, 3)
	if key == 0 || sizes[16] != rxHashToeplitz {
		return nil, unix.EOPNOTSUPP
	}
	buffer := command(unix.ETHTOOL_GRSSH, rxHashHeader+4*int(table)+int(key))
	setWord(buffer, 2, table)
	setWord(buffer, 3, key)
	if err := e.do(name, buffer); err != nil {
		return nil, err
	}
	return buffer[rxHashHeader+4*table:], nil
}

// setRSSKey changes the key and nothing else.
func (e *ethtool) setRSSKey(name string, key []byte) error {
	current := command(unix.ETHTOOL_GRSSH, rxHashHeader)
	if err := e.do(name, current); err != nil {
		return err
	}
	buffer := command(unix.ETHTOOL_SRSSH, rxHashHeader+len(key))
	setWord(buffer, 2, rxHashKeepTable)
	setWord(buffer, 3, uint32(len(key)))
	// hfunc, and input_xfrm behind it, which kernels before 6.8 hold reserved
	// and give as zero.
	copy(buffer[16:18], current[16:18])
	copy(buffer[rxHashHeader:], key)
	return e.do(name, buffer)
}

// hashFields returns the RXH bits by which a flow type is spread.
func (e *ethtool) hashFields(name string, flowType uint32) (uint64, error) {
	buffer := command(unix.ETHTOOL_GRXFH, rxFlowHashLength)
	setWord(buffer, 1, flowType)
	if err := e.do(name, buffer); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(buffer[8:]), nil
}

func (e *ethtool) setHashFields(name string, flowType uint32, fields uint64) error {
	buffer := command(unix.ETHTOOL_SRXFH, rxFlowHashLength)
	setWord(buffer, 1, flowType)
	binary.NativeEndian.PutUint64(buffer[8:], fields)
	return e.do(name, buffer)
}
