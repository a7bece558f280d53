package query

import (
	"slices"
	"testing"

	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

// liveRecords are in every state; now is a second after the last of their times.
func liveRecords() (records []flowtable.Record, now int64) {
	records = randomRecords(31, 2500)
	for i := range records {
		r := &records[i]
		r.EndReason, r.Complete = flowtable.EndNone, i%3 == 0
		for m := range r.At {
			r.At[m] = r.StartAt + int64(m)*1e6
		}
	}
	return records, apitest.Epoch + 2e12 + 1e9
}

func TestConnectionsAgainstSorting(t *testing.T) {
	records, now := liveRecords()
	f := parse(t, "state=CLOSE-WAIT,ESTABLISHED", Followed)
	in := func(s flowtable.State) bool { return s == flowtable.StateCloseWait || s == flowtable.StateEstablished }
	var want []uint64
	for i := range records {
		if in(records[i].Client.State) || in(records[i].Server.State) {
			want = append(want, uint64(i))
		}
	}
	slices.SortStableFunc(want, func(a, b uint64) int { return int(records[b].EndAt - records[a].EndAt) })
	for _, limit := range []int{1, 100, len(want), 10_000} {
		answer, err := Connections(t.Context(), followed(records), testNames, f, order(t, "idle", Followed), limit, now)
		if err != nil {
			t.Fatal(err)
		}
		if int(answer.Total) != len(want) || int(answer.Followed) != len(records) || len(answer.Connections) != min(limit, len(want)) {
			t.Errorf("limit %d: %d of %d of %d", limit, len(answer.Connections), answer.Total, answer.Followed)
		}
		for i, c := range answer.Connections {
			r := &records[want[i]]
			if c.FlowID != testNames.FlowID(want[i]) || c.IdleNS != now-r.EndAt || c.AgeNS != now-r.StartAt {
				t.Errorf("limit %d: place %d has %s, age %d, idle %d; want serial %d", limit, i, c.FlowID, c.AgeNS, c.IdleNS, want[i])
			}
		}
		var clients uint64
		for _, s := range answer.States {
			clients += s.Client
		}
		if clients != answer.Total {
			t.Errorf("limit %d: states of %d clients, want %d", limit, clients, answer.Total)
		}
	}
}

func TestPhasesUnderWay(t *testing.T) {
	see := func(r *flowtable.Record, moments ...flowtable.Moment) {
		for i, m := range moments {
			r.At[m] = int64(i+1) * 1e9
			r.Seen |= 1 << m
		}
	}
	const now = 60e9
	records := make([]flowtable.Record, 6)
	for i := range records {
		records[i].Serial, records[i].EndReason = uint64(i), flowtable.EndNone
	}
	see(&records[1], flowtable.FIN1At)
	see(&records[2], flowtable.FIN1At, flowtable.ACK1At)
	see(&records[3], flowtable.FIN1At, flowtable.ACK1At, flowtable.FIN2At)
	see(&records[4], flowtable.FIN1At, flowtable.ACK1At, flowtable.FIN2At, flowtable.ACK2At)
	records[4].Complete = true
	see(&records[5], flowtable.FIN1At, flowtable.RSTAt)
	records[5].Complete, records[5].CloseKind = true, flowtable.Reset
	type waits struct {
		phase string
		ns    int64
	}
	ask := func(text string) map[int]waits {
		answer, err := Connections(t.Context(), followed(records), testNames, parse(t, text, Followed), order(t, "age", Followed), 100, now)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[int]waits)
		for _, c := range answer.Connections {
			serial, _ := testNames.Serial(c.FlowID)
			w := waits{phase: c.Phase, ns: -1}
			if c.PhaseNS != nil {
				w.ns = *c.PhaseNS
			}
			got[int(serial)] = w
		}
		return got
	}
	all := ask("")
	for i, want := range []waits{{"", -1}, {"fin_wait_1", 59e9}, {"close_wait", 58e9}, {"last_ack", 57e9}, {"", -1}, {"", -1}} {
		if all[i] != want {
			t.Errorf("connection %d: %v, want %v", i, all[i], want)
		}
	}
	for text, want := range map[string][]int{
		"min_close_wait=58s": {2}, "min_close_wait=1s": {2, 3, 4}, "max_close_wait=1s": {3, 4}, "min_fin_wait_1=30s": {1},
		"min_teardown=58s": {1, 2, 3}, "max_teardown=5s": {4, 5}, "min_last_ack=2s": {3}, "min_age=61s": nil, "min_idle=60s&max_age=60s": {0, 1, 2, 3, 4, 5},
	} {
		got := ask(text)
		for _, i := range want {
			if _, found := got[i]; !found {
				t.Errorf("%s: connection %d is missing", text, i)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestFindFollowed(t *testing.T) {
	records, _ := liveRecords()
	row, found, err := FindFollowed(followed(records), testNames, testNames.FlowID(77))
	if err != nil || !found || row.Record != records[77] {
		t.Errorf("%v %v", found, err)
	}
	if _, found, err := FindFollowed(followed(records), testNames, testNames.FlowID(99_999)); found || err != nil {
		t.Errorf("%v %v", found, err)
	}
}
