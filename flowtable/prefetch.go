//go:build amd64 || arm64

package flowtable

import "unsafe"

// prefetch begins to load one cache line of each of n items of an array: that of
// base, as many strides further as at[i] says. It never faults and waits for
// nothing, as ordinary loads do once the processor's window is full of them.
//
//go:noescape
func prefetch(base unsafe.Pointer, stride uintptr, at *uint32, n int)
