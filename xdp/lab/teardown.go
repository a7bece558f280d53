package lab

import (
	"context"
	"time"
)

const (
	requestOctets = 317
	answerOctets  = 2111
	// bulkOctets is some 1,400 segments in one direction, so that
	// retransmissions and coalesced ACKs would show.
	bulkOctets = 2<<20 + 12345
)

// closing closes a connection in its own way, and says what is to be expected.
type closing func(ctx context.Context, t *teardown) (Expectation, error)

// afterExchange is a play on real sockets: the initiator asks and is answered,
// then the connection is closed.
func afterExchange(initiator Party, end closing) play {
	return afterRequest(requestOctets, initiator, end)
}

// afterRequest is afterExchange with a request of so many octets.
func afterRequest(octets int, initiator Party, end closing) play {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		e, err := s.exchangeAndClose(ctx, s.tuple(listenPort), octets, initiator, end)
		if err != nil {
			return nil, err
		}
		return []Expectation{e}, nil
	}
}

// exchangeAndClose makes one connection on a tuple. The initiator asks, so that
// the answer leaves it no ACK to send.
func (s *stage) exchangeAndClose(ctx context.Context, on Tuple, octets int, initiator Party, end closing) (Expectation, error) {
	c, err := s.connect(ctx, on)
	if err != nil {
		return Expectation{}, err
	}
	defer c.Close()
	t := &teardown{connection: c, initiator: initiator}
	t.first, t.second = c.ends(initiator)
	if err := exchange(ctx, t.first, t.second, octets); err != nil {
		return Expectation{}, err
	}
	return end(ctx, t)
}

// teardown is one close, told by the sockets themselves.
type teardown struct {
	*connection
	initiator     Party
	first, second *end     // first is the initiator's
	atFIN1        *account // of second; nil where FIN1 was not sent
}

// begin sends FIN1 by a close of the first end, and waits until the other
// application has read it. The other end must owe no ACK.
func (t *teardown) begin(closeFirst func() error) error {
	before, err := t.second.sent()
	if err != nil {
		return err
	}
	t.atFIN1 = &before
	if err := closeFirst(); err != nil {
		return err
	}
	return t.second.receiveEnd()
}

// awaitAcknowledged waits until the other kernel has acknowledged FIN1 and
// the initiator has received that: its socket is in FIN-WAIT-2.
func (t *teardown) awaitAcknowledged(ctx context.Context) error {
	if err := t.first.awaitState(ctx, "enter FIN-WAIT-2", tcpFinWait2); err != nil {
		return err
	}
	return sleep(ctx, settle)
}

// finish sends FIN2 and waits until its ACK has arrived.
func (t *teardown) finish(ctx context.Context) error {
	if err := t.second.CloseWrite(); err != nil {
		return err
	}
	if err := t.first.receiveEnd(); err != nil {
		return err
	}
	return t.second.awaitState(ctx, "receive the last ACK", tcpClose)
}

// inOrder closes in four segments, with the other application waiting at least
// so long after it has read FIN1, and until that is acknowledged.
func (t *teardown) inOrder(ctx context.Context, wait time.Duration) (Expectation, error) {
	if err := t.begin(t.first.CloseWrite); err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, wait); err != nil {
		return Expectation{}, err
	}
	if err := t.awaitAcknowledged(ctx); err != nil {
		return Expectation{}, err
	}
	return t.expect(kindFourWay), t.finish(ctx)
}

// expect is what the ends know once both have sent all that they will.
func (t *teardown) expect(kinds ...string) Expectation {
	e := t.attempt.expect(t.initiator, kinds...)
	e.ClientPayload, e.ServerPayload = new(t.client.written), new(t.server.written)
	if t.atFIN1 != nil {
		e.HalfClosePayload = new(t.second.written - t.atFIN1.payload)
	}
	return e
}

// expectReset is expect for a RST from the initiator.
func (t *teardown) expectReset() Expectation {
	e := t.expect(kindReset)
	e.RSTBy = t.initiator
	return e
}
