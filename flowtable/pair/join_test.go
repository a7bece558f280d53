package pair

import (
	"testing"

	"github.com/finwait/finwait/flowtable"
)

// both is a connection as the two sides saw it, the box taking 500 ns.
func both(change func(a, b *flowtable.Record)) (a, b flowtable.Record) {
	a, b = closed(1, lan, inner, 1e9), behind(closed(2, wan, inner, 1e9))
	change(&a, &b)
	join(&a, &b, false)
	return a, b
}

// Both records tell whose the ends are, where one of them knows.
func TestOwnersShared(t *testing.T) {
	a, b := both(func(a, b *flowtable.Record) { a.Client.Owner, b.Server.Owner = 7, 9 })
	if a.Client.Owner != 7 || a.Server.Owner != 9 || b.Client.Owner != 7 || b.Server.Owner != 9 {
		t.Errorf("%d and %d here, %d and %d there", a.Client.Owner, a.Server.Owner, b.Client.Owner, b.Server.Owner)
	}
	reversed := closed(3, wan, inner, 1e9)
	reversed.Client.Owner, reversed.Server.Owner = 0, 7
	a = closed(1, lan, inner, 1e9)
	a.Server.Owner = 8
	join(&a, &reversed, true)
	if a.Client.Owner != 7 || a.Server.Owner != 8 || reversed.Client.Owner != 8 {
		t.Errorf("%d and %d here, %d there, where client and server are the other way round", a.Client.Owner, a.Server.Owner, reversed.Client.Owner)
	}
	a, b = both(func(a, b *flowtable.Record) { a.Client.Owner, b.Client.Owner = 7, 9 })
	if a.Client.Owner != 7 || b.Client.Owner != 9 || a.Server.Owner|b.Server.Owner != 0 {
		t.Errorf("what both knew has changed: %d, %d", a.Client.Owner, b.Client.Owner)
	}
}

// What is not known to be one and the same transmission has no transit time.
func TestTransitUnknown(t *testing.T) {
	all := uint8(1<<flowtable.RSTAt-1) &^ (1 << flowtable.EstablishedAt)
	const (
		syn, synACK, fin1, ack1 = 1 << flowtable.SYNAt, 1 << flowtable.SYNACKAt, 1 << flowtable.FIN1At, 1 << flowtable.ACK1At
		fin2, ack2, rst         = 1 << flowtable.FIN2At, 1 << flowtable.ACK2At, 1 << flowtable.RSTAt
	)
	for name, c := range map[string]struct {
		change func(a, b *flowtable.Record)
		known  uint8
	}{
		"all":                             {func(_, _ *flowtable.Record) {}, all},
		"SYN not seen here":               {func(a, _ *flowtable.Record) { a.Seen &^= syn }, all &^ syn},
		"last ACK not seen there":         {func(_, b *flowtable.Record) { b.Seen &^= ack2 }, all &^ ack2},
		"FIN2 not seen there":             {func(_, b *flowtable.Record) { b.Seen &^= fin2 }, all &^ fin2},
		"SYN lost in the box":             {func(a, _ *flowtable.Record) { a.Client.SYNRetransmits = 1 }, all &^ syn},
		"SYN sent twice, passed on twice": {func(a, b *flowtable.Record) { a.Client.SYNRetransmits, b.Client.SYNRetransmits = 1, 1 }, all},
		"SYN-ACK lost in the box":         {func(_, b *flowtable.Record) { b.Server.SYNRetransmits = 1 }, all &^ synACK},
		"FIN1 lost in the box":            {func(a, _ *flowtable.Record) { a.Client.FINRetransmits = 1 }, all &^ (fin1 | ack1)},
		"FIN2 passed on twice":            {func(a, b *flowtable.Record) { a.Server.FINRetransmits, b.Server.FINRetransmits = 1, 1 }, all &^ ack2},
		"lossy":                           {func(a, _ *flowtable.Record) { a.Evidence = flowtable.Lossy }, all &^ (ack1 | ack2)},
		"SYN-ACK of a proxy":              {func(a, _ *flowtable.Record) { a.At[flowtable.SYNACKAt] -= 1e6 }, all &^ synACK},
		"ACK of another FIN":              {func(a, _ *flowtable.Record) { a.At[flowtable.ACK1At] += 5e9 }, all &^ ack1},
		"RST of the box": {func(a, _ *flowtable.Record) {
			a.Seen, a.RSTBy = a.Seen|rst, flowtable.Server
		}, all},
		"RST": {func(a, b *flowtable.Record) {
			a.Seen, a.RSTBy, a.At[flowtable.RSTAt] = a.Seen|rst, flowtable.Server, 2e9+500
			b.Seen, b.RSTBy, b.At[flowtable.RSTAt] = b.Seen|rst, flowtable.Server, 2e9
		}, all | rst},
		"RST of either side": {func(a, b *flowtable.Record) {
			a.Seen, a.RSTBy, a.At[flowtable.RSTAt] = a.Seen|rst, flowtable.Client, 2e9
			b.Seen, b.RSTBy, b.At[flowtable.RSTAt] = b.Seen|rst, flowtable.Server, 2e9
		}, all},
		"longest":  {func(_, b *flowtable.Record) { b.At[flowtable.FIN1At] += flowtable.MaxTransit - 500 }, all},
		"too long": {func(_, b *flowtable.Record) { b.At[flowtable.FIN1At] += flowtable.MaxTransit - 499 }, all &^ fin1},
	} {
		a, b := both(c.change)
		if a.Peer.Known != c.known || b.Peer.Known != c.known {
			t.Errorf("%s: known %08b and %08b, want %08b", name, a.Peer.Known, b.Peer.Known, c.known)
		}
		if a.Peer.Transit != b.Peer.Transit {
			t.Errorf("%s: the two do not agree: %v, %v", name, a.Peer.Transit, b.Peer.Transit)
		}
		if a.Peer.Faces != flowtable.Client || b.Peer.Faces != flowtable.Server {
			t.Errorf("%s: the interfaces face %v and %v", name, a.Peer.Faces, b.Peer.Faces)
		}
	}
}

// Two FINs that cross in the box are each FIN1 on the side of its sender.
func TestTransitCrossed(t *testing.T) {
	a, b := closed(1, lan, inner, 0), closed(2, wan, inner, 0)
	a.Initiator, b.Initiator = flowtable.Client, flowtable.Server
	a.At = [flowtable.Moments]int64{0, 100, 0, 1000, 1030, 1010, 1040}
	b.At = [flowtable.Moments]int64{1, 98, 0, 1005, 1042, 1003, 1027}
	join(&a, &b, false)
	if want := [flowtable.Moments]uint32{1, 2, 0, 3, 3, 5, 2}; a.Peer.Transit != want {
		t.Errorf("client's side: %v, want %v", a.Peer.Transit, want)
	}
	if want := [flowtable.Moments]uint32{1, 2, 0, 5, 2, 3, 3}; b.Peer.Transit != want {
		t.Errorf("server's side: %v, want %v", b.Peer.Transit, want)
	}
}

// A connection that was joined midway may have its client on either end.
func TestTransitReversed(t *testing.T) {
	a, b := closed(1, lan, inner, 0), behind(closed(2, wan, outer, 0))
	for _, r := range []*flowtable.Record{&a, &b} {
		r.Seen &^= 1<<flowtable.SYNAt | 1<<flowtable.SYNACKAt | 1<<flowtable.EstablishedAt
		r.Opened = 0
	}
	b.Client, b.Server, b.Initiator = b.Server, b.Client, flowtable.Server
	join(&a, &b, true)
	if a.Peer.Faces != flowtable.Client || b.Peer.Faces != flowtable.Client {
		t.Errorf("the interfaces face %v and %v", a.Peer.Faces, b.Peer.Faces)
	}
	if a.Peer.Client != outer.Client || a.Peer.Server != outer.Server || b.Peer.Client != inner.Server || b.Peer.ServerPort != inner.ClientPort {
		t.Errorf("other tuples %+v, %+v", a.Peer, b.Peer)
	}
	for _, m := range []flowtable.Moment{flowtable.FIN1At, flowtable.ACK1At, flowtable.FIN2At, flowtable.ACK2At} {
		if ns, known := a.Peer.Passed(m); !known || ns != 500 || b.Peer.Transit[m] != 500 {
			t.Errorf("moment %d: %d ns, known %v", m, ns, known)
		}
	}
}
