//go:build !amd64 && !arm64

package flowtable

import "unsafe"

// prefetch loads one cache line of each of n items of an array: that of base, as
// many strides further as at[i] says.
func prefetch(base unsafe.Pointer, stride uintptr, at *uint32, n int) {
	sum := byte(0)
	for _, i := range unsafe.Slice(at, n) {
		sum += *(*byte)(unsafe.Add(base, stride*uintptr(i)))
	}
	fetched(sum)
}

// fetched keeps the compiler from dropping the loads that fed it.
//
//go:noinline
func fetched(byte) {}
