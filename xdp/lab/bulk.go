package lab

import "context"

// bulkOctets is some 1,400 segments in one direction.
const bulkOctets = 2<<20 + 12345

// bulk moves so much data that retransmissions and coalesced ACKs would show.
func bulk(ctx context.Context, s *stage) ([]Expectation, error) {
	c, err := s.connect(ctx, s.tuple(listenPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.exchange(ctx, ClientParty, bulkOctets); err != nil {
		return nil, err
	}
	if err := c.closeInOrder(ctx, ClientParty, 0); err != nil {
		return nil, err
	}
	e := c.expect(ClientParty, kindFourWay)
	e.payload(bulkOctets, answerOctets)
	e.HalfClosePayload = new(uint64(0))
	return []Expectation{e}, nil
}
