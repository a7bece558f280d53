package flowtable

import (
	"math"
	"testing"
)

// opened is a handshake and a request with its answer: the client's next
// sequence number is 11, the server's 21.
var opened = []step{
	{0, c, fS, 0, 0, 0},
	{1, s, fSA, 0, 1, 0},
	{2, c, fA, 1, 1, 0},
	{3, c, fPA, 1, 1, 10},
	{4, s, fPA, 1, 11, 20},
}

func after(steps []step, more ...step) []step {
	return append(append([]step(nil), steps...), more...)
}

var kindTests = []struct {
	name          string
	steps         []step
	story, counts string
}{{
	"four way by the client",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fA, 21, 12, 0}, step{8, s, fFA, 21, 12, 0}, step{11, c, fA, 12, 22, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:8 ack2:11", "5/10/0/0 4/20/0/0",
}, {
	"four way by the server",
	after(opened, step{5, s, fFA, 21, 11, 0}, step{6, c, fA, 11, 22, 0}, step{8, c, fFA, 11, 22, 0}, step{11, s, fA, 22, 12, 0}),
	"four_way server CLOSED/TIME-WAIT complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:8 ack2:11", "5/10/0/0 4/20/0/0",
}, {
	"three way",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fA, 12, 22, 0}),
	"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7", "5/10/0/0 3/20/0/0",
}, {
	"three way with data on both FINs",
	after(opened, step{5, c, fFA, 11, 21, 7}, step{6, s, fFA, 21, 19, 9}, step{7, c, fA, 19, 31, 0}),
	"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7", "5/17/0/0 3/29/0/0",
}, {
	"simultaneous",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 11, 0}, step{7, s, fA, 22, 12, 0}, step{8, c, fA, 12, 22, 0}),
	"simultaneous client TIME-WAIT/TIME-WAIT complete syn:0 syn_ack:1 est:2 fin1:5 ack1:7 fin2:6 ack2:8", "5/10/0/0 4/20/0/0",
}, {
	"simultaneous, the other side's FIN seen first",
	after(opened, step{5, s, fFA, 21, 11, 0}, step{6, c, fFA, 11, 21, 0}, step{7, s, fA, 22, 12, 0}, step{8, c, fA, 12, 22, 0}),
	"simultaneous server TIME-WAIT/TIME-WAIT complete syn:0 syn_ack:1 est:2 fin1:5 ack1:8 fin2:6 ack2:7", "5/10/0/0 4/20/0/0",
}, {
	"a FIN without ACK crosses",
	after(opened, step{5, c, fF, 11, 0, 0}, step{6, s, fF, 21, 0, 0}),
	"simultaneous client FIN-WAIT-1/FIN-WAIT-1 syn:0 syn_ack:1 est:2 fin1:5 fin2:6", "4/10/0/0 3/20/0/0",
}, {
	"data carries the ACK of the FIN",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{7, s, fPA, 21, 12, 100}, step{8, c, fA, 12, 121, 0}, step{9, s, fFA, 121, 12, 0}, step{10, c, fA, 12, 122, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:7 fin2:9 ack2:10", "6/10/0/0 4/120/0/0",
}, {
	"the ACK overtakes the FIN",
	after(opened, step{5, s, fA, 21, 12, 0}, step{6, c, fFA, 11, 21, 0}, step{8, s, fFA, 21, 12, 0}, step{9, c, fA, 12, 22, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:6 ack1:5 fin2:8 ack2:9", "5/10/0/0 4/20/0/0",
}, {
	"the last ACK overtakes FIN2",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fA, 21, 12, 0}, step{7, c, fA, 12, 22, 0}, step{8, s, fFA, 21, 12, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:8 ack2:7", "5/10/0/0 4/20/0/0",
}, {
	"an old ACK after the covering one",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fA, 21, 12, 0}, step{7, s, fA, 21, 11, 0}, step{8, s, fFA, 21, 12, 0}, step{9, c, fA, 12, 22, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:8 ack2:9", "5/10/0/0 5/20/0/0",
}, {
	"FIN2 overtakes FIN1",
	after(opened, step{6, s, fFA, 21, 12, 9}, step{5, c, fFA, 11, 21, 0}, step{7, c, fA, 12, 31, 0}),
	"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7", "5/10/0/0 3/29/0/0",
}, {
	"ACK1 and FIN2 overtake FIN1",
	after(opened, step{6, s, fA, 21, 12, 0}, step{8, s, fFA, 21, 12, 0}, step{5, c, fFA, 11, 21, 0}, step{9, c, fA, 12, 22, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:8 ack2:9", "5/10/0/0 4/20/0/0",
}, {
	"a crossing FIN2 overtakes FIN1",
	after(opened, step{6, s, fFA, 21, 11, 0}, step{5, c, fFA, 11, 21, 0}, step{7, s, fA, 22, 12, 0}, step{8, c, fA, 12, 22, 0}),
	"simultaneous client TIME-WAIT/TIME-WAIT complete syn:0 syn_ack:1 est:2 fin1:5 ack1:7 fin2:6 ack2:8", "5/10/0/0 4/20/0/0",
}, {
	"the refusal overtakes the SYN",
	[]step{{1, s, fRA, 0, 1, 0}, {0, c, fS, 0, 0, 0}},
	"refused server CLOSED/CLOSED complete syn:0 rst:1 by server", "1/0/0/0 1/0/0/0",
}, {
	"the SYN-ACK overtakes the SYN",
	[]step{{0, s, fSA, 0, 1, 0}, {1, c, fS, 0, 0, 0}, {2, c, fA, 1, 1, 0}},
	"open  ESTABLISHED/ESTABLISHED syn:1 syn_ack:0 est:2", "2/0/0/0 1/0/0/0",
}, {
	"FINs are retransmitted",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{205, c, fFA, 11, 21, 0}, step{605, c, fFA, 11, 21, 0}, step{606, s, fA, 21, 12, 0},
		step{700, s, fFA, 21, 12, 0}, step{900, s, fFA, 21, 12, 0}, step{901, c, fA, 12, 22, 0}),
	"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:606 fin2:700 ack2:901", "7/10/0/2 5/20/0/1",
}, {
	"FIN1 with the data before it retransmitted in one",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{9, c, fFA, 1, 21, 10}, step{10, s, fFA, 21, 12, 0}, step{11, c, fA, 12, 22, 0}),
	"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:10 fin2:10 ack2:11", "6/10/0/1 3/20/0/0",
}, {
	"late segments after the close change counts only",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fA, 12, 22, 0}, step{9, s, fFA, 21, 12, 0}, step{10, c, fA, 12, 22, 0}, step{11, c, fR, 12, 0, 0}),
	"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7 rst:11 by client", "7/10/0/0 4/20/0/1",
}, {
	"refused",
	[]step{{0, c, fS, 0, 0, 0}, {1, s, fRA, 0, 1, 0}},
	"refused server CLOSED/CLOSED complete syn:0 rst:1 by server", "1/0/0/0 1/0/0/0",
}, {
	"refused at the second SYN",
	[]step{{0, c, fS, 0, 0, 0}, {1000, c, fS, 0, 0, 0}, {1001, s, fRA, 0, 1, 0}},
	"refused server CLOSED/CLOSED complete syn:0 rst:1001 by server", "2/0/1/0 1/0/0/0",
}, {
	"not refused: the server had sent something before its RST",
	[]step{{0, c, fS, 0, 0, 0}, {1, s, fA, 900, 77, 0}, {2, s, fR, 77, 0, 0}},
	"reset server CLOSED/CLOSED complete syn:0 rst:2 by server", "1/0/0/0 2/0/0/0",
}, {
	"not refused: the client reset its own SYN",
	[]step{{0, c, fS, 0, 0, 0}, {1, c, fR, 1, 0, 0}},
	"reset client CLOSED/CLOSED complete syn:0 rst:1 by client", "2/0/0/0 0/0/0/0",
}, {
	"reset after the SYN-ACK",
	[]step{{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fR, 1, 0, 0}},
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 rst:2 by client", "2/0/0/0 1/0/0/0",
}, {
	"reset after data", after(opened, step{5, s, fRA, 21, 11, 0}),
	"reset server CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 rst:5 by server", "3/10/0/0 3/20/0/0",
}, {
	"reset after FIN1", after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fRA, 21, 12, 0}),
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 rst:6 by server", "4/10/0/0 3/20/0/0",
}, {
	"reset between FIN2 and its ACK",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fR, 12, 0, 0}),
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 rst:7 by client", "5/10/0/0 3/20/0/0",
}, {
	"a RST's ACK acknowledges nothing",
	after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fRA, 12, 22, 0}),
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 rst:7 by client", "5/10/0/0 3/20/0/0",
}, {
	"a FIN with a RST is a RST", after(opened, step{5, c, fFA | fR, 11, 21, 0}),
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 rst:5 by client", "4/10/0/0 2/20/0/0",
}, {
	"the second RST changes nothing", after(opened, step{5, c, fR, 11, 0, 0}, step{6, s, fR, 21, 0, 0}),
	"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 rst:5 by client", "4/10/0/0 3/20/0/0",
}, {
	"half closed, not acknowledged", after(opened, step{5, c, fFA, 11, 21, 0}),
	"half_closed client FIN-WAIT-1/ESTABLISHED syn:0 syn_ack:1 est:2 fin1:5", "4/10/0/0 2/20/0/0",
}, {
	"half closed", after(opened, step{5, s, fFA, 21, 11, 0}, step{6, c, fA, 11, 22, 0}),
	"half_closed server CLOSE-WAIT/FIN-WAIT-2 syn:0 syn_ack:1 est:2 fin1:5 ack1:6", "4/10/0/0 3/20/0/0",
}, {
	"the last ACK is missing", after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}),
	"three_way client FIN-WAIT-2/LAST-ACK syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6", "4/10/0/0 3/20/0/0",
}, {
	"unanswered", []step{{0, c, fS, 0, 0, 0}, {1000, c, fS, 0, 0, 0}, {3000, c, fS, 0, 0, 0}},
	"unanswered  SYN-SENT/CLOSED syn:0", "3/0/2/0 0/0/0/0",
}, {
	"half open", []step{{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {1001, s, fSA, 0, 1, 0}},
	"half_open  SYN-SENT/SYN-RECEIVED syn:0 syn_ack:1", "1/0/0/0 2/0/1/0",
}, {
	"half open: what the client sent does not acknowledge",
	[]step{{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 0, 0}},
	"half_open  SYN-SENT/SYN-RECEIVED syn:0 syn_ack:1", "2/0/0/0 1/0/0/0",
}, {
	"open", opened,
	"open  ESTABLISHED/ESTABLISHED syn:0 syn_ack:1 est:2", "3/10/0/0 2/20/0/0",
}, {
	"keep-alives move nothing",
	after(opened, step{5, c, fA, 10, 21, 0}, step{6, s, fA, 21, 11, 0}, step{7, c, fA, 10, 21, 1}, step{8, s, fA, 21, 11, 0}),
	"open  ESTABLISHED/ESTABLISHED syn:0 syn_ack:1 est:2", "5/10/0/0 4/20/0/0",
}, {
	"only the client's side is seen",
	[]step{{0, c, fS, 0, 0, 0}, {1, c, fA, 1, 1, 0}, {2, c, fPA, 1, 1, 10}, {3, c, fFA, 11, 21, 0}, {4, c, fA, 12, 22, 0}},
	"half_closed client FIN-WAIT-1/ESTABLISHED syn:0 fin1:3", "5/10/0/0 0/0/0/0",
}, {
	"SYN cookies: the second SYN-ACK has another sequence number",
	[]step{{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {1000, c, fS, 0, 0, 0}, {1001, s, fSA, 90000, 1, 0}, {1002, c, fA, 1, 90001, 0}, {1003, s, fPA, 90001, 1, 20}},
	"open  ESTABLISHED/ESTABLISHED syn:0 syn_ack:1 est:1002", "3/0/1/0 3/20/1/0",
}}

func TestKinds(t *testing.T) {
	for _, test := range kindTests {
		t.Run(test.name, func(t *testing.T) {
			for _, v := range []conversation{
				between(40000, 443), between(443, 40000), // the client is Low or High
				wrapping(math.MaxUint32, math.MaxUint32), // the SYN wraps
				wrapping(math.MaxUint32-5, math.MaxUint32-9),
				wrapping(math.MaxUint32-11, math.MaxUint32-21), // the FIN wraps
				wrapping(1<<31-5, 1<<31-12),
			} {
				r := replay(t, v, test.steps...)
				if got := story(r); got != test.story {
					t.Errorf("ISN %d:\n got %s\nwant %s", v.clientISN, got, test.story)
				}
				if got := counts(r); got != test.counts {
					t.Errorf("ISN %d: counts\n got %s\nwant %s", v.clientISN, got, test.counts)
				}
			}
		})
	}
}

func wrapping(clientISN, serverISN uint32) conversation {
	v := between(50000, 8080)
	v.clientISN, v.serverISN = clientISN, serverISN
	if clientISN&1 == 0 {
		v.client, v.server = v.server, v.client
	}
	return v
}

func TestPhases(t *testing.T) {
	r := replay(t, between(40000, 443), kindTests[0].steps...)
	for phase, want := range [Phases]int64{FINWait1: 1, CloseWait: 2, LastACK: 3, Teardown: 6} {
		if got, ok := r.Phase(Phase(phase)); !ok || got != want*ms {
			t.Errorf("%v is %d ns (%v), not %d ms", Phase(phase), got, ok, want)
		}
	}
	overtaken := replay(t, between(40000, 443), after(opened, step{5, s, fA, 21, 12, 0}, step{6, c, fFA, 11, 21, 0})...)
	if got, ok := overtaken.Phase(FINWait1); ok {
		t.Errorf("FIN-WAIT-1 of a FIN that its ACK overtook is %d ns", got)
	}
	reset := replay(t, between(40000, 443), after(opened, step{5, c, fFA, 11, 21, 0}, step{9, s, fR, 21, 0, 0})...)
	if got, ok := reset.Phase(Teardown); !ok || got != 4*ms {
		t.Errorf("teardown by a RST is %d ns (%v), not 4 ms", got, ok)
	}
}

// TestFINOvertakesData: FIN1 acknowledges payload that comes here later, but was sent
// before it. What is sent after it counts, and its octet of the sequence space does not.
func TestFINOvertakesData(t *testing.T) {
	late := []step{
		{4, s, fPA, 21, 11, 1000},
		{5, c, fFA, 11, 1021, 0},
		{6, s, fPA, 1021, 12, 70},
		{7, s, fFA, 1091, 12, 9},
		{8, c, fA, 12, 1101, 0}}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {1, 0, 2, 3, 4}, {1, 2, 0, 3, 4}, {1, 2, 3, 0, 4}, {3, 1, 2, 0, 4}} {
		steps := opened
		for _, i := range order {
			steps = after(steps, late[i])
		}
		r := replay(t, between(40000, 443), steps...)
		want := uint64(79)
		if order[0] == 3 {
			want = 0 // all of it was here before FIN1: nothing tells what was sent after that
		}
		if r.HalfClosePayload != want || r.Server.Payload != 20+1000+79 {
			t.Errorf("%v: half close payload is %d of %d, not %d", order, r.HalfClosePayload, r.Server.Payload, want)
		}
	}
}

func TestHalfClosePayload(t *testing.T) {
	steps := after(opened,
		step{5, c, fFA, 11, 21, 6}, // with the last 6 octets of the request
		step{6, s, fPA, 21, 18, 1000},
		step{7, s, fPA, 21, 18, 1000}, // repeated
		step{8, s, fPA, 2021, 18, 500},
		step{9, c, fA, 18, 2521, 0},
		step{10, s, fFA, 2521, 18, 79},
		step{11, c, fA, 18, 2601, 0})
	r := replay(t, between(40000, 443), steps...)
	// 1,000, a gap of 1,000, 500, and 79 on the FIN.
	if r.HalfClosePayload != 2579 {
		t.Errorf("half close payload is %d, not 2579", r.HalfClosePayload)
	}
	if r.Client.Payload != 16 || r.Server.Payload != 20+2579 {
		t.Errorf("payload is %d and %d", r.Client.Payload, r.Server.Payload)
	}
}
