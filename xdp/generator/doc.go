// Package generator makes the traffic of many TCP connections in the kernel:
// whole connections, from the SYN to the last acknowledgement of a FIN, of which
// every segment is known beforehand.
//
// A BPF program is run by BPF_PROG_RUN with live frames (kernel 5.18): each run
// writes one frame and redirects it to an interface, without a socket buffer and
// without a copy. What was made, what the interface's driver took and what it
// refused are counted apart.
//
// # Terms
//
// The window is the connections that are open at once. A slot is a place in it:
// one connection at a time, and the next one when that has closed. Slots take
// turns, so that each frame belongs to another connection than the one before it.
// A control segment is one with SYN, FIN or RST; every connection has four. A Run
// is one uninterrupted piece of work: to fill the window, to load it, to drain it.
//
// # Ownership
//
// A Generator has a thread of its own, in the network namespace of its interface
// and on one CPU, on which the kernel then also does what it does for each frame
// at a veth's other end. Runs are for one goroutine; Counts may be called from
// any.
package generator
