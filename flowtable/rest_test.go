package flowtable

import (
	"math"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

const minute = 60_000 // ms

// TestTeardownAtRest: how long the waves of a teardown may take for their times to
// be noted, with idle timeouts switched off.
func TestTeardownAtRest(t *testing.T) {
	const day = 24 * 60 * minute
	answered := []step{{10, c, fFA, 11, 21, 0}, {11, s, fA, 21, 12, 0}}
	for name, test := range map[string]struct {
		steps []step
		want  string
	}{
		"half closed for 50 days": {
			after(answered, step{20 * day, s, fPA, 21, 12, 100}, step{50 * day, s, fFA, 121, 12, 0}, step{50*day + 3, c, fA, 12, 122, 0}),
			"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:11 fin2:4320000000 ack2:4320000003",
		},
		"half closed for 50 days, then reset": {
			after(answered, step{50 * day, s, fR, 21, 0, 0}),
			"reset client CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:11 rst:4320000000 by server",
		},
		"FIN1 is answered after 17 minutes": {
			[]step{{10, c, fFA, 11, 21, 0}, {17 * minute, s, fFA, 21, 12, 0}, {17*minute + 1, c, fA, 12, 22, 0}},
			"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:1020000 fin2:1020000 ack2:1020001",
		},
		"FIN1 is answered after 18 minutes": {
			[]step{{10, c, fFA, 11, 21, 0}, {18 * minute, s, fFA, 21, 12, 0}, {18*minute + 1, c, fA, 12, 22, 0}},
			"three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 fin2:1080000 ack2:1080001",
		},
		"FIN2 is answered after 18 minutes": {
			after(answered, step{20, s, fFA, 21, 12, 0}, step{18*minute + 20, c, fA, 12, 22, 0}),
			"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:11 fin2:20 ack2:1080020",
		},
		"FIN2 is answered after 19 minutes": {
			after(answered, step{20, s, fFA, 21, 12, 0}, step{19*minute + 20, c, fA, 12, 22, 0}),
			"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:11",
		},
		"answered a minute before it came": {
			[]step{{10, s, fA, 21, 12, 0}, {minute, c, fFA, 11, 21, 0}},
			"half_closed client FIN-WAIT-2/CLOSE-WAIT syn:0 syn_ack:1 est:2 fin1:60000 ack1:10",
		},
		"answered two minutes before it came": {
			[]step{{10, s, fA, 21, 12, 0}, {2 * minute, c, fFA, 11, 21, 0}},
			"half_closed client FIN-WAIT-2/CLOSE-WAIT syn:0 syn_ack:1 est:2 fin1:120000",
		},
		"FIN2 answered an hour before it came": {
			after(answered, step{20, c, fA, 12, 22, 0}, step{60 * minute, s, fFA, 21, 12, 0}),
			"four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:10 ack1:11 fin2:3600000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.play(between(40000, 443), after(opened, test.steps...)...)
			b.Flush(EndShutdown)
			b.same("record", story(b.one()), test.want)
		})
	}
}

// TestReuseAtRest: a SYN may come 16 ms after its SYN-ACK on a tuple that closed
// before, for the opening to be noted.
func TestReuseAtRest(t *testing.T) {
	for _, test := range []struct {
		overtaken int64
		want      string
	}{
		{16, "open  ESTABLISHED/ESTABLISHED syn:3016 syn_ack:3000 est:3017"},
		{17, "open  ESTABLISHED/ESTABLISHED"},
	} {
		b := newBench(t, Config{Timeouts: LiveTimeouts()})
		v := between(40000, 443)
		b.play(v, finished...)
		v.clientISN, v.serverISN = 77000, 88000
		b.advance(2e9)
		b.play(v, step{3000, s, fSA, 0, 1, 0}, step{3000 + test.overtaken, c, fS, 0, 0, 0}, step{3001 + test.overtaken, c, fA, 1, 1, 0})
		r := b.live()
		b.same("record", story(&r), test.want)
		if want := (3000 + test.overtaken - finished[len(finished)-1].at) * ms; !r.Reused || r.ReuseAfter != want {
			t.Errorf("reuse after %d ns: %v; expected %d", r.ReuseAfter, r.Reused, want)
		}
	}
}

// TestWidthsAtRest stores what fills every field's room, and loads it again.
func TestWidthsAtRest(t *testing.T) {
	const at = int64(1) << 60
	o := common{at: reference(at), serial: 1<<50 - 1}
	e := end{
		packets: 1<<35 - 1, octets: 1<<47 - 1, payload: 1<<47 - 1, ackAt: at - 1<<54, isn: 1<<32 - 1, high: 1<<32 - 2, maxAck: 1<<32 - 3,
		marks: endISN | endHigh | endAck | endSent, synRe: maxRepeats, finRe: maxRepeats, flags: 255,
	}
	full := connection{
		key:    segment.Key{Low: [16]byte{1}, High: [16]byte{15: 255}, LowPort: 65535, HighPort: 65534, Scope: segment.MaxScope},
		serial: 1<<50 + 1<<38, startAt: at - 1<<54, endAt: at + 1<<54,
		ends: [2]end{e, e}, slice: maxSlices, iface: 1<<24 - 1, vlan: 4095,
		encap:    segment.Encapsulation{Layers: [4]segment.Layer{11, 10, 9, 8}, Identifier: 1<<32 - 1},
		marks:    connSYN | connSYNACK | connEst | connTalked,
		oriented: ByFirst, client: 1, class: established,
	}
	full.synAt, full.synAckAt, full.estAt = full.startAt+bits40, full.startAt+bits40-1, full.startAt+bits40-2
	least := full
	least.ends[0].packets, least.ends[0].octets, least.ends[0].payload = math.MaxUint64-bits36>>1, math.MaxUint64-bits48>>1, math.MaxUint64-bits48>>1
	least.serial, least.startAt = 1<<50-1<<38, at-1<<54
	torn := full
	torn.marks |= connFIN1 | connRST | connReset | connClosed | connAnswered | connReused | connLossy
	torn.class, torn.initiator, torn.halfBase, torn.reuseAfter = lingering, 1, -1<<47, bits40
	torn.synAt = torn.startAt + bits24
	for i := range torn.ends {
		torn.ends[i].marks |= endFIN | endCovered | endOver
		torn.ends[i].maxAck, torn.ends[i].finEnd = 0, 1<<32-5
	}
	torn.ends[1].finAt, torn.ends[0].ackAt = at-1<<53, at-1<<53-overtaking+bits40
	torn.ends[0].finAt, torn.ends[1].ackAt, torn.rstAt = torn.endAt-bits40, torn.endAt-bits40+1, torn.endAt-bits40+2
	for name, c := range map[string]connection{"open": full, "least": least, "torn down": torn} {
		var (
			h hot
			l cold
		)
		back := torn // loading leaves nothing of what was there
		h.setKey(&c.key)
		c.store(&h, &l, 0, allParts)
		if back.load(&h, &l, o, allParts); back != c {
			t.Errorf("%s:\n stored %+v\n loaded %+v", name, c, back)
		}
	}
}

// TestSerialsAtRest: serials count on beyond what a slot has of them.
func TestSerialsAtRest(t *testing.T) {
	const first = 3<<40 - 2
	b := newBench(t, Config{FirstSerial: first})
	for i := range uint16(4) {
		b.play(between(1000+i, 443), opened...)
	}
	t.Log("as after years")
	b.serial += manySerials
	b.play(between(2000, 443), opened...)
	b.play(between(2001, 443), opened...)
	b.Flush(EndShutdown)
	for i, want := range []uint64{first, first + 1, first + 2, first + 3, first + 4 + manySerials, first + 5 + manySerials} {
		if got := b.records[i].Serial; got != want {
			t.Errorf("serial %d, not %d", got, want)
		}
	}
}

// TestSlicesOfMuch: what the kernel counted before a slice is taken off rightly,
// though a slot has no room for it.
func TestSlicesOfMuch(t *testing.T) {
	const much, more = uint64(1) << 50, uint64(1) << 34
	accounts := &fixedAccounts{}
	b := newBench(t, Config{Timeouts: Timeouts{Active: 10 * time.Second}, Accounts: accounts})
	v := between(40000, 443)
	b.play(v, opened[:2]...)
	g := v.segment(opened[2])
	g.Marks = segment.Counted | segment.HasEntry
	g.Own = segment.Direction{Packets: 1, FirstAt: g.At, LastAt: g.At}
	b.feed(g)
	for i, packets := range []uint64{much, much + more, much + 2*more} {
		accounts.counters[0] = segment.Direction{Packets: packets, Octets: 1000 * packets, Payload: 900 * packets, FirstAt: g.At, LastAt: g.At,
			Base: g.Seq, High: g.Seq + uint32(900*packets), Marks: segment.DirectionStarted}
		b.advance(time.Duration(i+1)*10*time.Second + 3*time.Second)
		if len(b.records) != i+1 {
			t.Fatalf("%d slices", len(b.records))
		}
		want := Side{Packets: more, Octets: 1000 * more, Payload: 900 * more}
		if i == 0 {
			want = Side{Packets: much + 1, Octets: 1000*much + 60, Payload: 900 * much}
		}
		if got := b.records[i].Client; got.Packets != want.Packets || got.Octets != want.Octets || got.Payload != want.Payload || b.records[i].Evidence == Lossy {
			t.Errorf("slice %d: %d packets, %d octets, %d of payload, not %d, %d, %d", i, got.Packets, got.Octets, got.Payload, want.Packets, want.Octets, want.Payload)
		}
	}
}
