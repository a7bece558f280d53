// Package xdp is the tap: the kernel program at the NIC that counts every TCP
// segment, and the AF_XDP sockets through which control segments reach user
// space, one per receive queue.
//
// Terms. A frame is what the NIC received. A segment is what the program put
// in the place of a frame that it passed on, a segment.Segment. The UMEM is
// the memory in which the kernel places segments; the fill ring carries its
// free buffers to the kernel, the RX ring the filled ones to us. The flow
// table is the program's hash of counters by segment.Key. The ledger says what
// became of every frame. By sequence there is no flow table: what a FIN or a
// SYN-ACK waits for stands in notes of awaited acknowledgements, and a data
// segment is looked up nowhere.
//
// Queues, flow tables and the lines of the ledger are also those of a gateway, which
// is package gateway.
//
// Ownership. Open and Close are called once, by one goroutine. A Queue belongs
// to one worker: Receive is called from its goroutine only, Lost from any.
// Accounts, Ledger and Orphans may be used from any goroutine at any time before
// Close; Close must come after the last Receive has returned.
package xdp
