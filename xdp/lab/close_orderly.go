package lab

import (
	"context"
	"time"
)

const (
	halfCloseData = 4242
	// closeWaitTime is how long the application of close_wait sits there, and
	// closeWaitSlack what the tap may be late with the first FIN's time.
	closeWaitTime  = 250 * time.Millisecond
	closeWaitSlack = 20 * time.Millisecond
	// thinkingTime is what a server takes to make up its answer.
	thinkingTime = 10 * time.Millisecond
)

// inOrder closes in four segments.
func inOrder(ctx context.Context, t *teardown) (Expectation, error) {
	return t.inOrder(ctx, 0)
}

// closeWait has the other application sit in CLOSE-WAIT for a known time.
func closeWait(ctx context.Context, t *teardown) (Expectation, error) {
	e, err := t.inOrder(ctx, closeWaitTime)
	e.MinFIN1ToFIN2NS = int64(closeWaitTime - closeWaitSlack)
	return e, err
}

// atOnce closes as soon as FIN1 is read: Linux delays a FIN's ACK (40 ms,
// TCP_ATO_MIN), so FIN2 carries it. Whether it did is asked of the kernel:
// where FIN2 is the one segment that the other end has sent since, it carried
// the ACK. Where there are more, a plain ACK was sent before it, by another CPU
// perhaps, and FIN2 may have overtaken it; or a stall has led to
// retransmissions, and the count is of something else.
func atOnce(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.begin(t.first.CloseWrite); err != nil {
		return Expectation{}, err
	}
	if err := t.finish(ctx); err != nil {
		return Expectation{}, err
	}
	sent, err := t.second.sent()
	if err != nil {
		return Expectation{}, err
	}
	info, err := t.first.info()
	if err != nil {
		return Expectation{}, err
	}
	if info.Total_retrans == 0 && sent.segments-t.atFIN1.segments == 1 {
		return t.expect(kindThreeWay), nil
	}
	return t.expect(kindThreeWay, kindFourWay), nil
}

// halfClose ends one half after the request, as a remote shell does, and the
// other end answers only then. The answer is the first segment that covers
// FIN1, if the kernel's ACK is not, and FIN2 is sent once it has been read.
func halfClose(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.begin(t.first.CloseWrite); err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, thinkingTime); err != nil {
		return Expectation{}, err
	}
	if err := t.second.send(halfCloseData); err != nil {
		return Expectation{}, err
	}
	if err := t.first.receive(halfCloseData); err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, settle); err != nil {
		return Expectation{}, err
	}
	return t.expect(kindFourWay), t.finish(ctx)
}

// orphan lets go of the initiator's socket altogether, as most programs do:
// what is left in the kernel, and from FIN-WAIT-2 on a mere TIME-WAIT socket,
// ends the connection. Nobody can ask such a socket for its state. That the
// other kernel has sent an ACK does not mean that FIN2, from another CPU,
// cannot overtake it, so both kinds are right.
func orphan(ctx context.Context, t *teardown) (Expectation, error) {
	if err := t.begin(t.first.Close); err != nil {
		return Expectation{}, err
	}
	err := t.second.await(ctx, "acknowledge the FIN", func() (bool, error) {
		sent, err := t.second.sent()
		return sent.segments > t.atFIN1.segments, err
	})
	if err != nil {
		return Expectation{}, err
	}
	if err := sleep(ctx, settle); err != nil {
		return Expectation{}, err
	}
	if err := t.second.CloseWrite(); err != nil {
		return Expectation{}, err
	}
	return t.expect(kindThreeWay, kindFourWay), t.second.awaitState(ctx, "receive the last ACK", tcpClose)
}
