package server

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/flowtable"
)

func TestTeardownAgainstASort(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	var records []flowtable.Record
	want := map[string][flowtable.Phases][]int64{}
	counts := map[string]uint64{}
	for range 900 {
		r := apitest.RandomRecord(rng)
		r.Server.Port = uint16(rng.UintN(3))
		r.VLAN = uint16(rng.UintN(2))
		records = append(records, r)
		if r.EndReason == flowtable.EndActiveTimeout {
			continue
		}
		key := encode(t, map[string]any{"server_port": r.Server.Port, "vlan": r.VLAN})
		sorted := want[key]
		for p := range sorted {
			if ns, ok := r.Phase(flowtable.Phase(p)); ok {
				sorted[p] = append(sorted[p], ns)
			}
		}
		want[key] = sorted
		counts[key]++
	}
	a := newAppliance(t, records...)
	var body Teardown
	a.get(t, "/v1/teardown?group_by=server_port,vlan", &body)
	if len(body.Groups) != len(want) || body.GroupsTotal != len(want) || !slices.Equal(body.GroupBy, []string{"server_port", "vlan"}) {
		t.Fatalf("%d groups by %v, want %d", len(body.Groups), body.GroupBy, len(want))
	}
	sum, last := uint64(0), body.Groups[0].Count
	for _, g := range body.Groups {
		key := encode(t, g.Key)
		if g.Count != counts[key] || g.Count > last {
			t.Errorf("%s: count %d after %d, want %d", key, g.Count, last, counts[key])
		}
		sum, last = sum+g.Count, g.Count
		for p, got := range map[flowtable.Phase]PhaseStats{
			flowtable.FINWait1: g.FINWait1, flowtable.CloseWait: g.Close, flowtable.LastACK: g.LastACK, flowtable.Teardown: g.Teardown,
		} {
			checkStats(t, key+" "+p.String(), got, want[key][p])
		}
	}
	if sum != body.Count {
		t.Errorf("count %d, groups sum up to %d", body.Count, sum)
	}
}

// checkStats holds percentiles against counting: at least so many values are

func checkStats(t *testing.T, what string, got PhaseStats, values []int64) {
	t.Helper()
	if got.Count != uint64(len(values)) || len(values) == 0 {
		t.Errorf("%s: count %d, want %d and some", what, got.Count, len(values))
		return
	}
	for percent, p := range map[int]*int64{50: got.P50NS, 90: got.P90NS, 99: got.P99NS, 100: got.MaxNS} {
		below, notAbove := 0, 0
		for _, v := range values {
			if v < *p {
				below++
			}
			if v <= *p {
				notAbove++
			}
		}
		if 100*notAbove < percent*len(values) || 100*below >= percent*len(values) {
			t.Errorf("%s: p%d %d has %d below and %d not above, of %d", what, percent, *p, below, notAbove, len(values))
		}
	}
}

func TestTeardownGroups(t *testing.T) {
	slice := apitest.HalfClosed() // a slice of a connection that went on
	ended := apitest.HalfClosed()
	ended.EndReason = flowtable.EndIdleTimeout
	a := newAppliance(t, apitest.FourWay(), apitest.FourWay(), apitest.Refused(), slice, ended)
	for query, want := range map[string]string{
		"":                               `4 1: {} 4`,
		"?group_by=":                     `4 1: {} 4`,
		"?group_by=client":               `4 3: {"client":"2001:db8:1::6"} 2; {"client":"10.0.0.1"} 1; {"client":"10.0.0.2"} 1`,
		"?group_by=server&limit=1":       `4 3: {"server":"2001:db8:ffff::1"} 2`,
		"?group_by=close_kind":           `4 3: {"close_kind":"four_way"} 2; {"close_kind":"refused"} 1; {"close_kind":"reset"} 1`,
		"?group_by=interface&port=5672":  `1 1: {"interface":"7"} 1`,
		"?group_by=vlan&group_by=client": `4 3: {"client":"2001:db8:1::6","vlan":100} 2; {"client":"10.0.0.1","vlan":0} 1; {"client":"10.0.0.2","vlan":0} 1`,
		"?group_by=close_initiator,server_port&close_kind=reset,four_way": `3 2: {"server_port":443,"close_initiator":"server"} 2; {"server_port":2000,"close_initiator":"client"} 1`,
		"?group_by=server&since=2199-01-01T00:00:00Z":                     `0 0: `,
	} {
		var body Teardown
		a.get(t, "/v1/teardown"+query, &body)
		var groups []string
		for _, g := range body.Groups {
			groups = append(groups, encode(t, g.Key)+" "+encode(t, g.Count))
		}
		got := encode(t, body.Count) + " " + encode(t, body.GroupsTotal) + ": " + strings.Join(groups, "; ")
		if got != want {
			t.Errorf("%q\n got %s\nwant %s", query, got, want)
		}
	}
	var body Teardown
	a.get(t, "/v1/teardown?client=10.0.0.1", &body)
	if got, want := encode(t, body.Groups[0].Close), `{"count":0,"p50_ns":null,"p90_ns":null,"p99_ns":null,"max_ns":null}`; got != want {
		t.Errorf("a phase nobody went through: %s", got)
	}
}

// Percentiles of a million records, by what most tell them apart.
func BenchmarkTeardown(b *testing.B) {
	h := newRecent(b, 1_000_000)
	rng := rand.New(rand.NewPCG(11, 12))
	for range h.Cap() {
		r := apitest.FourWay()
		r.Server.Port = uint16(rng.UintN(1000))
		r.At[flowtable.ACK2At] += rng.Int64N(1e9)
		write(b, h, r)
	}
	for _, by := range [][]string{nil, {"server_port"}} {
		b.Run("by="+strings.Join(by, ","), func(b *testing.B) {
			for b.Loop() {
				t := newTeardowns(by)
				err := h.Scan(b.Context(), time.Time{}, func(r *flowtable.Record, n *api.Names) bool {
					t.add(r, n)
					return true
				})
				if err != nil || t.largest(100)[0].Count == 0 {
					b.Fatal(err)
				}
			}
		})
	}
}
