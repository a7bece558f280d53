package lab

import (
	"context"
	"time"
)

const (
	requestOctets = 317
	answerOctets  = 2111
	halfCloseData = 4242
	// closeWaitTime is how long the application of close_wait sits there, and
	// closeWaitSlack what the tap may be late with the first FIN's time.
	closeWaitTime  = 250 * time.Millisecond
	closeWaitSlack = 20 * time.Millisecond
	// thinkingTime is what a server takes to make up its answer.
	thinkingTime = 10 * time.Millisecond
)

// teardown is one orderly close, told by the sockets themselves.
type teardown struct {
	first, second *end
	sentBefore    uint32 // segments of second before FIN1
}

// sent returns the segments an end has sent, retransmissions left out.
func (e *end) sent() (uint32, error) {
	info, err := e.info()
	return info.Segs_out - info.Total_retrans, err
}

// beginClose sends FIN1 and waits until the other application has read it.
// The other end must owe no ACK.
func (c *connection) beginClose(initiator Party) (*teardown, error) {
	t := &teardown{}
	t.first, t.second = c.ends(initiator)
	var err error
	if t.sentBefore, err = t.second.sent(); err != nil {
		return nil, err
	}
	if err = t.first.CloseWrite(); err != nil {
		return nil, err
	}
	return t, t.second.receiveEnd()
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

// kinds tells after finish what FIN2 was: where it is the one segment that the
// other end has sent since, it carried the ACK. Where there are more, a plain
// ACK was sent before it, by another CPU perhaps, and FIN2 may have overtaken
// it; or a stall has led to retransmissions, and the count is of something else.
func (t *teardown) kinds() ([]string, error) {
	sent, err := t.second.sent()
	if err != nil {
		return nil, err
	}
	info, err := t.first.info()
	if err != nil {
		return nil, err
	}
	if info.Total_retrans == 0 && sent-t.sentBefore == 1 {
		return []string{kindThreeWay}, nil
	}
	return []string{kindThreeWay, kindFourWay}, nil
}

// inOrder closes in four segments. The initiator speaks first, so that the
// other's answer leaves it no ACK to send.
func inOrder(initiator Party) func(context.Context, *stage) ([]Expectation, error) {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		c, err := s.connect(ctx, s.tuple(listenPort))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.exchange(ctx, initiator, requestOctets); err != nil {
			return nil, err
		}
		if err := c.closeInOrder(ctx, initiator, 0); err != nil {
			return nil, err
		}
		e := c.expect(initiator, kindFourWay)
		e.spoken(initiator, answerOctets)
		e.HalfClosePayload = new(uint64(0))
		return []Expectation{e}, nil
	}
}

// closeInOrder closes with the other application waiting at least so long
// after it has read FIN1, and until that is acknowledged.
func (c *connection) closeInOrder(ctx context.Context, initiator Party, wait time.Duration) error {
	t, err := c.beginClose(initiator)
	if err != nil {
		return err
	}
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	if err := t.awaitAcknowledged(ctx); err != nil {
		return err
	}
	return t.finish(ctx)
}

// atOnce closes as soon as FIN1 is read: Linux delays a FIN's ACK (40 ms,
// TCP_ATO_MIN), so FIN2 carries it. Whether it did is asked of the kernel.
func atOnce(initiator Party) func(context.Context, *stage) ([]Expectation, error) {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		c, err := s.connect(ctx, s.tuple(listenPort))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		kinds, err := c.exchangeAndCloseAtOnce(ctx, initiator)
		if err != nil {
			return nil, err
		}
		e := c.expect(initiator, kinds...)
		e.spoken(initiator, answerOctets)
		e.HalfClosePayload = new(uint64(0))
		return []Expectation{e}, nil
	}
}

func (c *connection) exchangeAndCloseAtOnce(ctx context.Context, initiator Party) ([]string, error) {
	if err := c.exchange(ctx, initiator, requestOctets); err != nil {
		return nil, err
	}
	t, err := c.beginClose(initiator)
	if err != nil {
		return nil, err
	}
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	return t.kinds()
}

// closeWait has the server's application sit in CLOSE-WAIT for a known time.
func closeWait(ctx context.Context, s *stage) ([]Expectation, error) {
	c, err := s.connect(ctx, s.tuple(listenPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.exchange(ctx, ClientParty, requestOctets); err != nil {
		return nil, err
	}
	if err := c.closeInOrder(ctx, ClientParty, closeWaitTime); err != nil {
		return nil, err
	}
	e := c.expect(ClientParty, kindFourWay)
	e.payload(requestOctets, answerOctets)
	e.HalfClosePayload = new(uint64(0))
	e.MinFIN1ToFIN2NS = int64(closeWaitTime - closeWaitSlack)
	return []Expectation{e}, nil
}

// halfClose has the client end its half after the request, as a remote shell
// does, and the server answer only then. The answer is the first segment that
// covers FIN1, if the kernel's ACK is not, and FIN2 is sent once the client
// has read it.
func halfClose(ctx context.Context, s *stage) ([]Expectation, error) {
	c, err := s.connect(ctx, s.tuple(listenPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.exchange(ctx, ClientParty, requestOctets); err != nil {
		return nil, err
	}
	t, err := c.beginClose(ClientParty)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, thinkingTime); err != nil {
		return nil, err
	}
	if err := t.second.send(halfCloseData); err != nil {
		return nil, err
	}
	if err := t.first.receive(halfCloseData); err != nil {
		return nil, err
	}
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	if err := t.finish(ctx); err != nil {
		return nil, err
	}
	e := c.expect(ClientParty, kindFourWay)
	e.payload(requestOctets, answerOctets+halfCloseData)
	e.HalfClosePayload = new(uint64(halfCloseData))
	return []Expectation{e}, nil
}

// orphan has the client let go of its socket altogether, as most programs do:
// what is left in the kernel, and from FIN-WAIT-2 on a mere TIME-WAIT socket,
// ends the connection. Nobody can ask such a socket for its state. That the
// server's kernel has sent an ACK does not mean that FIN2, from another CPU,
// cannot overtake it, so both kinds are right.
func orphan(ctx context.Context, s *stage) ([]Expectation, error) {
	c, err := s.connect(ctx, s.tuple(listenPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.exchange(ctx, ClientParty, requestOctets); err != nil {
		return nil, err
	}
	before, err := c.server.sent()
	if err != nil {
		return nil, err
	}
	if err := c.client.Close(); err != nil {
		return nil, err
	}
	if err := c.server.receiveEnd(); err != nil {
		return nil, err
	}
	err = c.server.await(ctx, "acknowledge the FIN", func() (bool, error) {
		sent, err := c.server.sent()
		return sent > before, err
	})
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	if err := c.server.CloseWrite(); err != nil {
		return nil, err
	}
	if err := c.server.awaitState(ctx, "receive the last ACK", tcpClose); err != nil {
		return nil, err
	}
	e := c.expect(ClientParty, kindThreeWay, kindFourWay)
	e.payload(requestOctets, answerOctets)
	e.HalfClosePayload = new(uint64(0))
	return []Expectation{e}, nil
}
