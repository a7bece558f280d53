package lab

import (
	"context"
	"math"

	"github.com/finwait/finwait/flowtable/segment"
)

// The flags of the lines below.
const (
	flagsSYN    = segment.SYN
	flagsSYNACK = segment.SYN | segment.ACK
	flagsACK    = segment.ACK
	flagsData   = segment.ACK | segment.PSH
	flagsFIN    = segment.FIN | segment.ACK
)

// opening is a handshake, a request and an answer, all of it acknowledged.
var opening = []say{
	{by: ClientParty, tcpFlags: flagsSYN},
	{by: ServerParty, tcpFlags: flagsSYNACK},
	{by: ClientParty, tcpFlags: flagsACK},
	{by: ClientParty, tcpFlags: flagsData, payload: requestOctets},
	{by: ServerParty, tcpFlags: flagsData, payload: 1111},
	{by: ClientParty, tcpFlags: flagsACK},
}

// fourSegments are the four waves, the client first.
var fourSegments = []say{
	{by: ClientParty, tcpFlags: flagsFIN},
	{by: ServerParty, tcpFlags: flagsACK},
	{by: ServerParty, tcpFlags: flagsFIN},
	{by: ClientParty, tcpFlags: flagsACK},
}

// crossingFINs has both ends send their FIN before either has received the
// other's (RFC 9293 section 3.6, case 3).
func crossingFINs(ctx context.Context, s *stage) ([]Expectation, error) {
	var expected []Expectation
	for _, first := range []Party{ClientParty, ServerParty} {
		v := s.converse(1_000_000, 2_000_000)
		err := v.speak(ctx, append(opening[:len(opening):len(opening)],
			say{by: first, tcpFlags: flagsFIN},
			say{by: first.other(), tcpFlags: flagsFIN, deaf: true},
			say{by: first, tcpFlags: flagsACK},
			say{by: first.other(), tcpFlags: flagsACK},
		)...)
		if err != nil {
			return nil, err
		}
		expected = append(expected, v.expect(first, kindSimultaneous, ""))
	}
	return expected, nil
}

// sequenceWrap chooses the ISNs so that the client's FIN is the last octet
// before 2^32 and the server's answer crosses it.
func sequenceWrap(ctx context.Context, s *stage) ([]Expectation, error) {
	const synOctet = 1
	v := s.converse(math.MaxUint32-synOctet-requestOctets, math.MaxUint32-100)
	if err := v.speak(ctx, append(opening[:len(opening):len(opening)], fourSegments...)...); err != nil {
		return nil, err
	}
	return []Expectation{v.expect(ClientParty, kindFourWay, "")}, nil
}

// finRetransmitted repeats the client's FIN twice, the server's once, and
// some of the server's data, which counts once.
func finRetransmitted(ctx context.Context, s *stage) ([]Expectation, error) {
	v := s.converse(3_000_000, 4_000_000)
	err := v.speak(ctx, append(opening[:len(opening):len(opening)],
		say{by: ServerParty, again: true},
		say{by: ClientParty, tcpFlags: flagsACK},
		say{by: ClientParty, tcpFlags: flagsFIN},
		say{by: ClientParty, again: true},
		say{by: ClientParty, again: true},
		say{by: ServerParty, tcpFlags: flagsACK},
		say{by: ServerParty, tcpFlags: flagsFIN},
		say{by: ServerParty, again: true},
		say{by: ClientParty, tcpFlags: flagsACK},
		say{by: ClientParty, tcpFlags: flagsACK},
	)...)
	if err != nil {
		return nil, err
	}
	return []Expectation{v.expect(ClientParty, kindFourWay, "")}, nil
}

// tagged has a plain connection behind VLAN tags, outermost first.
func tagged(encapsulation string, vlans ...int) func(context.Context, *stage) ([]Expectation, error) {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		v := s.converse(5_000_000, 6_000_000, vlans...)
		if err := v.speak(ctx, append(opening[:len(opening):len(opening)], fourSegments...)...); err != nil {
			return nil, err
		}
		return []Expectation{v.expect(ClientParty, kindFourWay, encapsulation)}, nil
	}
}
