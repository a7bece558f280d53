package segment

import (
	"bytes"
	"cmp"
)

// Tuple is a connection's addresses and ports with direction, for those who
// compare connections and have no segment of theirs.
type Tuple struct {
	Client, Server         [16]byte // IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2)
	ClientPort, ServerPort uint16
}

// Reversed is the tuple with client and server exchanged.
func (t Tuple) Reversed() Tuple {
	return Tuple{Client: t.Server, Server: t.Client, ClientPort: t.ServerPort, ServerPort: t.ClientPort}
}

// Undirected is the same for a tuple and its reverse: the lower end first.
func (t Tuple) Undirected() Tuple {
	if cmp.Or(bytes.Compare(t.Client[:], t.Server[:]), cmp.Compare(t.ClientPort, t.ServerPort)) > 0 {
		return t.Reversed()
	}
	return t
}
