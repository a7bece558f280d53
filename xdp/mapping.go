package xdp

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// area is one mapping of a ring: an address, octets, and the page offset.
type area struct {
	address, size uintptr
	offset        uint64
	inode         uint64
}

type areas []area

// take returns the mapping at a page offset, cut to length octets.
func (all areas) take(offset uint64, length int) ([]byte, error) {
	for _, a := range all {
		if a.offset == offset && uintptr(length) <= a.size {
			// The address is the kernel's, not the Go heap's, so it may pass
			// through an integer.
			return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&a.address))), length), nil
		}
	}
	return nil, fmt.Errorf("no ring of %d octets at offset %#x in /proc/self/maps", length, offset)
}

// ringAreas lists the mappings of one socket.
func ringAreas(inode uint64) (areas, error) {
	all, err := socketAreas()
	if err != nil {
		return nil, err
	}
	var own areas
	for _, a := range all {
		if a.inode == inode {
			own = append(own, a)
		}
	}
	return own, nil
}

// mappedRings is the set of sockets with a fill ring mapped.
func mappedRings() (map[uint64]bool, error) {
	all, err := socketAreas()
	if err != nil {
		return nil, err
	}
	inodes := make(map[uint64]bool)
	for _, a := range all {
		if a.offset == unix.XDP_UMEM_PGOFF_FILL_RING {
			inodes[a.inode] = true
		}
	}
	return inodes, nil
}

// unmapSince removes the rings that a failed attempt to make a socket left.
func unmapSince(before map[uint64]bool) error {
	now, err := mappedRings()
	if err != nil {
		return err
	}
	var errs []error
	for inode := range now {
		if before[inode] {
			continue
		}
		left, err := ringAreas(inode)
		errs = append(errs, err)
		for _, a := range left {
			if _, _, errno := unix.Syscall(unix.SYS_MUNMAP, a.address, a.size, 0); errno != 0 {
				errs = append(errs, fmt.Errorf("unmap a ring: %w", errno))
			}
		}
	}
	return errors.Join(errs...)
}

// socketAreas reads the mappings of sockets from /proc/self/maps (proc(5)).
func socketAreas() (areas, error) {
	file, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("find the rings: %w", err)
	}
	defer file.Close()
	var all areas
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if a, ok := parseArea(lines.Text()); ok {
			all = append(all, a)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("find the rings: %w", err)
	}
	return all, nil
}

// parseArea reads "begin-end perms offset device inode path", hexadecimal but
// for the inode.
func parseArea(line string) (area, bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasPrefix(fields[5], "socket:") {
		return area{}, false
	}
	first, last, _ := strings.Cut(fields[0], "-")
	begin, err1 := strconv.ParseUint(first, 16, 64)
	end, err2 := strconv.ParseUint(last, 16, 64)
	offset, err3 := strconv.ParseUint(fields[2], 16, 64)
	inode, err4 := strconv.ParseUint(fields[4], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil || end < begin {
		return area{}, false
	}
	return area{address: uintptr(begin), size: uintptr(end - begin), offset: offset, inode: inode}, true
}
