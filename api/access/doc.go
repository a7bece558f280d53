// Package access decides who may ask an appliance over HTTP, and how much of it
// a client may take.
//
// Terms. A refusal is a connection or a request that is not served; each has a
// reason and is counted under it. A token is a secret of its file that a client
// sends as bearer (RFC 6750). A connection waits while no whole request of it
// has arrived: it is new, slow, or idle between two requests.
//
// What is held against whom:
//
//   - Pages of other sites, which a browser lets send requests to loopback:
//     nothing is shared across origins, a request that such a page caused is
//     refused, and so is, where no token is needed, a Host that names neither an
//     address nor this machine (DNS rebinding).
//   - Whoever holds connections: there are so many and no more, and the one that
//     has waited longest makes room for a new one.
//   - Whoever is slow: a request must arrive, and what is written must be taken,
//     within a time; a stream may rest, and last, as long as it likes.
//
// Ownership. An Access is used from many goroutines at once. Files are read
// again when they change, by the goroutine that needs them.
package access
