package flowtable

import (
	"fmt"
	"testing"
)

// stated is a step and the states of client and server after it.
type stated struct {
	step
	client, server State
}

var openStates = []stated{
	{step{0, c, fS, 0, 0, 0}, StateSYNSent, StateClosed},
	{step{1, s, fSA, 0, 1, 0}, StateSYNSent, StateSYNReceived},
	{step{2, c, fA, 1, 1, 0}, StateEstablished, StateEstablished},
	{step{3, s, fPA, 1, 1, 20}, StateEstablished, StateEstablished},
}

// TestStates follows both ends through RFC 9293 figures 5, 12 and 13.
func TestStates(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []stated
	}{{
		"orderly", []stated{
			{step{4, c, fFA, 1, 21, 0}, StateFINWait1, StateEstablished},
			{step{5, s, fA, 21, 2, 0}, StateFINWait2, StateCloseWait},
			{step{6, s, fPA, 21, 2, 5}, StateFINWait2, StateCloseWait},
			{step{7, c, fA, 2, 26, 0}, StateFINWait2, StateCloseWait},
			{step{8, s, fFA, 26, 2, 0}, StateFINWait2, StateLastACK},
			{step{9, s, fFA, 26, 2, 0}, StateFINWait2, StateLastACK},
			{step{10, c, fA, 2, 27, 0}, StateTimeWait, StateClosed},
			{step{11, s, fFA, 26, 2, 0}, StateTimeWait, StateClosed},
			{step{12, s, fR, 27, 0, 0}, StateTimeWait, StateClosed},
		},
	}, {
		"by the server in three steps", []stated{
			{step{4, s, fFA, 21, 1, 0}, StateEstablished, StateFINWait1},
			{step{5, c, fA, 1, 21, 0}, StateEstablished, StateFINWait1},
			{step{6, c, fFA, 1, 22, 0}, StateLastACK, StateFINWait2},
			{step{7, s, fA, 22, 2, 0}, StateClosed, StateTimeWait},
		},
	}, {
		"simultaneous", []stated{
			{step{4, c, fFA, 1, 21, 0}, StateFINWait1, StateEstablished},
			{step{5, s, fFA, 21, 1, 0}, StateFINWait1, StateFINWait1},
			{step{6, c, fA, 2, 22, 0}, StateClosing, StateFINWait2},
			{step{7, s, fA, 22, 2, 0}, StateTimeWait, StateTimeWait},
		},
	}, {
		"reset in CLOSE-WAIT", []stated{
			{step{4, c, fFA, 1, 21, 0}, StateFINWait1, StateEstablished},
			{step{5, s, fA, 21, 2, 0}, StateFINWait2, StateCloseWait},
			{step{6, s, fRA, 21, 2, 0}, StateClosed, StateClosed},
			{step{7, s, fFA, 21, 2, 0}, StateClosed, StateClosed},
		},
	}} {
		t.Run(test.name, func(t *testing.T) {
			for _, v := range []conversation{between(40000, 443), between(443, 40000)} {
				b := newBench(t, Config{Timeouts: ReplayTimeouts()})
				for _, st := range append(append([]stated(nil), openStates...), test.steps...) {
					b.play(v, st.step)
					r := b.live()
					b.same(fmt.Sprintf("states at %d ms", st.at), fmt.Sprint(r.Client.State, r.Server.State), fmt.Sprint(st.client, st.server))
				}
			}
		})
	}
}

func TestMidstreamStates(t *testing.T) {
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(between(40000, 443), step{0, s, fPA, 21, 11, 5})
	b.same("joined midway", story(ptr(b.live())), "open  ESTABLISHED/ESTABLISHED")
	b.play(between(40000, 443), step{1, c, fFA, 11, 26, 0}, step{2, s, fFA, 26, 12, 0}, step{3, c, fA, 12, 27, 0})
	b.same("closed", story(ptr(b.live())), "three_way client TIME-WAIT/CLOSED complete fin1:1 ack1:2 fin2:2 ack2:3")
}

func ptr[T any](v T) *T { return &v }
