//go:build (amd64 || arm64) && !race

package flowtable

import (
	"sync/atomic"
	"unsafe"
)

// addAlone adds to a number that nobody else changes. The lock of an atomic addition
// would hold the worker up six times in the life of a connection; a store of eight
// octets is one without it.
//
//go:noinline
func addAlone(number *atomic.Uint64, n uint64) { *(*uint64)(unsafe.Pointer(number)) += n }
