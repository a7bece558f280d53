// Package gateway measures what passes a machine's own interfaces, and leaves it
// alone: programs of tc count every segment, in both directions, and describe the
// control segments to user space by way of clones.
//
// Terms. A hook is a program at an interface, for what arrives or for what leaves.
// The pair is a veth pair of the gateway's own: clones leave by its near end, in the
// namespace of the interfaces, and arrive at its far end, in a namespace without a
// name. There they have become segments, a segment.Segment each, and go to the
// AF_XDP sockets that the workers receive from. A clone is held back where the limit
// of clones per second is reached.
//
// The namespace of the far end lives as long as the process: with it goes the pair,
// whatever becomes of the process. Hooks are bpf_links, which end with it too; where
// the kernel has no tcx they are filters of tc, which the next start removes.
//
// Connections are followed on each interface by itself: an interface has a number,
// from 1, which is its segments' Interface and the Scope of their keys, and a flow
// table of its own.
//
// Ownership. Open and Close are called once, by one goroutine. All other methods
// may be called from any goroutine before Close; see package xdp for Queues.
package gateway
