package lab

import (
	"context"
	"fmt"
)

// onePort has a second client use the port of a first one, to the same server,
// while the first is connected. Both go by the gateway's address, so that NAT has to
// change the port of one (RFC 3022 section 2.2).
func onePort(ctx context.Context, s *stage) ([]Expectation, error) {
	first := s.tuple(listenPort)
	second := first
	second.ClientIP = s.second
	var inner Expectation
	outer, err := s.exchangeAndClose(ctx, first, requestOctets, ClientParty, func(ctx context.Context, t *teardown) (Expectation, error) {
		var err error
		if inner, err = s.exchangeAndClose(ctx, second, requestOctets, ServerParty, inOrder); err != nil {
			return Expectation{}, err
		}
		return inOrder(ctx, t)
	})
	if err != nil {
		return nil, err
	}
	if inner.Outside.ClientPort == outer.Outside.ClientPort {
		return nil, fmt.Errorf("both %s and %s are %s behind NAT", first, second, outer.Outside)
	}
	return []Expectation{outer, inner}, nil
}
