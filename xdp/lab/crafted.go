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
		err := v.speak(ctx, opening, []say{
			{by: first, tcpFlags: flagsFIN},
			{by: first.other(), tcpFlags: flagsFIN, deaf: true},
			{by: first, tcpFlags: flagsACK},
			{by: first.other(), tcpFlags: flagsACK},
		})
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
	return v.closeInOrder(ctx, fourSegments, "")
}

// finRetransmitted repeats the client's FIN twice, the server's once, and
// some of the server's data, which counts once.
func finRetransmitted(ctx context.Context, s *stage) ([]Expectation, error) {
	v := s.converse(3_000_000, 4_000_000)
	return v.closeInOrder(ctx, []say{
		{by: ServerParty, again: true},
		{by: ClientParty, tcpFlags: flagsACK},
		{by: ClientParty, tcpFlags: flagsFIN},
		{by: ClientParty, again: true},
		{by: ClientParty, again: true},
		{by: ServerParty, tcpFlags: flagsACK},
		{by: ServerParty, tcpFlags: flagsFIN},
		{by: ServerParty, again: true},
		{by: ClientParty, tcpFlags: flagsACK},
		{by: ClientParty, tcpFlags: flagsACK},
	}, "")
}

// tagged has a plain connection behind VLAN tags, outermost first.
func tagged(encapsulation string, vlans ...int) play {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		return s.converse(5_000_000, 6_000_000, vlans...).closeInOrder(ctx, fourSegments, encapsulation)
	}
}

// closeInOrder speaks the opening and then lines in which the client closes
// first, in four waves.
func (v *conversation) closeInOrder(ctx context.Context, lines []say, encapsulation string) ([]Expectation, error) {
	if err := v.speak(ctx, opening, lines); err != nil {
		return nil, err
	}
	return []Expectation{v.expect(ClientParty, kindFourWay, encapsulation)}, nil
}
