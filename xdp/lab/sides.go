package lab

import (
	"fmt"
	"strconv"
	"time"
)

// OtherSide is what a row tells of the same connection on the other side of a
// gateway. Nil stands for null.
type OtherSide struct {
	Faces         Party   `json:"interface_faces"`
	PeerFlowID    *string `json:"peer_flow_id"`
	NATClientIP   *string `json:"nat_client_ip"`
	NATClientPort *uint16 `json:"nat_client_port"`
	NATServerIP   *string `json:"nat_server_ip"`
	NATServerPort *uint16 `json:"nat_server_port"`
	SYNTransit    *int64  `json:"syn_transit_ns"`
	SYNACKTransit *int64  `json:"syn_ack_transit_ns"`
	FIN1Transit   *int64  `json:"fin1_transit_ns"`
	ACK1Transit   *int64  `json:"ack1_transit_ns"`
	FIN2Transit   *int64  `json:"fin2_transit_ns"`
	ACK2Transit   *int64  `json:"ack2_transit_ns"`
	RSTTransit    *int64  `json:"rst_transit_ns"`
}

// longestTransit is what is taken for one segment's way through the gateway.
const longestTransit = 1<<32 - 1

// OnBothSides is what is expected of the same connections at a gateway's two
// interfaces: a row for each, that knows of the other.
func OnBothSides(done []Expectation) []Expectation {
	expected := make([]Expectation, 0, 2*len(done))
	for i, e := range done {
		lan, wan := e, e
		lan.Interface, wan.Interface = LANInterface, WANInterface
		lan.faces, wan.faces = ClientParty, ServerParty
		wan.Tuple, wan.Outside = e.Outside, e.Tuple
		if e.Outside == (Tuple{}) {
			lan.faces = Nobody // nobody else saw it
			expected = append(expected, lan)
			continue
		}
		lan.pair, wan.pair = i+1, i+1
		expected = append(expected, lan, wan)
	}
	return expected
}

// otherSide lists the fields in which a flow does not tell what the other side's
// row says; other is nil where there is none.
func (e *Expectation) otherSide(f, other *Flow) []Disagreement {
	d := differ{tuple: e.Tuple}
	d.text("interface_faces", string(e.faces), string(f.Faces))
	want := func(known bool, v string) string {
		if !known {
			return "null"
		}
		return v
	}
	var peer string
	if other != nil {
		peer = other.FlowID
	}
	d.same("peer_flow_id", want(other != nil, peer), text(f.PeerFlowID))
	translated := e.pair != 0 && e.Outside != e.Tuple
	d.same("nat_client_ip", want(translated, e.Outside.ClientIP.String()), text(f.NATClientIP))
	d.same("nat_client_port", want(translated, strconv.Itoa(int(e.Outside.ClientPort))), number(f.NATClientPort))
	d.same("nat_server_ip", want(translated, e.Outside.ServerIP.String()), text(f.NATServerIP))
	d.same("nat_server_port", want(translated, strconv.Itoa(int(e.Outside.ServerPort))), number(f.NATServerPort))
	if other == nil {
		other = &Flow{}
	}
	d.transits(e.faces, f, other)
	return d.found
}

// transits holds every transit time against the times of the two rows.
func (d *differ) transits(faces Party, f, other *Flow) {
	first, second := f.Initiator, f.Initiator.other()
	finRepeats := func(r *Flow, p Party) uint64 {
		count := r.ClientFINRepeats
		if p == ServerParty {
			count = r.ServerFINRepeats
		}
		if count == nil {
			return 0
		}
		return *count
	}
	sameFINs := func(p Party) bool { return finRepeats(f, p) == finRepeats(other, p) }
	oneFIN := func(p Party) bool { return finRepeats(f, p)+finRepeats(other, p) == 0 }
	for _, wave := range []struct {
		field     string
		seen      *int64
		sender    Party
		at, there *time.Time
		certain   bool
	}{
		{"syn_transit_ns", f.SYNTransit, ClientParty, f.SYNAt, other.SYNAt, sameCount(f.ClientSYNRepeats, other.ClientSYNRepeats)},
		{"syn_ack_transit_ns", f.SYNACKTransit, ServerParty, f.SYNACKAt, other.SYNACKAt, sameCount(f.ServerSYNACKRepeats, other.ServerSYNACKRepeats)},
		{"fin1_transit_ns", f.FIN1Transit, first, f.FIN1At, other.FIN1At, sameFINs(first)},
		{"ack1_transit_ns", f.ACK1Transit, second, f.ACK1At, other.ACK1At, oneFIN(first)},
		{"fin2_transit_ns", f.FIN2Transit, second, f.FIN2At, other.FIN2At, sameFINs(second)},
		{"ack2_transit_ns", f.ACK2Transit, first, f.ACK2At, other.ACK2At, oneFIN(second)},
		{"rst_transit_ns", f.RSTTransit, f.RSTBy, f.RSTAt, other.RSTAt, f.RSTBy == other.RSTBy},
	} {
		expected := "null"
		if wave.at != nil && wave.there != nil && wave.certain {
			took := int64(wave.there.Sub(*wave.at))
			if wave.sender != faces {
				took = -took
			}
			if took >= 0 && took <= longestTransit {
				expected = fmt.Sprint(took)
			}
		}
		d.same(wave.field, expected, number(wave.seen))
	}
}

func sameCount(a, b *uint64) bool { return a != nil && b != nil && *a == *b }

func (d *differ) same(field, expected, seen string) {
	if expected != seen {
		d.add(field, expected, seen)
	}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
