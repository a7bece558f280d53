package flowtable

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// player makes up what two ends of one tuple send.
type player struct {
	v          conversation
	next       [2]uint32 // relative sequence number after what was sent: client, server
	acked      [2]uint32 // what each last acknowledged
	synAcked   bool      // a segment that opens an entry comes after the SYN-ACK
	finished   [2]bool
	generation uint32
}

// traffic is a random sequence of segments over few tuples: mostly orderly
// connections, and everything that may happen to them.
type traffic struct {
	*rand.Rand
	players []*player
	now     int64
	// orderly: a server speaks and is spoken to after its SYN-ACK only.
	orderly bool
}

func newTraffic(seed uint64, tuples int) *traffic {
	f := &traffic{Rand: rand.New(rand.NewPCG(seed, 1)), now: int64(time.Hour)}
	for i := range tuples {
		v := between(uint16(20000+i), 443)
		if i%2 == 1 {
			v.client, v.server = v.server, v.client
		}
		f.players = append(f.players, &player{v: v})
	}
	return f
}

// jump is what long silences are multiples of. No timeout of the tests comes
// near a multiple: where the kernel counts, a timeout is exact to a tick only.
const jump = 7 * time.Second

// wait leaves more between two segments than by which queues cross: a live tap
// judges closer ones by what they acknowledge, a capture by their order.
func (f *traffic) wait() {
	f.now += crossing + (1+f.Int64N(200))*int64(time.Microsecond)
	switch f.IntN(40) {
	case 0:
		f.now += int64(jump)
	case 1:
		f.now += f.Int64N(15) * int64(jump)
	}
}

func (f *traffic) step() *segment.Segment {
	f.wait()
	p := f.players[f.IntN(len(f.players))]
	side := f.IntN(2)
	st := step{from: Party(1 + side), flags: fA, seq: p.next[side], ack: p.next[1-side]}
	switch action := f.IntN(32); {
	case action == 0 || p.generation == 0:
		p.begin(f.Uint32())
		st = step{from: c, flags: fS, payload: uint32(f.IntN(20)/19) * 4}
		p.next[0] = 1 + st.payload
	case action == 1 && !p.finished[0] && !p.finished[1] && (!f.orderly || !p.synAcked):
		st = step{from: c, flags: fS} // again
	case action < 5:
		st = step{from: s, flags: fSA, ack: p.next[0]}
		p.synAcked = true
	case !p.synAcked && (f.orderly || action < 20):
		st = step{from: s, flags: fSA, ack: p.next[0]}
		p.synAcked = true
	case action == 5:
		st.flags = fR
		if f.IntN(2) == 0 {
			st.flags = fRA
		}
	case action < 9 && !p.finished[side]:
		st.flags, st.payload = fFA, uint32(f.IntN(3))
		p.next[side] += st.payload + 1
		p.finished[side] = true
	case action < 11: // something again
		st.payload = uint32(1 + f.IntN(30))
		st.seq -= st.payload
		if p.finished[side] {
			st.flags, st.payload = fFA, st.payload-1
		}
	case action < 20 && !p.finished[side]:
		st.flags, st.payload = fPA, uint32(1+f.IntN(3000))
		p.next[side] += st.payload
	case action == 20 && !p.finished[side]: // a gap, for which data is seen never or late
		p.next[side] += uint32(f.IntN(5000))
		st.seq = p.next[side]
	case action == 21 && p.acked[side] != 0: // an acknowledgement that was sent before others
		st.ack = p.acked[side]
	}
	if st.flags&segment.ACK != 0 {
		p.acked[st.from-1] = st.ack
	}
	g := p.v.segment(st)
	g.At = f.now
	return g
}

func (p *player) begin(isn uint32) {
	p.generation++
	p.v.clientISN, p.v.serverISN = isn, isn*2654435761
	p.next, p.acked, p.finished, p.synAcked = [2]uint32{1, 1}, [2]uint32{}, [2]bool{}, false
}

// accountsTimeouts lie between multiples of jump, with those of closed tuples.
func accountsTimeouts() Timeouts {
	return Timeouts{
		Opening:     3*jump + jump/2,
		Established: 12*jump + jump/2,
		Closing:     7*jump + jump/2,
		Active:      18*jump + jump/2,
		Linger:      2*jump + jump/2,
	}
}

// comparable is a replay's record without what no live one can know:
//   - when the client answered a SYN-ACK before which it had already spoken: the
//     kernel passes on the first segment only. An orderly connection of which
//     the SYN was seen has no such thing before a RST;
//   - when exactly an acknowledgement came that overtook its FIN, and so whether
//     that is too long before for a time.
func comparable(live, replay Record, orderly bool) (l, r Record, masked bool) {
	at, seen := live.Time(EstablishedAt)
	truth, answered := replay.Time(EstablishedAt)
	_, opening := replay.Time(SYNAt)
	_, reset := replay.Between(RSTAt, EstablishedAt)
	if answered && (!seen || at > truth) && (!orderly || !opening || reset) {
		replay.At[EstablishedAt], live.At[EstablishedAt] = 0, 0
		live.Seen |= 1 << EstablishedAt
		masked = true
	}
	for _, wave := range [...][2]Moment{{FIN1At, ACK1At}, {FIN2At, ACK2At}} {
		fin, ok1 := replay.Time(wave[0])
		ack, ok2 := replay.Time(wave[1])
		if ok1 && ok2 && ack < fin && live.At[wave[1]] <= fin && live.At[wave[1]] != ack {
			live.At[wave[1]] = ack
			masked = true
		}
		if early, seen := live.Time(wave[1]); ok1 && !ok2 && seen && early <= fin {
			live.At[wave[1]] = 0
			live.Seen &^= 1 << wave[1]
			masked = true
		}
	}
	return live, replay, masked
}

func compareRecords(t *testing.T, label string, orderly bool, got, want []Record) (masked int) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		live, replay, hidden := comparable(got[i], want[i], orderly)
		if live != replay {
			t.Fatalf("%s: record %d of %d\n live   %+v\n replay %+v", label, i, len(want), got[i], want[i])
		}
		if hidden {
			masked++
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records live, %d in a replay", label, len(got), len(want))
	}
	return masked
}

// TestLiveEqualsReplay feeds the same segments to a table that counts them all
// and to one that sees what the kernel passes on: the records are equal.
func TestLiveEqualsReplay(t *testing.T) {
	seeds := uint64(180)
	if testing.Short() {
		seeds = 30
	}
	var passed, total, slices, records, masked int
	for seed := range seeds {
		for _, flows := range []uint32{64, 3} {
			k := newKernel(1000)
			timeouts := accountsTimeouts()
			if seed%3 == 0 {
				timeouts.Established, timeouts.Active = 0, 5*jump+jump/2
			}
			live := newBench(t, Config{MaxFlows: flows, Timeouts: timeouts, Accounts: k})
			replayed := newBench(t, Config{MaxFlows: flows, Timeouts: timeouts})
			f := newTraffic(seed, 8)
			f.orderly = seed%4 != 0
			for range 1500 {
				g := f.step()
				plain := *g
				replayed.lax, live.lax = seed > 5, seed > 5
				replayed.feed(&plain)
				live.Advance(g.At)
				total++
				if k.see(g) {
					live.feed(g)
					passed++
				}
			}
			replayed.Flush(EndShutdown)
			live.Flush(EndShutdown)
			masked += compareRecords(t, fmt.Sprintf("seed %d, room for %d", seed, flows), f.orderly, live.records, replayed.records)
			live.Advance(f.now + 1)
			if len(k.entries) != 0 {
				t.Fatalf("seed %d: %d kernel entries are left over", seed, len(k.entries))
			}
			if n := live.Stats().AccountsFailed.Load(); n != 0 {
				t.Fatalf("seed %d: %d kernel counters were not there", seed, n)
			}
			records += len(live.records)
			slices += int(live.Stats().ByReason[EndActiveTimeout].Load())
		}
	}
	t.Logf("%d of %d segments were passed on; %d records, %d of them slices, %d with a time that is not known live",
		passed, total, records, slices, masked)
	if slices == 0 {
		t.Error("no connection was long enough for a slice")
	}
	if masked > records/10 {
		t.Errorf("%d of %d records were not compared as a whole", masked, records)
	}
}
