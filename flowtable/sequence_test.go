package flowtable

import "testing"

// TestSequenceAccounting follows connections of which only control segments
// come here, and takes octets from their sequence numbers.
func TestSequenceAccounting(t *testing.T) {
	for name, test := range map[string]struct {
		steps          []step
		client, server uint64
		half           uint64
	}{
		"four waves": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 1, 0},
			{10, c, fFA, 1001, 5001, 0}, {11, s, fA, 5001, 1002, 0}, {12, s, fFA, 7001, 1002, 0}, {13, c, fA, 1002, 7002, 0},
		}, 1000, 7000, 2000},
		"more than 2^31 octets": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 1, 0},
			{10, c, fFA, 1, 3000000001, 0}, {11, s, fFA, 3000000001, 2, 0}, {12, c, fA, 2, 3000000002, 0},
		}, 0, 3000000000, 0},
		"FIN with data, repeated": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 1, 0},
			{10, c, fFA, 501, 1, 400}, {11, c, fFA, 501, 1, 400}, {12, s, fA, 1, 902, 0},
		}, 900, 0, 0},
		"reset": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 1, 0},
			{10, c, fRA, 201, 401, 0},
		}, 200, 400, 0},
		"refused": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fRA, 0, 1, 0},
		}, 0, 0, 0},
		"an older ACK last": {[]step{
			{0, c, fS, 0, 0, 0}, {1, s, fSA, 0, 1, 0}, {2, c, fA, 1, 1, 0},
			{10, c, fFA, 1001, 5001, 0}, {11, s, fA, 4901, 1002, 0},
		}, 1000, 5000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bench := newBench(t, Config{MaxFlows: 10, Timeouts: ReplayTimeouts(), Accounting: AccountingSequence})
			bench.play(between(1000, 443), test.steps...)
			bench.Flush(EndCaptureEnd)
			r := bench.records[0]
			if r.Accounting != AccountingSequence {
				t.Errorf("accounting %v", r.Accounting)
			}
			if r.Client.Payload != test.client || r.Server.Payload != test.server || r.HalfClosePayload != test.half {
				t.Errorf("payload %d and %d, after FIN1 %d; expected %d, %d, %d",
					r.Client.Payload, r.Server.Payload, r.HalfClosePayload, test.client, test.server, test.half)
			}
		})
	}
}
