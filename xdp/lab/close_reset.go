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
func linger(_ context.Context, t *teardown) (Expectation, error) {
	if err := t.first.abort(); err != nil {
		return Expectation{}, err
	}
	return t.expectReset(), t.second.awaitReset()
}

// unread closes a socket with data in its receive queue, which Linux answers
// by a RST (RFC 2525 section 2.17). All of the data has arrived by then.
func unread(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.closeUnread(ctx); err != nil {
		return Expectation{}, err
	}
	return t.expectReset(), t.second.awaitReset()
}

// unreadAfterFIN closes one half, lets the other end's data lie, and then
// closes: FIN and RST come from the same side.
func unreadAfterFIN(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.begin(t.first.CloseWrite); err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, thinkingTime); err != nil {
		return Expectation{}, err
	}
	if err := t.closeUnread(ctx); err != nil {
		return Expectation{}, err
	}
	return t.expectReset(), t.second.awaitState(ctx, "be reset", tcpClose)
}

// dataAfterClose closes altogether. Nobody can read what the other end sends
// then, so the initiator's kernel resets (RFC 9293 section 3.10.7.4, RFC 2525
// section 2.16), be it from the socket or from what is left of it. What is left does not say
// what it has received: only where the data carried the ACK of FIN1 does a
// control segment tell of it, and not where a plain ACK went before.
func dataAfterClose(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.begin(t.first.Close); err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, thinkingTime); err != nil {
		return Expectation{}, err
	}
	if err := t.second.send(lateOctets); err != nil {
		return Expectation{}, err
	}
	if err := t.second.awaitState(ctx, "be reset", tcpClose); err != nil {
		return Expectation{}, err
	}
	sent, err := t.second.sent()
	if err != nil {
		return Expectation{}, err
	}
	e := t.expectReset()
	if sent.segments-t.atFIN1.segments != 1 {
		e.untold = t.initiator.other()
	}
	return e, nil
}

// closeUnread closes the first end once the other's data lies in its queue.
func (t *teardown) closeUnread(ctx context.Context) error {
	if err := t.second.send(unreadOctets); err != nil {
		return err
	}
	if err := t.first.awaitUnread(ctx, unreadOctets); err != nil {
		return err
	}
	return t.first.Close()
}
