//go:build !amd64 && !arm64

package flowtable

import (
	"sync/atomic"
	"unsafe"
)

// fetchLine does nothing: an ordinary load would have to wait.
func fetchLine(unsafe.Pointer) {}

// fetchPassing does nothing either.
func fetchPassing(unsafe.Pointer) {}

// fetchLines does nothing either.
func fetchLines(unsafe.Pointer) {}

// fetchEight does nothing either.
func fetchEight(unsafe.Pointer, *[group]uint32) {}

// fetchEightWords does nothing either.
func fetchEightWords(unsafe.Pointer, *[group]uint32) {}

// fetchEightOctets does nothing either.
func fetchEightOctets(unsafe.Pointer, *[group]uint32) {}

// fetchEightPairs does nothing either.
func fetchEightPairs(unsafe.Pointer, *[group]uint32) {}

// publish stores a value: after every store before it, before every store after
// it, as others see them.
func publish(p *uint32, value uint32) { atomic.StoreUint32(p, value) }
