package query

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/flowtable"
)

// keys are the fields of a record as GroupKey has them.
func keys(r *flowtable.Record) map[string]any {
	network := func(a [16]byte) string {
		address := api.Address(&a)
		p, err := address.Prefix(map[bool]int{true: 24, false: 64}[address.Is4()])
		if err != nil {
			panic(err)
		}
		return p.String()
	}
	return map[string]any{
		"server": api.Address(&r.Server.Address).String(), "server_port": r.Server.Port, "server_network": network(r.Server.Address),
		"client": api.Address(&r.Client.Address).String(), "client_network": network(r.Client.Address),
		"close_kind": r.CloseKind.String(), "close_initiator": r.Initiator.String(),
		"interface": testNames.Interface(r.Interface), "vlan": r.VLAN,
		"server_process": ownerName(r.Server.Owner), "client_process": ownerName(r.Client.Owner),
	}
}

// ownerName is empty where there is none.
func ownerName(owner uint64) string {
	if owner == 0 {
		return ""
	}
	return testNames.Owner(owner)
}

func keyOf(t *testing.T, r *flowtable.Record, fields []string) string {
	t.Helper()
	key := make(map[string]any)
	for _, f := range fields {
		key[f] = keys(r)[f]
	}
	return text(t, key)
}

// text is JSON with sorted keys.
func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func groupRecords() []flowtable.Record {
	records := randomRecords(21, 2500)
	for i := range records {
		r := &records[i]
		r.VLAN &= 3
		r.Client.Address[15], r.Server.Address[15] = r.Client.Address[15]&3, r.Server.Address[15]&3
		r.Client.Address[14], r.Server.Address[14] = r.Client.Address[14]&1, r.Server.Address[14]&1
	}
	return records
}

func TestTeardownAgainstSorting(t *testing.T) {
	records := groupRecords()
	h := historyOf(t, records)
	fields := GroupFields()
	for i := range fields {
		for _, by := range [][]string{{fields[i]}, {fields[i], fields[(i+1)%len(fields)]}, {}} {
			values := make(map[string][flowtable.Phases][]int64)
			counts := make(map[string]uint64)
			for k := range records {
				r := &records[k]
				if r.EndReason == flowtable.EndActiveTimeout {
					continue
				}
				key := keyOf(t, r, by)
				counts[key]++
				all := values[key]
				for p := range all {
					if ns, known := r.Phase(flowtable.Phase(p)); known {
						all[p] = append(all[p], ns)
					}
				}
				values[key] = all
			}
			g, err := NewGrouping(by, Networks{24, 64})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := Teardown(t.Context(), h, new(Filter), g, "-count", math.MaxInt)
			if err != nil {
				t.Fatal(err)
			}
			if answer.GroupsTotal != len(counts) || len(answer.Groups) != len(counts) || !slices.Equal(answer.GroupBy, by) {
				t.Errorf("%v: %d groups of %d, want %d", by, len(answer.Groups), answer.GroupsTotal, len(counts))
			}
			for n, group := range answer.Groups {
				key := text(t, group.Key)
				if group.Count != counts[key] || n > 0 && group.Count > answer.Groups[n-1].Count {
					t.Errorf("%v %s: count %d, want %d", by, key, group.Count, counts[key])
				}
				for p, got := range []api.PhaseStats{group.FINWait1, group.CloseWait, group.LastACK, group.Teardown} {
					checkStats(t, fmt.Sprint(by, key, flowtable.Phase(p)), got, counts[key], values[key][p])
				}
			}
		}
	}
}

// checkStats holds an answer against the durations of a group of so many
// connections.
func checkStats(t *testing.T, what string, got api.PhaseStats, connections uint64, values []int64) {
	t.Helper()
	want := percentilesOfAll(values)
	if known := got.P50NS != nil && got.P90NS != nil && got.P99NS != nil && got.MaxNS != nil; known != (want.count > 0) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
		return
	}
	p := percentiles{count: got.Count}
	if want.count > 0 {
		p = percentiles{got.Count, *got.P50NS, *got.P90NS, *got.P99NS, *got.MaxNS}
	}
	if !p.near(want, connections > listed) {
		t.Errorf("%s: %+v, want %+v", what, p, want)
	}
}

func TestTeardownOrders(t *testing.T) {
	h := historyOf(t, groupRecords())
	for _, by := range GroupOrders() {
		for _, sign := range []string{"", "-"} {
			g, err := NewGrouping([]string{"client", "close_kind"}, Networks{24, 64})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := Teardown(t.Context(), h, new(Filter), g, sign+by, 1000)
			if err != nil {
				t.Fatal(err)
			}
			last := int64(math.MinInt64)
			for _, group := range answer.Groups {
				value := new(int64(group.Count))
				if by != byCount {
					value = map[string]*int64{"fin_wait_1": group.FINWait1.P99NS, "close_wait": group.CloseWait.P99NS,
						"last_ack": group.LastACK.P99NS, "teardown": group.Teardown.P99NS}[by]
				}
				order := int64(math.MaxInt64) // unknown comes last
				switch {
				case value != nil && sign == "-":
					order = -*value
				case value != nil:
					order = *value
				}
				if order < last {
					t.Errorf("%s%s: %d after %d", sign, by, order, last)
				}
				last = order
			}
		}
	}
}

func TestTopAgainstSums(t *testing.T) {
	records := groupRecords()
	h := historyOf(t, records)
	kind := func(k flowtable.CloseKind) func(*flowtable.Record) uint64 {
		return func(r *flowtable.Record) uint64 { return uint64(map[bool]int{true: 1}[r.CloseKind == k]) }
	}
	phase := func(p flowtable.Phase) func(*flowtable.Record) uint64 {
		return func(r *flowtable.Record) uint64 { ns, _ := r.Phase(p); return uint64(ns) }
	}
	when := func(ok bool, n uint64) uint64 {
		if !ok {
			return 0
		}
		return n
	}
	values := map[string]func(*flowtable.Record) uint64{
		"bytes":       func(r *flowtable.Record) uint64 { return when(counted(r), r.Client.Octets+r.Server.Octets) },
		"packets":     func(r *flowtable.Record) uint64 { return when(counted(r), r.Client.Packets+r.Server.Packets) },
		"payload":     func(r *flowtable.Record) uint64 { return r.Client.Payload + r.Server.Payload },
		"connections": func(*flowtable.Record) uint64 { return 1 },
		"refused":     kind(flowtable.Refused), "resets": kind(flowtable.Reset), "unanswered": kind(flowtable.Unanswered),
		"half_open": kind(flowtable.HalfOpen), "half_closed": kind(flowtable.HalfClosed),
		"retransmits": func(r *flowtable.Record) uint64 {
			return uint64(r.Client.SYNRetransmits + r.Client.FINRetransmits + r.Server.SYNRetransmits + r.Server.FINRetransmits)
		},
		"fin_wait_1": phase(flowtable.FINWait1), "close_wait": phase(flowtable.CloseWait), "last_ack": phase(flowtable.LastACK), "teardown": phase(flowtable.Teardown),
	}
	slices3 := []string{"bytes", "packets", "payload"} // slices count, too
	by := []string{"server", "server_port"}
	for _, name := range Measures() {
		sums, connections, total := make(map[string]uint64), make(map[string]uint64), uint64(0)
		for i := range records {
			r := &records[i]
			sliced := r.EndReason == flowtable.EndActiveTimeout
			if sliced && !slices.Contains(slices3, name) {
				continue
			}
			v := values[name](r)
			sums[keyOf(t, r, by)] += v
			total += v
			if !sliced {
				connections[keyOf(t, r, by)]++
			}
		}
		g, err := NewGrouping(by, Networks{24, 64})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := Top(t.Context(), h, new(Filter), g, name, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		if answer.By != name || answer.Total != total || answer.GroupsTotal != len(sums) {
			t.Errorf("%s: %s total %d of %d groups, want %d of %d", name, answer.By, answer.Total, answer.GroupsTotal, total, len(sums))
		}
		shown := uint64(0)
		for i, group := range answer.Groups {
			key := text(t, group.Key)
			if group.Value != sums[key] || group.Value == 0 || group.Connections != connections[key] || i > 0 && group.Value > answer.Groups[i-1].Value {
				t.Errorf("%s %s: %d of %d connections, want %d of %d", name, key, group.Value, group.Connections, sums[key], connections[key])
			}
			if math.Abs(group.Share-float64(group.Value)/float64(total)) > 1e-9 {
				t.Errorf("%s %s: share %v", name, key, group.Share)
			}
			shown += group.Value
		}
		if shown != total {
			t.Errorf("%s: groups add up to %d, want %d", name, shown, total)
		}
	}
}

func TestNetworksAreMasked(t *testing.T) {
	records := make([]flowtable.Record, 3)
	for i, a := range []string{"10.1.2.3", "2001:db8:1:2:3::4", "::1"} {
		records[i].Server.Address = netip.MustParseAddr(a).As16()
	}
	h := historyOf(t, records)
	for lengths, want := range map[Networks][]string{
		{24, 64}: {"10.1.2.0/24", "2001:db8:1:2::/64", "::/64"}, {8, 32}: {"10.0.0.0/8", "2001:db8::/32", "::/32"},
		{32, 128}: {"10.1.2.3/32", "2001:db8:1:2:3::4/128", "::1/128"}, {0, 0}: {"0.0.0.0/0", "::/0"},
	} {
		g, err := NewGrouping([]string{"server_network"}, lengths)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := Top(t.Context(), h, new(Filter), g, "connections", 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, group := range answer.Groups {
			got = append(got, *group.Key.ServerNetwork)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", lengths, got, want)
		}
	}
	for _, fields := range [][]string{{"server", "server"}, {"server", "client", "vlan"}, {"flow_id"}} {
		if _, err := NewGrouping(fields, Networks{}); err == nil {
			t.Errorf("grouped by %v", fields)
		}
	}
}
