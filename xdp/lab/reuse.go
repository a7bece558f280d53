package lab

import (
	"context"
	"fmt"
	"time"
)

// reuseAfter lets the ISN's clock (64 ns, RFC 6528) run past what the first
// connection has sent and the timestamp's (1 ms) tick, so that the TIME-WAIT
// lets the second SYN in (RFC 6191).
const reuseAfter = 20 * time.Millisecond

// timeWaitReuse has the server close first, so that it holds the TIME-WAIT,
// and the client, which holds none, connect from the same port again.
func timeWaitReuse(ctx context.Context, s *stage) ([]Expectation, error) {
	t := s.tuple(listenPort)
	var expected []Expectation
	for _, reuse := range []bool{false, true} {
		e, err := s.exchangeAndClose(ctx, t, requestOctets, ServerParty, atOnce)
		if err != nil {
			return nil, fmt.Errorf("tuple used before %t: %w", reuse, err)
		}
		e.Reuse = reuse
		expected = append(expected, e)
		if err := sleep(ctx, reuseAfter); err != nil {
			return nil, err
		}
	}
	return expected, nil
}
