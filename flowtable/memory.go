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
	size := int(n * uint64(unsafe.Sizeof(t)))
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("reserving %d octets of memory: %w", size, err)
	}
	// Without huge pages everything works, only slower.
	_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

// Release gives memory of Reserve back.
func Release[T any](s []T) error {
	if len(s) == 0 {
		return nil
	}
	var t T
	return syscall.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(t))))
}
