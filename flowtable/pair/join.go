package pair

import "github.com/finwait/finwait/flowtable"

// passage is a segment that both records have a time of.
type passage struct {
	inA, inB flowtable.Moment // a FIN1 of the one can be the FIN2 of the other, where they crossed in the box
	sender   flowtable.Party  // as a has it
	took     int64            // ns from a to b; below 0 where b saw it first
	certain  bool             // it is one and the same transmission
}

// join fills in what two records of one connection tell one another. reversed: the
// client of one is the server of the other.
func join(a, b *flowtable.Record, reversed bool) {
	a.Peer.Serial, a.Peer.Found = b.Serial, true
	b.Peer.Serial, b.Peer.Found = a.Serial, true
	ours, theirs := tupleOf(a), tupleOf(b)
	if reversed {
		theirs = theirs.Reversed()
	}
	if ours != theirs {
		translate(a, theirs)
		if reversed {
			ours = ours.Reversed()
		}
		translate(b, ours)
	}
	share(a, b, reversed)
	var passages [flowtable.Moments]passage
	n := 0
	for m := range flowtable.Moment(flowtable.Moments) {
		if p, ok := newPassage(a, b, m, reversed); ok {
			passages[n] = p
			n++
		}
	}
	pass(a, b, passages[:n], reversed)
}

// share tells both whose the ends are, where one of them knows: a packet that the box
// routes has lost its socket on its way.
func share(a, b *flowtable.Record, reversed bool) {
	client, server := &b.Client, &b.Server
	if reversed {
		client, server = server, client
	}
	for _, of := range [2][2]*flowtable.Side{{&a.Client, client}, {&a.Server, server}} {
		owner := max(of[0].Owner, of[1].Owner)
		if of[0].Owner == 0 || of[1].Owner == 0 {
			of[0].Owner, of[1].Owner = owner, owner
		}
	}
}

// pass notes which way the box was passed, and how long that took.
func pass(a, b *flowtable.Record, passages []passage, reversed bool) {
	faces := facing(passages)
	if faces == flowtable.Nobody {
		return
	}
	a.Peer.Faces, b.Peer.Faces = faces, opposite(faces)
	if reversed {
		b.Peer.Faces = faces
	}
	for _, p := range passages {
		took := p.took
		if p.sender != faces {
			took = -took
		}
		if !p.certain || took < 0 || took > flowtable.MaxTransit {
			continue
		}
		a.Peer.Transit[p.inA], a.Peer.Known = uint32(took), a.Peer.Known|1<<p.inA
		b.Peer.Transit[p.inB], b.Peer.Known = uint32(took), b.Peer.Known|1<<p.inB
	}
}

// facing tells whose segments come in at a, by the first that tells: whoever sent
// it is on the side where it was seen first.
func facing(passages []passage) flowtable.Party {
	for _, p := range passages {
		switch {
		case p.took > 0:
			return p.sender
		case p.took < 0:
			return opposite(p.sender)
		}
	}
	return flowtable.Nobody
}

// newPassage finds what a's moment m is in b. It is false where one of them did
// not see it, or they do not agree on who sent it.
func newPassage(a, b *flowtable.Record, m flowtable.Moment, reversed bool) (passage, bool) {
	p := passage{inA: m, inB: m, sender: sender(a, m)}
	theirs := p.sender
	if reversed {
		theirs = opposite(theirs)
	}
	if p.sender == flowtable.Nobody {
		return p, false
	}
	if sender(b, m) != theirs {
		if p.inB = crossed(m); p.inB == m || sender(b, p.inB) != theirs {
			return p, false
		}
	}
	atA, seenA := a.Time(p.inA)
	atB, seenB := b.Time(p.inB)
	p.took = atB - atA
	p.certain = certain(a, b, m, p.sender, theirs)
	return p, seenA && seenB
}

// sender is who sent the segment of a moment, Nobody where there is none to be
// compared.
func sender(r *flowtable.Record, m flowtable.Moment) flowtable.Party {
	switch m {
	case flowtable.SYNAt:
		return flowtable.Client
	case flowtable.SYNACKAt:
		return flowtable.Server
	case flowtable.FIN1At, flowtable.ACK2At:
		return r.Initiator
	case flowtable.FIN2At, flowtable.ACK1At:
		return opposite(r.Initiator)
	case flowtable.RSTAt:
		return r.RSTBy
	default:
		return flowtable.Nobody
	}
}

// crossed is what a wave is on the other side, where the FIN that came first there
// is the second here.
func crossed(m flowtable.Moment) flowtable.Moment {
	switch m {
	case flowtable.FIN1At:
		return flowtable.FIN2At
	case flowtable.FIN2At:
		return flowtable.FIN1At
	case flowtable.ACK1At:
		return flowtable.ACK2At
	case flowtable.ACK2At:
		return flowtable.ACK1At
	default:
		return m
	}
}

// certain tells whether both records mean the same transmission of what a's sender
// sent at m. What was sent again on one side alone was lost in the box; and where a
// FIN was sent again, nobody can tell which of its ACKs the box passed on.
func certain(a, b *flowtable.Record, m flowtable.Moment, inA, inB flowtable.Party) bool {
	ours, theirs := side(a, inA), side(b, inB)
	switch m {
	case flowtable.SYNAt, flowtable.SYNACKAt:
		return ours.SYNRetransmits == theirs.SYNRetransmits
	case flowtable.FIN1At, flowtable.FIN2At:
		return ours.FINRetransmits == theirs.FINRetransmits
	case flowtable.ACK1At, flowtable.ACK2At:
		answered, there := side(a, opposite(inA)), side(b, opposite(inB))
		return answered.FINRetransmits == 0 && there.FINRetransmits == 0 &&
			a.Evidence != flowtable.Lossy && b.Evidence != flowtable.Lossy
	default:
		return true
	}
}

func side(r *flowtable.Record, p flowtable.Party) *flowtable.Side {
	if p == flowtable.Client {
		return &r.Client
	}
	return &r.Server
}

func opposite(p flowtable.Party) flowtable.Party {
	switch p {
	case flowtable.Client:
		return flowtable.Server
	case flowtable.Server:
		return flowtable.Client
	default:
		return flowtable.Nobody
	}
}
