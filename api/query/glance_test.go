package query

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// accounts are kernel entries.
type accounts map[segment.Key]*segment.Counters

func (a accounts) Peek(keys []segment.Key, counters []segment.Counters) error {
	for i, key := range keys {
		counters[i] = segment.Counters{}
		if entry := a[key]; entry != nil {
			counters[i] = *entry
		}
	}
	return nil
}

func (a accounts) Take(keys []segment.Key, counters []segment.Counters) error {
	return a.Peek(keys, counters)
}

// count is what the kernel does with a segment.
func (a accounts) count(s *segment.Segment) {
	key, side := segment.KeyOf(s)
	if a[key] == nil {
		a[key] = &segment.Counters{}
	}
	own := &a[key][side]
	if own.Packets == 0 {
		own.FirstAt, own.FirstAck, own.Base = s.At, s.Ack, s.Seq
	}
	own.Packets++
	own.Octets += uint64(s.Octets)
	own.LastAt, own.High, own.MaxAck = s.At, s.End(), s.Ack
	own.Payload = uint64(own.High - own.Base)
	own.Marks |= segment.DirectionStarted | segment.DirectionAcked
	s.Marks |= segment.HasEntry | segment.Counted
	s.Own, s.Other = *own, a[key][1-side]
}

type drain struct{ record flowtable.Record }

func (d *drain) Next() *flowtable.Record { return &d.record }
func (d *drain) Commit()                 {}

// openTable has n connections, each as far as some step from SYN to the last ACK,
// or reset. Of some the kernel alone has seen the last step, where that is an ACK.
func openTable(t testing.TB, n int) *flowtable.Table {
	t.Helper()
	const syn, ack, fin, rst = segment.SYN, segment.ACK, segment.FIN, segment.RST
	script := []struct {
		client   bool
		flags    uint8
		seq, ack uint32
		payload  uint32
	}{
		{true, syn, 100, 0, 0}, {false, syn | ack, 500, 101, 0}, {true, ack, 101, 501, 10},
		{true, fin | ack, 111, 501, 0}, {false, ack, 501, 112, 0}, {false, fin | ack, 501, 112, 0}, {true, ack, 112, 502, 0},
	}
	kernel, hasher := accounts{}, segment.NewHasher()
	table, err := flowtable.New(flowtable.Config{MaxFlows: uint32(n), Records: &drain{}, Accounts: kernel}, hasher)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	rng := rand.New(rand.NewPCG(11, uint64(n)))
	feed := func(s *segment.Segment) {
		key, _ := segment.KeyOf(s)
		table.Update([]*segment.Segment{s}, []uint64{hasher.Hash(&key)})
	}
	for i := range n {
		client := apitest.Address(fmt.Sprintf("10.%d.0.%d", i%3, i%251))
		server := apitest.Address(fmt.Sprintf("192.0.2.%d", i%17))
		if i%5 == 0 {
			client, server = apitest.Address(fmt.Sprintf("2001:db8::%x", i)), apitest.Address("2001:db8:1::1")
		}
		at := apitest.Epoch + int64(rng.IntN(1e6))*1000
		steps := 1 + rng.IntN(len(script))
		for k, step := range script[:steps] {
			s := &segment.Segment{At: at, Src: client, Dst: server, SrcPort: uint16(1024 + i/17), DstPort: uint16(8000 + i%4),
				TCPFlags: step.flags, Seq: step.seq, Ack: step.ack, Payload: step.payload, Octets: 40 + step.payload, VLAN: uint16(i % 3)}
			if !step.client {
				s.Src, s.Dst, s.SrcPort, s.DstPort = server, client, s.DstPort, s.SrcPort
			}
			if k > 1 {
				kernel.count(s)
			}
			if k < steps-1 || k < 4 || step.flags != ack || rng.IntN(2) == 0 {
				feed(s)
			}
			at += int64(rng.IntN(1e6)) * 1000
			if rng.IntN(40) == 0 {
				s.At, s.TCPFlags, s.Seq, s.Payload, s.Marks = at, rst, s.End(), 0, 0
				feed(s)
				break
			}
		}
	}
	return table
}

// wholeTable is all that is known of all connections, in blocks.
func wholeTable(t *testing.T, table *flowtable.Table) (blocks []*history.Block, rows int) {
	t.Helper()
	if err := table.Connections(func(r *flowtable.Record) bool {
		if rows%history.Rows == 0 {
			blocks = append(blocks, new(history.Block))
		}
		blocks[rows/history.Rows].Set(rows%history.Rows, r, 0)
		rows++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return blocks, rows
}

// plainly answers a question from that.
func plainly(blocks []*history.Block, n int, f *Filter, o Order, now int64) (fit []ranked, states map[string]api.StateCount) {
	states = map[string]api.StateCount{}
	for i, block := range blocks {
		var s selection
		in := frame{block: block, names: testNames, now: now}
		for _, row := range f.choose(&s, &in, 0, min(history.Rows, n-i*history.Rows)) {
			r := ranked{id: block.Serial[row]}
			r.value, r.known = o.by.value(&in, int(row))
			fit = append(fit, r)
			client, server := block.Client.State[row].String(), block.Server.State[row].String()
			count := states[client]
			count.Client++
			states[client] = count
			count = states[server]
			count.Server++
			states[server] = count
		}
	}
	slices.SortFunc(fit, o.compare)
	return fit, states
}

// TestConnectionsPlainly: whatever a question passes over at a glance, counts
// only, or asks the kernel about, its answer is that of looking at everything.
func TestConnectionsPlainly(t *testing.T) {
	table := openTable(t, 6000)
	blocks, rows := wholeTable(t, table)
	now := int64(apitest.Epoch + 3e9)
	var filters []string
	for text := range filterCases {
		if _, errs := parseLive(text); len(errs) == 0 {
			filters = append(filters, text)
		}
	}
	filters = append(filters, "state=CLOSE-WAIT", "state=FIN-WAIT-1", "client_state=FIN-WAIT-2&server_state=CLOSE-WAIT", "state=ESTABLISHED,SYN-SENT",
		"server=192.0.2.0/28", "address=10.1.0.0/16&server_port=8001", "server=::/0", "state=CLOSE-WAIT&server=192.0.2.7", "min_age=2500ms", "max_age=2500ms",
		"close_kind=half_closed&server_port=8000-8002", "min_idle=1s&state=TIME-WAIT", "vlan=1&state=ESTABLISHED", "min_close_wait=1ms")
	answered := 0
	for i, text := range filters {
		f := parse(t, text, Followed)
		for k, by := range Orders(Followed) {
			// Every filter with some orders, every order with some filters.
			if text != "" && by != "age" && by != "start_at" && by != "close_wait" && (i+k)%13 != 0 {
				continue
			}
			for _, sign := range []string{"", "-"} {
				o := order(t, sign+by, Followed)
				fit, states := plainly(blocks, rows, f, o, now)
				limit := []int{1, 30, 2000}[(i+k)%3]
				answer, err := Connections(t.Context(), table, testNames, f, o, limit, now)
				if err != nil {
					t.Fatal(err)
				}
				question := fmt.Sprintf("%q by %s%s, the first %d", text, sign, by, limit)
				checkPlainly(t, question, answer, fit[:min(limit, len(fit))], len(fit), states)
				answered += len(answer.Connections)
			}
		}
	}
	if answered < 20_000 {
		t.Errorf("the answers have %d connections; the test says little", answered)
	}
}

func checkPlainly(t *testing.T, question string, answer *api.Connections, want []ranked, total int, states map[string]api.StateCount) {
	t.Helper()
	if int(answer.Total) != total || answer.Followed != 6000 {
		t.Errorf("%s: %d of %d fit, want %d", question, answer.Total, answer.Followed, total)
	}
	got := make([]string, len(answer.Connections))
	for i := range got {
		got[i] = answer.Connections[i].FlowID
	}
	expected := make([]string, len(want))
	for i := range want {
		expected[i] = testNames.FlowID(want[i].id)
	}
	if !slices.Equal(got, expected) {
		t.Errorf("%s: %d connections that differ from %d expected", question, len(got), len(want))
	}
	if len(answer.States) != len(states) {
		t.Errorf("%s: %d states, want %d", question, len(answer.States), len(states))
	}
	for _, s := range answer.States {
		if want := states[s.State]; s.Client != want.Client || s.Server != want.Server {
			t.Errorf("%s: %s %d and %d, want %d and %d", question, s.State, s.Client, s.Server, want.Client, want.Server)
		}
	}
}

func parseLive(text string) (*Filter, []*ParameterError) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, []*ParameterError{{Message: err.Error()}}
	}
	for name := range values {
		if !slices.ContainsFunc(Parameters(Followed), func(p Parameter) bool { return p.Name == name }) {
			return nil, []*ParameterError{{Name: name, Message: "not of connections"}}
		}
	}
	return ParseFilter(values, Followed, time.Now())
}

// A glance is as narrow as the filter lets it be.
func TestGlances(t *testing.T) {
	const now = apitest.Epoch + 3e9
	shown := func(text string, by string, limit int, now int64) (shown int) {
		live := &watched{Table: openTable(t, 6000)}
		if _, err := Connections(t.Context(), live, testNames, parse(t, text, Followed), order(t, by, Followed), limit, now); err != nil {
			t.Fatal(err)
		}
		return live.shown
	}
	all := shown("", "-retransmits", 10, now)
	if all != 6000 {
		t.Errorf("%d of 6000 connections were shown", all)
	}
	for text, most := range map[string]int{"server_port=8001": 1500, "client_state=SYN-SENT": 1750, "state=CLOSE-WAIT": 2500, "state=SYN-SENT&vlan=2": 1750, "server=10.0.0.0/8": 0} {
		if n := shown(text, "-retransmits", 10, now); n > most {
			t.Errorf("%s: %d were shown, want %d at most", text, n, most)
		}
	}
	const halfClosed = "client_state=FIN-WAIT-2&server_state=CLOSE-WAIT"
	if all, n := shown(halfClosed, "-retransmits", 10, now+5e9), shown(halfClosed, "-close_wait", 10, now+5e9); n > all-100 {
		t.Errorf("%d of %d half closed were shown for the first 10", n, all)
	}
	for _, by := range []string{"-age", "age", "start_at", "-start_at", "-close_wait"} {
		if n := shown("", by, 10, now); n > 4500 {
			t.Errorf("by %s: %d were shown", by, n)
		}
	}
}

// watched counts what a table shows.
type watched struct {
	*flowtable.Table
	shown int
}

func (w *watched) Look(g *flowtable.Glance, yield func(flowtable.Place, *flowtable.Record) bool) {
	w.Table.Look(g, func(p flowtable.Place, r *flowtable.Record) bool {
		w.shown++
		return yield(p, r)
	})
}
