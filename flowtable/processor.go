//go:build amd64 || arm64

package flowtable

import "unsafe"

// fetchLine begins to load the cache line at p. It never faults and waits for
// nothing, as an ordinary load does once the processor's window is full of them.
//
//go:noescape
func fetchLine(p unsafe.Pointer)

// fetchPassing is fetchLine for what is read once: it is to drive nothing else out
// of the caches.
//
//go:noescape
func fetchPassing(p unsafe.Pointer)

// fetchLines is fetchLine for p and for the line behind it.
//
//go:noescape
func fetchLines(p unsafe.Pointer)

// fetchEight is fetchLine for eight lines, told by their numbers from base on.
//
//go:noescape
func fetchEight(base unsafe.Pointer, numbers *[group]uint32)

// fetchEightWords is the same for the lines that words of eight octets stand in,
// fetchEightOctets for those of single octets.
//
//go:noescape
func fetchEightWords(base unsafe.Pointer, numbers *[group]uint32)

//go:noescape
func fetchEightOctets(base unsafe.Pointer, numbers *[group]uint32)

// fetchEightPairs is the same for pairs of lines side by side.
//
//go:noescape
func fetchEightPairs(base unsafe.Pointer, numbers *[group]uint32)
