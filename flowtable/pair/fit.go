package pair

import (
	"time"

	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// apartMost is how far, in ns, two records may lie from one another in time that
// are to be of one connection.
const apartMost = int64(time.Second)

// Bits of flowtable.Record.Opened.
const (
	clientOpened = 1 << flowtable.Client
	serverOpened = 1 << flowtable.Server
)

func tupleOf(r *flowtable.Record) segment.Tuple {
	return segment.Tuple{Client: r.Client.Address, Server: r.Server.Address, ClientPort: r.Client.Port, ServerPort: r.Server.Port}
}

func bothOpened(r *flowtable.Record) bool {
	return r.Opened&(clientOpened|serverOpened) == clientOpened|serverOpened
}

// fits tells whether two records with the right tuples can be of one connection.
// reversed: one's client is the other's server, since at least one of them was
// joined midway.
func fits(a, b *flowtable.Record, reversed bool) bool {
	if a.Slice != b.Slice || !together(a, b) {
		return false
	}
	// A proxy that answers SYNs itself has another initial sequence number for
	// its server, but keeps the client's.
	return reversed || a.Opened&b.Opened&clientOpened == 0 || a.ClientISN == b.ClientISN
}

// sameSequence tells whether two records that saw both SYNs are of one connection
// by all that their sequence numbers tell.
func sameSequence(a, b *flowtable.Record) bool {
	return a.ClientISN == b.ClientISN && a.ServerISN == b.ServerISN && a.Slice == b.Slice &&
		a.Interface != b.Interface && together(a, b) && isIPv4(a) == isIPv4(b)
}

// sharesEnd tells whether two records have the same client or the same server.
func sharesEnd(a, b *flowtable.Record) bool {
	return a.Client.Address == b.Client.Address && a.Client.Port == b.Client.Port ||
		a.Server.Address == b.Server.Address && a.Server.Port == b.Server.Port
}

// anyEnds is for where the ends do not matter.
func anyEnds(_, _ *flowtable.Record) bool { return true }

// together tells whether two connections were there at the same time.
func together(a, b *flowtable.Record) bool {
	return a.StartAt-b.EndAt <= apartMost && b.StartAt-a.EndAt <= apartMost
}

// apart is how far the beginnings of two connections lie from one another, in ns.
func apart(a, b *flowtable.Record) int64 { return max(a.StartAt-b.StartAt, b.StartAt-a.StartAt) }

func isIPv4(r *flowtable.Record) bool {
	return [12]byte(r.Client.Address[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

// translate notes the tuple that r's connection has on the other side of the box.
func translate(r *flowtable.Record, t segment.Tuple) {
	p := &r.Peer
	p.Translated = true
	p.Client, p.Server, p.ClientPort, p.ServerPort = t.Client, t.Server, t.ClientPort, t.ServerPort
}
