package lab

import "context"

const (
	// unreadOctets lie in a receive queue when its socket is closed.
	unreadOctets = 3000
	// lateOctets arrive after their receiver has closed; one segment, since
	// the first of them is answered by a RST.
	lateOctets = 600
)

// linger resets a connection whose data has all been read.
func linger(aborter Party) func(context.Context, *stage) ([]Expectation, error) {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		c, err := s.connect(ctx, s.tuple(listenPort))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.exchange(ctx, aborter, requestOctets); err != nil {
			return nil, err
		}
		aborting, other := c.ends(aborter)
		if err := aborting.abort(); err != nil {
			return nil, err
		}
		if err := other.awaitReset(); err != nil {
			return nil, err
		}
		e := c.expect(aborter, kindReset)
		e.RSTBy = aborter
		e.spoken(aborter, answerOctets)
		return []Expectation{e}, nil
	}
}

// unread closes a socket with data in its receive queue, which Linux answers
// by a RST (RFC 2525 section 2.17). All of the data has arrived by then.
func unread(aborter Party) func(context.Context, *stage) ([]Expectation, error) {
	return func(ctx context.Context, s *stage) ([]Expectation, error) {
		c, err := s.connect(ctx, s.tuple(listenPort))
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.exchange(ctx, aborter, requestOctets); err != nil {
			return nil, err
		}
		closing, other := c.ends(aborter)
		if err := other.send(unreadOctets); err != nil {
			return nil, err
		}
		if err := closing.awaitUnread(ctx, unreadOctets); err != nil {
			return nil, err
		}
		if err := closing.Close(); err != nil {
			return nil, err
		}
		if err := other.awaitReset(); err != nil {
			return nil, err
		}
		e := c.expect(aborter, kindReset)
		e.RSTBy = aborter
		e.spoken(aborter, answerOctets+unreadOctets)
		return []Expectation{e}, nil
	}
}

// unreadAfterFIN has the client close its half, let the server's data lie,
// and then close: FIN and RST come from the same side.
func unreadAfterFIN(ctx context.Context, s *stage) ([]Expectation, error) {
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
	if err := t.second.send(unreadOctets); err != nil {
		return nil, err
	}
	if err := t.first.awaitUnread(ctx, unreadOctets); err != nil {
		return nil, err
	}
	if err := t.first.Close(); err != nil {
		return nil, err
	}
	if err := t.second.awaitState(ctx, "be reset", tcpClose); err != nil {
		return nil, err
	}
	return []Expectation{c.resetAfterFIN(unreadOctets)}, nil
}

// dataAfterClose has the client close altogether. Nobody can read what the
// server sends then, so the client's kernel resets (RFC 9293 section 3.10.7.4,
// RFC 2525 section 2.16), be it from the socket or from what is left of it.
func dataAfterClose(ctx context.Context, s *stage) ([]Expectation, error) {
	c, err := s.connect(ctx, s.tuple(listenPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.exchange(ctx, ClientParty, requestOctets); err != nil {
		return nil, err
	}
	if err := c.client.Close(); err != nil {
		return nil, err
	}
	if err := c.server.receiveEnd(); err != nil {
		return nil, err
	}
	if err := sleep(ctx, thinkingTime); err != nil {
		return nil, err
	}
	if err := c.server.send(lateOctets); err != nil {
		return nil, err
	}
	if err := c.server.awaitState(ctx, "be reset", tcpClose); err != nil {
		return nil, err
	}
	return []Expectation{c.resetAfterFIN(lateOctets)}, nil
}

// resetAfterFIN expects the client's FIN, then the server's data, then the
// client's RST.
func (c *connection) resetAfterFIN(late int) Expectation {
	e := c.expect(ClientParty, kindReset)
	e.RSTBy = ClientParty
	e.payload(requestOctets, answerOctets+late)
	e.HalfClosePayload = new(uint64(late))
	return e
}
