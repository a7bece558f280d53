// Package gateway measures what passes a machine's own interfaces, and leaves it
// alone: programs of tc count every segment, in both directions, and write the control
// segments into rings that user space reads.
//
// Terms. A hook is a program at an interface, for what arrives or for what leaves.
// A queue is a ring buffer of the kernel (package ring) with the segments of some
// connections, all of each, of all interfaces; a hash deals connections out. A segment
// is held back where the limit of segments per second is reached.
//
// Hooks are bpf_links, which end with the process, whatever becomes of it, and the rings
// with them; where the kernel has no tcx they are filters of tc, which the next start
// removes.
//
// Connections are followed on each interface by itself: an interface has a number,
// from 1, which is its segments' Interface and the Scope of their keys, and a flow
// table of its own.
//
// Ownership. Open and Close are called once, by one goroutine. All other methods
// may be called from any goroutine before Close; of a Queue, Receive belongs to one.
package gateway
