package query

import (
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/api"
	"github.com/finwait/finwait/api/apitest"
	"github.com/finwait/finwait/api/history"
	"github.com/finwait/finwait/flowtable"
	"github.com/finwait/finwait/flowtable/segment"
)

// historyOf has records in a ring that keeps all of them.
func historyOf(t testing.TB, records []flowtable.Record) *history.Recent {
	t.Helper()
	h, err := history.NewRecent(max(len(records), 1), apitest.Names())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Free(); err != nil {
			t.Error(err)
		}
	})
	if err := h.Write(records); err != nil {
		t.Fatal(err)
	}
	return h
}

// randomRecords are numbered, so that a record's serial is its position.
func randomRecords(seed uint64, n int) []flowtable.Record {
	rng := rand.New(rand.NewPCG(seed, seed))
	records := make([]flowtable.Record, n)
	for i := range records {
		r := &records[i]
		*r = apitest.RandomRecord(rng)
		r.Serial = uint64(i)
		r.EndReason = flowtable.EndReason(rng.IntN(int(flowtable.EndNone)))
		r.StartAt = apitest.Epoch + rng.Int64N(1e12)
		r.EndAt = r.StartAt + rng.Int64N(1e12)
		r.Client.Port, r.Server.Port = uint16(rng.UintN(6)), uint16(rng.UintN(6))
		for _, s := range []*flowtable.Side{&r.Client, &r.Server} {
			s.Octets, s.Packets, s.Payload = s.Octets>>34, s.Packets>>34, s.Payload>>34
			s.SYNRetransmits, s.FINRetransmits = s.SYNRetransmits&3, s.FINRetransmits&3
		}
		r.HalfClosePayload >>= 34
		r.ReuseAfter = rng.Int64N(1e11)
		settle(r, rng)
	}
	return records
}

// settle makes whole blocks of a kind that a summary tells of. In the first all
// addresses are of IPv4, no connection goes on, and no phase is known; in the second
// the servers' are of IPv4, and waits are short; in those after it half of them are, or
// all but equal.
func settle(r *flowtable.Record, rng *rand.Rand) {
	version4 := func(s *flowtable.Side) {
		s.Address = netip.AddrFrom4([4]byte{10, 0, byte(rng.UintN(256)), byte(rng.UintN(256))}).As16()
	}
	block := r.Serial / history.Rows
	if block < 2 {
		version4(&r.Server)
	}
	if block == 0 {
		version4(&r.Client)
		r.Seen &= 1<<flowtable.FIN1At - 1
		if r.EndReason == flowtable.EndActiveTimeout {
			r.EndReason = flowtable.EndClosed
		}
	}
	if block == 1 || block > 1 && r.Serial%2 == 0 {
		for m := range r.At {
			r.At[m] = apitest.Epoch + int64(rng.UintN(20))
		}
		if block > 1 && r.Serial%4 == 0 { // so long that different ones have the same code
			r.At[flowtable.FIN2At] += 1 << 40
			r.At[flowtable.ACK2At] += 1 << 40
		}
	}
}

func chosen(t testing.TB, h history.History, text string) (positions []uint64) {
	t.Helper()
	f := parse(t, text, Records)
	r, err := f.positions(t.Context(), h, h.Span())
	if err != nil {
		t.Fatal(err)
	}
	r.Ascending = true
	if _, err := f.collect(t.Context(), h, r, func(row *Row) bool {
		positions = append(positions, row.Position)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return positions
}

type fits func(r *flowtable.Record) bool

func inside(a [16]byte, cidr string) bool {
	return netip.MustParsePrefix(cidr).Contains(api.Address(&a))
}

func known(v int64, ok bool, least, most int64) bool { return ok && v >= least && v <= most }

// phaseWithin is whether a phase is known and within bounds.
func phaseWithin(r *flowtable.Record, p flowtable.Phase, least, most int64) bool {
	ns, ok := r.Phase(p)
	return known(ns, ok, least, most)
}

func counted(r *flowtable.Record) bool { return r.Accounting == flowtable.AccountingCounted }

// testNames are those of historyOf.
var testNames = apitest.Names()

const forever = 1 << 62

var filterCases = map[string]fits{
	"":                     func(*flowtable.Record) bool { return true },
	"client=10.0.0.0/8":    func(r *flowtable.Record) bool { return inside(r.Client.Address, "10.0.0.0/8") },
	"server=2001:db8::/32": func(r *flowtable.Record) bool { return inside(r.Server.Address, "2001:db8::/32") },
	"address=10.0.0.0/17,2001:db8::/121": func(r *flowtable.Record) bool {
		for _, a := range [][16]byte{r.Client.Address, r.Server.Address} {
			if inside(a, "10.0.0.0/17") || inside(a, "2001:db8::/121") {
				return true
			}
		}
		return false
	},
	"client_port=2":     func(r *flowtable.Record) bool { return r.Client.Port == 2 },
	"server_port=1-2,5": func(r *flowtable.Record) bool { p := r.Server.Port; return p == 1 || p == 2 || p == 5 },
	"port=3&port=4": func(r *flowtable.Record) bool {
		return r.Client.Port|1 == 3 && r.Client.Port == 3 || r.Server.Port == 3 || r.Client.Port == 4 || r.Server.Port == 4
	},
	"close_kind=reset,refused": func(r *flowtable.Record) bool {
		return r.CloseKind == flowtable.Reset || r.CloseKind == flowtable.Refused
	},
	"close_initiator=none":          func(r *flowtable.Record) bool { return r.Initiator == flowtable.Nobody },
	"close_initiator=client,server": func(r *flowtable.Record) bool { return r.Initiator != flowtable.Nobody },
	"end_reason=idle_timeout,evicted": func(r *flowtable.Record) bool {
		return r.EndReason == flowtable.EndIdleTimeout || r.EndReason == flowtable.EndEvicted
	},
	"evidence=lossy":      func(r *flowtable.Record) bool { return r.Evidence == flowtable.Lossy },
	"accounting=sequence": func(r *flowtable.Record) bool { return r.Accounting == flowtable.AccountingSequence },
	"oriented_by=port":    func(r *flowtable.Record) bool { return r.OrientedBy == flowtable.ByPort },
	"rst_by=server":       func(r *flowtable.Record) bool { return r.RSTBy == flowtable.Server },
	"client_state=TIME-WAIT,CLOSED": func(r *flowtable.Record) bool {
		return r.Client.State == flowtable.StateTimeWait || r.Client.State == flowtable.StateClosed
	},
	"server_state=CLOSE-WAIT": func(r *flowtable.Record) bool { return r.Server.State == flowtable.StateCloseWait },
	"state=LAST-ACK": func(r *flowtable.Record) bool {
		return r.Client.State == flowtable.StateLastACK || r.Server.State == flowtable.StateLastACK
	},
	"close_complete=true":       func(r *flowtable.Record) bool { return r.Complete },
	"close_complete=false":      func(r *flowtable.Record) bool { return !r.Complete },
	"interface=eth1,3":          func(r *flowtable.Record) bool { return r.Interface == 1 || r.Interface == 3 },
	"server_process=/a.slice/b": func(r *flowtable.Record) bool { return r.Server.Owner == 2 || r.Server.Owner == 3 },
	"client_process=/a.slice/":  func(r *flowtable.Record) bool { return r.Client.Owner > 0 && r.Client.Owner <= 4 },
	"process=/a.slice/bc,/a.slice/b/\"c\"": func(r *flowtable.Record) bool {
		return r.Client.Owner == 3 || r.Client.Owner == 4 || r.Server.Owner == 3 || r.Server.Owner == 4
	},
	"process=cgroup:5":   func(r *flowtable.Record) bool { return r.Client.Owner == 5 || r.Server.Owner == 5 },
	"vlan=0-2000":        func(r *flowtable.Record) bool { return r.VLAN <= 2000 },
	"encapsulation=none": func(r *flowtable.Record) bool { return r.Encapsulation.Layers[0] == segment.NoLayer },
	"encapsulation=gre,mpls": func(r *flowtable.Record) bool {
		return slices.Contains(r.Encapsulation.Layers[:], segment.LayerGRE) || slices.Contains(r.Encapsulation.Layers[:], segment.LayerMPLS)
	},
	"encapsulation=erspan": func(r *flowtable.Record) bool {
		return slices.Contains(r.Encapsulation.Layers[:], segment.LayerERSPAN) || slices.Contains(r.Encapsulation.Layers[:], segment.LayerERSPANTypeI)
	},
	"min_close_wait=100s":                 func(r *flowtable.Record) bool { return phaseWithin(r, flowtable.CloseWait, 100e9, forever) },
	"max_close_wait=100s":                 func(r *flowtable.Record) bool { return phaseWithin(r, flowtable.CloseWait, 0, 100e9) },
	"min_fin_wait_1=1s&max_fin_wait_1=2m": func(r *flowtable.Record) bool { return phaseWithin(r, flowtable.FINWait1, 1e9, 120e9) },
	"min_last_ack=500ms":                  func(r *flowtable.Record) bool { return phaseWithin(r, flowtable.LastACK, 5e8, forever) },
	"max_teardown=3m":                     func(r *flowtable.Record) bool { return phaseWithin(r, flowtable.Teardown, 0, 180e9) },
	"min_duration=10m":                    func(r *flowtable.Record) bool { return r.EndAt-r.StartAt >= 600e9 },
	"max_server_handshake=5m": func(r *flowtable.Record) bool {
		ns, ok := r.Between(flowtable.SYNAt, flowtable.SYNACKAt)
		return known(ns, ok, 0, 300e9)
	},
	"min_client_handshake=1m": func(r *flowtable.Record) bool {
		ns, ok := r.Between(flowtable.SYNACKAt, flowtable.EstablishedAt)
		return known(ns, ok, 60e9, forever)
	},
	"max_handshake=3m": func(r *flowtable.Record) bool {
		ns, ok := r.Between(flowtable.SYNAt, flowtable.EstablishedAt)
		return known(ns, ok, 0, 180e9)
	},
	"max_reuse_after=60s": func(r *flowtable.Record) bool { return known(r.ReuseAfter, r.Reused, 0, 60e9) },
	"min_bytes=1k":        func(r *flowtable.Record) bool { return counted(r) && r.Client.Octets+r.Server.Octets >= 1000 },
	"max_client_bytes=1M": func(r *flowtable.Record) bool { return counted(r) && r.Client.Octets <= 1_000_000 },
	"min_server_bytes=0":  counted,
	"min_packets=50&max_packets=1G": func(r *flowtable.Record) bool {
		n := r.Client.Packets + r.Server.Packets
		return counted(r) && n >= 50 && n <= 1e9
	},
	"max_payload=1000":     func(r *flowtable.Record) bool { return r.Client.Payload+r.Server.Payload <= 1000 },
	"min_client_payload=1": func(r *flowtable.Record) bool { return r.Client.Payload >= 1 },
	"max_server_payload=0": func(r *flowtable.Record) bool { return r.Server.Payload == 0 },
	"min_half_close_payload=1": func(r *flowtable.Record) bool {
		_, fin := r.Time(flowtable.FIN1At)
		return fin && r.HalfClosePayload >= 1
	},
	"min_retransmits=6": func(r *flowtable.Record) bool {
		return r.Client.SYNRetransmits+r.Client.FINRetransmits+r.Server.SYNRetransmits+r.Server.FINRetransmits >= 6
	},
	"started_since=2023-11-14T22:20:00Z": func(r *flowtable.Record) bool { return r.StartAt >= 1_700_000_400e9 },
	"started_until=2023-11-14T22:20:00Z": func(r *flowtable.Record) bool { return r.StartAt < 1_700_000_400e9 },
	"ended_since=2023-11-14T22:20:00Z":   func(r *flowtable.Record) bool { return r.EndAt >= 1_700_000_400e9 },
	"ended_until=2023-11-14T22:20:00Z":   func(r *flowtable.Record) bool { return r.EndAt < 1_700_000_400e9 },
	"since=1h":                           func(*flowtable.Record) bool { return true },
	"until=2001-01-01T00:00:00Z":         func(*flowtable.Record) bool { return false },
	"client=10.0.0.0/8&close_kind=four_way&min_bytes=1": func(r *flowtable.Record) bool {
		return inside(r.Client.Address, "10.0.0.0/8") && r.CloseKind == flowtable.FourWay && counted(r) && r.Client.Octets+r.Server.Octets >= 1
	},
}

func TestFiltersAgainstRecords(t *testing.T) {
	records := randomRecords(9, 3000)
	h := historyOf(t, records)
	tried := make(map[string]bool)
	for text, fits := range filterCases {
		var want []uint64
		for i := range records {
			if fits(&records[i]) {
				want = append(want, uint64(i))
			}
		}
		if got := chosen(t, h, text); !slices.Equal(got, want) {
			t.Errorf("%q: %d records, want %d", text, len(got), len(want))
		}
		if len(want) == len(records) && text != "" && !strings.HasPrefix(text, "since") || len(want) == 0 && !strings.HasPrefix(text, "until") {
			t.Errorf("%q: %d of %d records fit; the case says nothing", text, len(want), len(records))
		}
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			tried[strings.TrimPrefix(strings.TrimPrefix(name, "min_"), "max_")] = true
		}
	}
	for _, p := range Parameters(Records) {
		if name := strings.TrimPrefix(strings.TrimPrefix(p.Name, "min_"), "max_"); !tried[name] {
			t.Errorf("parameter %q has no case", p.Name)
		}
	}
}

func TestPublishedWithin(t *testing.T) {
	h := historyOf(t, randomRecords(1, 10))
	middle := time.Now()
	if err := h.Write(nil); err != nil {
		t.Fatal(err)
	}
	text := middle.UTC().Format(time.RFC3339Nano)
	if got := chosen(t, h, "until="+text); len(got) != 10 {
		t.Errorf("until now: %v", got)
	}
	if got := chosen(t, h, "since="+text); len(got) != 0 {
		t.Errorf("since now: %v", got)
	}
}

func TestEncapsulationIdentifier(t *testing.T) {
	records := make([]flowtable.Record, 3)
	records[1].Encapsulation = segment.Encapsulation{Layers: [4]segment.Layer{segment.LayerVLAN, segment.LayerVXLAN}, Identifier: 5001}
	records[2].Encapsulation = segment.Encapsulation{Layers: [4]segment.Layer{segment.LayerVXLAN}, Identifier: 7}
	h := historyOf(t, records)
	for text, want := range map[string][]uint64{
		"none": {0}, "vxlan": {1, 2}, "vxlan:5001": {1}, "vxlan:5002": nil, "none,vxlan:7": {0, 2}, "vlan": {1},
	} {
		if got := chosen(t, h, "encapsulation="+text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestFaultyParameters(t *testing.T) {
	for text, want := range map[string]string{
		"client=10.0.0.0/33":                  `"10.0.0.0/33"`,
		"client=10.0.0.1,x":                   `"x"`,
		"port=70000":                          "65535",
		"port=9-2":                            "9-2",
		"vlan=4096":                           "4095",
		"close_kind=":                         "empty",
		"close_kind=reset,":                   "empty",
		"close_kind=rest":                     "reset",
		"min_close_wait=5":                    "5s",
		"min_close_wait=-5s":                  "5s",
		"min_close_wait=1s&min_close_wait=2s": "more than once",
		"max_bytes=1.5k":                      "10k",
		"max_bytes=-1":                        "10k",
		"max_bytes=99999999999T":              "10k",
		"since=yesterday":                     "RFC 3339",
		"encapsulation=vxlan:x":               "vxlan:5001",
		"close_complete=yes":                  "true, false",
		"client=" + strings.Repeat("10.0.0.1,", 64) + "10.0.0.1": "64",
	} {
		values, err := url.ParseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		_, errs := ParseFilter(values, Records, time.Now())
		name, _, _ := strings.Cut(text, "=")
		if len(errs) != 1 || errs[0].Name != name || !strings.Contains(errs[0].Message, want) {
			t.Errorf("%q: %v, want a fault of %s with %s", text, errs, name, want)
		}
	}
}

// Whatever is asked either is a fault that names its parameter, or chooses rows
// in their order.
func FuzzParseFilter(f *testing.F) {
	for text := range filterCases {
		f.Add(text)
	}
	f.Add("client=::ffff:10.0.0.0/95&port=0-65535&max_bytes=18446744073709551615&since=-2562047h")
	names := apitest.Names()
	block := new(history.Block)
	for i, r := range randomRecords(2, 100) {
		block.Set(i, &r, int64(i))
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		for _, scope := range []Scope{Records, Followed} {
			filter, errs := ParseFilter(values, scope, time.Unix(1_700_000_000, 0))
			for _, e := range errs {
				if _, given := values[e.Name]; !given || e.Message == "" {
					t.Fatalf("%q: fault %+v", text, e)
				}
			}
			if len(errs) > 0 {
				continue
			}
			var s selection
			rows := filter.choose(&s, &frame{block: block, names: names, now: 1}, 0, 100)
			for k, row := range rows {
				if row >= 100 || k > 0 && row <= rows[k-1] {
					t.Fatalf("%q: rows %v", text, rows)
				}
			}
		}
	})
}
