package flowtable

import (
	"fmt"
	"syscall"
	"unsafe"
)

// Reserve maps anonymous memory for n values of T, zeroed, and asks for huge
// pages: a random access costs several times less with them (DESIGN.md,
// "Memory and time"). The memory is no part of the Go heap, so T must hold no
// pointers. The pages are touched when first used.
func Reserve[T any](n uint64) ([]T, error) {
	var t T
	size := mappedSize(int(n * uint64(unsafe.Sizeof(t))))
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("reserving %d octets of memory: %w", size, err)
	}
	// Without huge pages everything works, only slower.
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

// hugePage is the size of a transparent huge page with pages of 4 KiB.
const hugePage = 2 << 20

// mappedSize rounds up to whole huge pages. Only what is a multiple of them is
// mapped where they begin and end (Linux 6.12, mm/mmap.c); anything else
// has small pages on either side.
func mappedSize(size int) int {
	if size < hugePage {
		return size
	}
	return (size + hugePage - 1) &^ (hugePage - 1)
}

// Release gives memory of Reserve back.
func Release[T any](s []T) error {
	if len(s) == 0 {
		return nil
	}
	var t T
	return syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), mappedSize(len(s)*int(unsafe.Sizeof(t)))))
}
