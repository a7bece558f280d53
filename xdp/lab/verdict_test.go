package lab

import (
	"net/netip"
	"time"
)

// watched is a connection as its segments show it: a second, plain reading of
// RECORD.md for what the lab makes, with everything kept.
type watched struct {
	tuple          Tuple
	client, server watchedEnd
	start          time.Time
	reuseAfter     *int64
	firstFIN       Party
	fin1, ack1     time.Time
	fin2, ack2     time.Time
	rst            time.Time
	rstBy          Party
	crossed        bool
	fin2First      bool   // FIN2 was the first segment to cover FIN1
	otherAtFIN1    uint64 // payload of the other side before FIN1
	vlans          []int
}

type watchedEnd struct {
	address                     netip.AddrPort
	packets, octets, payload    uint64
	started                     bool
	isn, high, finEnd           uint32
	finished                    bool
	finRepeats, handshakeRepeat uint64
}

// verdict derives flows from what was seen on the tap, in order.
func verdict(sightings []sighting) []Flow {
	current := map[Tuple]*watched{}
	var all []*watched
	for i := range sightings {
		s := &sightings[i]
		t := Tuple{ClientIP: s.from.Addr(), ClientPort: s.from.Port(), ServerIP: s.to.Addr(), ServerPort: s.to.Port()}
		back := Tuple{ClientIP: t.ServerIP, ClientPort: t.ServerPort, ServerIP: t.ClientIP, ServerPort: t.ClientPort}
		c := current[t]
		if c == nil {
			c = current[back]
		}
		if s.tcp.SYN && !s.tcp.ACK && (c == nil || c.client.isn != s.tcp.Seq) {
			old := c
			c = &watched{tuple: t, start: s.at, vlans: s.vlans}
			c.client.address, c.server.address = s.from, s.to
			if old != nil {
				c.reuseAfter = new(int64(s.at.Sub(old.ack2)))
			}
			current[t] = c
			all = append(all, c)
		}
		if c != nil {
			c.follow(s)
		}
	}
	flows := make([]Flow, len(all))
	for i, c := range all {
		flows[i] = c.flow()
	}
	return flows
}

func (c *watched) follow(s *sighting) {
	own, other, party := &c.client, &c.server, ClientParty
	if s.from != c.client.address {
		own, other, party = other, own, ServerParty
	}
	own.packets++
	own.octets += uint64(s.octets)
	seq, end := s.tcp.Seq, s.tcp.Seq+uint32(s.payload)
	if s.tcp.SYN {
		if own.started {
			own.handshakeRepeat++
		}
		seq++
		end++
	}
	if !own.started && !s.tcp.RST {
		own.started, own.isn, own.high = true, s.tcp.Seq, seq
	}
	if advance := int32(end - own.high); advance > 0 && !s.tcp.RST && !own.finished {
		own.payload += uint64(advance)
		own.high = end
	}
	if s.tcp.RST {
		if c.rst.IsZero() && c.ack2.IsZero() {
			c.rst, c.rstBy = s.at, party
		}
		return
	}
	if s.tcp.ACK {
		c.acknowledge(s, party, other)
	}
	if s.tcp.FIN {
		c.finish(s, party, own, other, end+1)
	}
}

// acknowledge handles a segment's ACK, before its FIN.
func (c *watched) acknowledge(s *sighting, party Party, other *watchedEnd) {
	if !other.finished || int32(s.tcp.Ack-other.finEnd) < 0 {
		return
	}
	if party != c.firstFIN {
		if c.ack1.IsZero() {
			c.ack1 = s.at
			c.fin2First = s.tcp.FIN && c.fin2.IsZero()
		}
	} else if c.ack2.IsZero() {
		c.ack2 = s.at
	}
}

func (c *watched) finish(s *sighting, party Party, own, other *watchedEnd, finEnd uint32) {
	if own.finished {
		own.finRepeats++
		return
	}
	own.finished, own.finEnd = true, finEnd
	if c.firstFIN == Nobody {
		c.firstFIN, c.fin1, c.otherAtFIN1 = party, s.at, other.payload
		return
	}
	c.fin2 = s.at
	c.crossed = int32(s.tcp.Ack-other.finEnd) < 0
}

func (c *watched) kind() string {
	switch {
	case c.rstBy == ServerParty && !c.server.started && c.firstFIN == Nobody:
		return kindRefused
	case c.rstBy != Nobody:
		return kindReset
	case !c.fin2.IsZero() && c.crossed:
		return kindSimultaneous
	case !c.fin2.IsZero() && c.fin2First:
		return kindThreeWay
	case !c.fin2.IsZero():
		return kindFourWay
	case c.firstFIN != Nobody:
		return "half_closed"
	case c.server.packets == 0:
		return kindUnanswered
	default:
		return "open"
	}
}

func (c *watched) flow() Flow {
	f := Flow{
		Tuple: c.tuple, OrientedBy: "syn", Evidence: "full", StartAt: &c.start,
		Counts: Counts{
			ClientPackets: &c.client.packets, ServerPackets: &c.server.packets,
			ClientOctets: &c.client.octets, ServerOctets: &c.server.octets,
			ClientPayload: &c.client.payload, ServerPayload: &c.server.payload,
			ClientFINRepeats: &c.client.finRepeats, ServerFINRepeats: &c.server.finRepeats,
			ClientSYNRepeats: &c.client.handshakeRepeat, ServerSYNACKRepeats: &c.server.handshakeRepeat,
		},
		FIN1At: seen(c.fin1), ACK1At: seen(c.ack1), FIN2At: seen(c.fin2), ACK2At: seen(c.ack2), RSTAt: seen(c.rst),
		FINWait1NS: span(c.fin1, c.ack1), CloseWaitNS: span(c.ack1, c.fin2), LastACKNS: span(c.fin2, c.ack2),
		RSTBy: c.rstBy, CloseKind: c.kind(), Initiator: c.firstFIN,
		Complete:     !c.ack1.IsZero() && !c.ack2.IsZero() || c.rstBy != Nobody,
		ReuseAfterNS: c.reuseAfter, Accounting: accountingCounted,
	}
	switch c.firstFIN {
	case ClientParty:
		f.HalfClosePayload = new(c.server.payload - c.otherAtFIN1)
	case ServerParty:
		f.HalfClosePayload = new(c.client.payload - c.otherAtFIN1)
	default:
		f.Initiator = c.rstBy
	}
	if c.server.packets == 0 {
		f.Evidence = "one_sided"
	}
	if len(c.vlans) > 0 {
		f.VLAN, f.Encapsulation = uint16(c.vlans[0]), "vlan"
	}
	if len(c.vlans) > 1 {
		f.Encapsulation = "qinq"
	}
	return f
}

func seen(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func span(from, to time.Time) *int64 {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return nil
	}
	return new(int64(to.Sub(from)))
}
