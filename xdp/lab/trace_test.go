package lab

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The paths that Linux reports for the ends of the scenarios.
var (
	opened     = []SocketState{SocketSYNSent, SocketEstablished}
	accepted   = []SocketState{SocketSYNReceived, SocketEstablished}
	closesFrom = []SocketState{SocketFINWait1, SocketFINWait2, SocketClosed}
	follows    = []SocketState{SocketCloseWait, SocketLastACK, SocketClosed}
	isReset    = []SocketState{SocketClosed}
	resetLate  = []SocketState{SocketCloseWait, SocketClosed}
)

// truthOf is what the kernel is expected to report of a scenario.
type truthOf struct {
	client, server []SocketState
	initiator      Party
	waves          bool // all of them
}

func truths() map[string]truthOf {
	clientFirst := truthOf{slices.Concat(opened, closesFrom), slices.Concat(accepted, follows), ClientParty, true}
	serverFirst := truthOf{slices.Concat(opened, follows), slices.Concat(accepted, closesFrom), ServerParty, true}
	aborted := truthOf{slices.Concat(opened, isReset), slices.Concat(accepted, isReset), Nobody, false}
	afterFIN := truthOf{slices.Concat(opened, closesFrom), slices.Concat(accepted, resetLate), ClientParty, false}
	none := truthOf{[]SocketState{SocketSYNSent, SocketClosed}, nil, Nobody, false}
	return map[string]truthOf{
		"client_first": clientFirst, "client_first_at_once": clientFirst, "half_close": clientFirst,
		"close_wait": clientFirst, "bulk": clientFirst, "orphan": clientFirst,
		"server_first": serverFirst, "server_first_at_once": serverFirst, "time_wait_reuse": serverFirst,
		"linger_client": aborted, "linger_server": aborted, "unread_client": aborted, "unread_server": aborted,
		"unread_after_fin": afterFIN, "data_after_close": afterFIN,
		"refused": none, "unanswered": none,
	}
}

// TestTraceOfEveryScenario wants the states in the kernel that every scenario
// on real sockets is there for.
func TestTraceOfEveryScenario(t *testing.T) {
	network := build(t, Config{})
	trace, err := network.Trace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer trace.Close()
	expected, err := network.Traffic(t.Context(), time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	told := map[Tuple][]Truth{}
	for _, truth := range Truths(trace.Events()) {
		told[truth.Tuple] = append(told[truth.Tuple], truth)
	}
	slices.SortFunc(expected, func(a, b Expectation) int { return int(a.StartedNS - b.StartedNS) })
	table, checked := truths(), map[string]int{}
	whole, inPart := 0, 0
	for _, e := range expected {
		want, real := table[e.Scenario]
		if !real {
			if len(told[e.Tuple]) > 0 {
				t.Errorf("%s: a kernel knows the crafted %s", e.Scenario, e.Tuple)
			}
			continue
		}
		if len(told[e.Tuple]) == 0 {
			t.Errorf("%s: the kernel told nothing of %s", e.Scenario, e.Tuple)
			continue
		}
		got := &told[e.Tuple][0]
		told[e.Tuple] = told[e.Tuple][1:]
		if !got.Whole() {
			want.checkPart(t, &e, got)
			inPart++
			continue
		}
		want.check(t, &e, got)
		checked[e.Scenario]++
		whole++
	}
	if inPart > whole/10 {
		t.Errorf("only %d connections were told as a whole, %d in part", whole, inPart)
	}
	for name := range table {
		if checked[name] < 2 {
			t.Errorf("scenario %q was checked %d times", name, checked[name])
		}
	}
}

// checkPart wants what was told to be a part of what happened.
func (want *truthOf) checkPart(t *testing.T, e *Expectation, got *Truth) {
	t.Helper()
	t.Logf("%s: told in part: client %v, server %v", e.Scenario, got.Client.Path, got.Server.Path)
	if !within(got.Client.Path, want.client) || !within(got.Server.Path, want.server) {
		t.Errorf("%s: client %v, server %v; expected parts of %v, %v", e.Scenario, got.Client.Path, got.Server.Path, want.client, want.server)
	}
}

// within tells whether a path is another one with states left out.
func within(part, path []SocketState) bool {
	for _, state := range path {
		if len(part) > 0 && part[0] == state {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func (want *truthOf) check(t *testing.T, e *Expectation, got *Truth) {
	t.Helper()
	if !slices.Equal(got.Client.Path, want.client) || !slices.Equal(got.Server.Path, want.server) {
		t.Errorf("%s: client %v, server %v; expected %v, %v", e.Scenario, got.Client.Path, got.Server.Path, want.client, want.server)
		return
	}
	w := got.Waves()
	if w.Initiator != want.initiator || got.Client.AtNS[0] < e.StartedNS {
		t.Errorf("%s: initiator %q, begun %d; expected %q, not before %d", e.Scenario, w.Initiator, got.Client.AtNS[0], want.initiator, e.StartedNS)
	}
	if !want.waves {
		return
	}
	// Causes come before effects; the clock is one.
	order := []Wave{w.FIN1, w.CloseWait, w.FIN2, w.ACK2}
	for i, wave := range order {
		if !wave.Seen || i > 0 && wave.AtNS < order[i-1].AtNS {
			t.Errorf("%s: waves out of order: %+v", e.Scenario, w)
		}
	}
	if !w.ACK1.Seen || w.ACK1.AtNS < w.CloseWait.AtNS || !w.TimeWait.Seen || w.TimeWait.AtNS < w.ACK1.AtNS {
		t.Errorf("%s: the initiator's side of the waves is out of order: %+v", e.Scenario, w)
	}
	if sat := w.FIN2.AtNS - w.CloseWait.AtNS; e.Scenario == "close_wait" && sat < int64(closeWaitTime) {
		t.Errorf("%s: %d ns in CLOSE-WAIT, expected at least %d", e.Scenario, sat, int64(closeWaitTime))
	}
}

// TestTraceEndsWithItsContext and leaves nothing to be closed.
func TestTraceEndsWithItsContext(t *testing.T) {
	network := build(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	trace, err := network.Trace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-trace.done
	if err := trace.Close(); err != nil {
		t.Error(err)
	}
	if err := network.Close(); err != nil {
		t.Error(err)
	}
	if _, err := network.Trace(t.Context()); err == nil {
		t.Error("a closed lab was traced")
	}
}

// TestTruths pairs sockets of a tuple that was used twice, and takes crossing
// FINs.
func TestTruths(t *testing.T) {
	expected, _ := agreeing()
	entered := map[uint64]SocketState{}
	change := func(at int64, in Namespace, cookie uint64, before, state SocketState) Event {
		old, known := entered[cookie]
		if !known {
			old = before
		}
		entered[cookie] = state
		here := ends(expected.Tuple)
		if in == Server {
			here[0], here[1] = here[1], here[0]
		}
		return Event{AtNS: at, In: in, Cookie: cookie, Old: old, New: state, Local: here[0], Remote: here[1]}
	}
	client := func(at int64, cookie uint64, state SocketState) Event {
		return change(at, Client, cookie, SocketClosed, state)
	}
	server := func(at int64, cookie uint64, state SocketState) Event {
		return change(at, Server, cookie, SocketListen, state)
	}
	got := Truths([]Event{
		{AtNS: 0, In: Server, Cookie: 9, New: SocketListen, Local: ends(expected.Tuple)[1]},
		client(1, 1, SocketSYNSent), server(2, 2, SocketSYNReceived), client(3, 1, SocketFINWait1), server(4, 2, SocketFINWait1),
		server(5, 2, SocketClosing), client(5, 1, SocketClosing), client(6, 1, SocketClosed),
		client(7, 3, SocketSYNSent), server(8, 4, SocketSYNReceived), client(9, 3, SocketClosed), server(9, 4, SocketClosed),
	})
	if len(got) != 2 || got[0].Server.Cookie != 2 || got[1].Client.Cookie != 3 || got[1].Server.Cookie != 4 {
		t.Fatalf("truths %+v", got)
	}
	w := got[0].Waves()
	if w.Initiator != ClientParty || w.FIN1 != (Wave{3, true}) || w.FIN2 != (Wave{4, true}) || w.ACK1.Seen || w.ACK2.Seen {
		t.Errorf("waves of crossing FINs %+v", w)
	}
	if got[0].Whole() || !got[0].Client.Whole() || !got[1].Whole() {
		t.Errorf("told as a whole: %v (its client %v) and %v", got[0].Whole(), got[0].Client.Whole(), got[1].Whole())
	}
	if w = got[1].Waves(); w != (Waves{}) {
		t.Errorf("waves without a FIN %+v", w)
	}
	for state, name := range map[SocketState]string{SocketFINWait2: "FIN-WAIT-2", SocketNewSYNReceived: "NEW-SYN-RECEIVED", 99: "state 99"} {
		if state.String() != name {
			t.Errorf("state %d is called %q", state, state)
		}
	}
}

// TestUntold: lives of which a change was left out are not whole, whichever it
// was, and whichever end's.
func TestUntold(t *testing.T) {
	expected, _ := agreeing()
	here, there := ends(expected.Tuple)[0], ends(expected.Tuple)[1]
	var all []Event
	for i, old := range slices.Concat([]SocketState{SocketClosed}, opened, closesFrom[:2]) {
		state := slices.Concat(opened, closesFrom)[i]
		all = append(all, Event{AtNS: int64(i), In: Client, Cookie: 1, Old: old, New: state, Local: here, Remote: there})
	}
	for i, old := range slices.Concat([]SocketState{SocketListen}, accepted, follows[:2]) {
		state := slices.Concat(accepted, follows)[i]
		all = append(all, Event{AtNS: int64(i) + 1, In: Server, Cookie: 2, Old: old, New: state, Local: there, Remote: here})
	}
	if got := Truths(all); len(got) != 1 || !got[0].Whole() {
		t.Errorf("all changes tell %+v", got)
	}
	for i := range all {
		if got := Truths(slices.Delete(slices.Clone(all), i, i+1)); len(got) != 1 || got[0].Whole() {
			t.Errorf("without its %s in %s the life is told as %+v", all[i].New, all[i].In, got)
		}
	}
}

// ends are the two addresses of a tuple, the client's first.
func ends(t Tuple) [2]netip.AddrPort {
	return [2]netip.AddrPort{netip.AddrPortFrom(t.ClientIP, t.ClientPort), netip.AddrPortFrom(t.ServerIP, t.ServerPort)}
}
