package flowtable

import (
	"fmt"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// liveBench is a table behind a kernel.
type liveBench struct {
	*bench
	*kernel
	passed int
}

func newLiveBench(t *testing.T, timeouts Timeouts) *liveBench {
	k := newKernel(100)
	return &liveBench{bench: newBench(t, Config{Timeouts: timeouts, Accounts: k}), kernel: k}
}

func (b *liveBench) play(v conversation, steps ...step) {
	b.Helper()
	for _, st := range steps {
		g := v.segment(st)
		b.Advance(g.At)
		if b.see(g) {
			b.passed++
			b.feed(g)
		}
		b.check()
	}
}

// TestHalfTheSequenceSpace: with 3 GiB between the handshake and the FIN, the
// handshake's acknowledgement must not seem to cover it.
func TestHalfTheSequenceSpace(t *testing.T) {
	const chunk = 1 << 28
	for _, slices := range []bool{false, true} {
		timeouts := LiveTimeouts()
		if slices {
			timeouts.Active = 2 * time.Second
		}
		b := newLiveBench(t, timeouts)
		v := between(40000, 443)
		b.play(v, opened[:3]...)
		sent := uint32(1)
		for i := range int64(12) {
			b.play(v, step{1000 + i*1000, s, fPA, sent, 1, chunk}, step{1001 + i*1000, c, fA, 1, sent + chunk, 0})
			sent += chunk
		}
		b.play(v, step{20000, s, fFA, sent, 1, 0})
		r := b.live()
		b.same("after the FIN", story(&r), "half_closed server ESTABLISHED/FIN-WAIT-1 syn:0 syn_ack:1 est:2 fin1:20000")
		b.play(v, step{20001, c, fA, 1, sent + 1, 0}, step{20002, c, fFA, 1, sent + 1, 0}, step{20003, s, fA, sent + 1, 2, 0})
		b.Flush(EndShutdown)
		last := &b.records[len(b.records)-1]
		b.same("closed", story(last), "four_way server CLOSED/TIME-WAIT complete syn:0 syn_ack:1 est:2 fin1:20000 ack1:20001 fin2:20002 ack2:20003")
		var packets, payload uint64
		for i := range b.records {
			packets, payload = packets+b.records[i].Server.Packets, payload+b.records[i].Server.Payload
		}
		if payload != 12*chunk || packets != 15 {
			t.Errorf("the server sent %d octets in %d packets, not %d in 15", payload, packets, 12*chunk)
		}
		if slices == (len(b.records) == 1) {
			t.Errorf("%d records", len(b.records))
		}
	}
}

// TestSliceKeepsEntry: a slice between a FIN and its ACK does not make the
// kernel forget what it waits for.
func TestSliceKeepsEntry(t *testing.T) {
	timeouts := LiveTimeouts()
	timeouts.Active = 10 * time.Second
	b := newLiveBench(t, timeouts)
	v := between(40000, 443)
	b.play(v, after(opened, step{9000, c, fFA, 11, 21, 0}, step{12000, c, fFA, 11, 21, 0})...)
	if len(b.records) != 1 || b.records[0].EndReason != EndActiveTimeout || b.took != 0 {
		t.Fatalf("%d records, %d entries deleted", len(b.records), b.took)
	}
	b.play(v, step{12001, s, fPA, 21, 11, 5}, step{12002, s, fA, 26, 12, 0}, step{12003, s, fFA, 26, 12, 0}, step{12004, c, fA, 12, 27, 0})
	b.advance(20 * time.Second)
	r := &b.records[1]
	b.same("closed", story(r), "four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:9000 ack1:12002 fin2:12003 ack2:12004")
	b.same("counts", counts(&b.records[0])+", "+counts(r), "4/10/0/0 2/20/0/0, 2/0/0/1 3/5/0/0")
	if r.Slice != 1 || r.HalfClosePayload != 5 || r.Evidence != Full {
		t.Errorf("slice %d, half close payload %d, evidence %v", r.Slice, r.HalfClosePayload, r.Evidence)
	}
}

// TestDataKeepsAlive: data that only the kernel saw holds a connection.
func TestDataKeepsAlive(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, opened[:3]...)
	for minute := range int64(20) {
		b.play(v, step{1000 + minute*60000, c, fPA, 1 + uint32(minute), 1, 1})
	}
	if len(b.records) != 0 || b.passed != 3 {
		t.Fatalf("%d records, %d segments passed", len(b.records), b.passed)
	}
	b.advance(26 * time.Minute)
	r := b.one()
	if r.EndReason != EndIdleTimeout || r.EndAt != (1000+19*60000)*ms || r.Client.Packets != 22 || r.Client.Payload != 20 {
		t.Errorf("%v at %d ms: %s", r.EndReason, r.EndAt/ms, counts(r))
	}
	if len(b.entries) != 0 {
		t.Error("the kernel entry is left over")
	}
}

// TestDeafKernel: nothing ends on a guess while the kernel cannot be asked,
// and what was not read is said to be missing.
func TestDeafKernel(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, opened...)
	b.deaf = true
	b.advance(20 * time.Minute)
	if len(b.records) != 0 || b.Stats().AccountsFailed.Load() == 0 {
		t.Fatalf("%d records, %d failures", len(b.records), b.Stats().AccountsFailed.Load())
	}
	if err := b.Connections(func(*Record) bool { return true }); err == nil {
		t.Error("a view without counters is no error")
	}
	failed := b.Stats().AccountsFailed.Load()
	b.Flush(EndShutdown)
	if r := b.one(); r.Evidence != Lossy || r.Client.Packets != 1 {
		t.Errorf("evidence %v, counts %s", r.Evidence, counts(r))
	}
	if got := b.Stats().AccountsFailed.Load() - failed; got != 1 {
		t.Errorf("one entry that was not read counts as %d", got)
	}
}

func TestDeafKernelRecovers(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	b.play(between(40000, 443), opened...)
	b.deaf = true
	b.advance(20 * time.Minute)
	b.deaf = false
	b.advance(21 * time.Minute)
	if r := b.one(); r.EndReason != EndIdleTimeout || r.Client.Packets != 3 || r.Evidence != Full {
		t.Errorf("%v, evidence %v, %s", r.EndReason, r.Evidence, counts(r))
	}
}

// TestEntryLost: somebody else deleted the entry, before or after a slice.
func TestEntryLost(t *testing.T) {
	timeouts := LiveTimeouts()
	timeouts.Active = 10 * time.Second
	v := between(40000, 443)
	for _, again := range []bool{false, true} {
		b := newLiveBench(t, timeouts)
		b.play(v, opened...)
		b.advance(11 * time.Second)
		clear(b.entries)
		if again {
			b.play(v, step{12000, c, fPA, 11, 21, 5})
		}
		b.Flush(EndShutdown)
		r := &b.records[1]
		want := "0/0/0/0 0/0/0/0"
		if again {
			want = "0/5/0/0 0/0/0/0"
		}
		if got := counts(r); r.Evidence != Lossy || got[len(got)-8:] != want[len(want)-8:] || r.Client.Packets > 1 || r.Client.Octets > 65 {
			t.Errorf("evidence %v, counts %s", r.Evidence, got)
		}
	}
}

// TestStray: an entry that a late segment made is deleted, and not the one of
// a new connection on the tuple.
func TestStray(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fA, 12, 22, 0})...)
	b.advance(5 * time.Second)
	if b.one(); len(b.entries) != 0 {
		t.Fatal("the entry is left over")
	}
	b.play(v, step{6000, c, fA, 12, 22, 0})
	if len(b.entries) != 1 {
		t.Fatal("the late segment made no entry")
	}
	b.advance(7 * time.Second)
	if len(b.entries) != 0 || b.Stats().Late.Load() != 1 {
		t.Fatalf("%d entries, %d late", len(b.entries), b.Stats().Late.Load())
	}

	// The kernel is ahead: it saw the whole handshake before the table did.
	late, syn := v.segment(step{8000, c, fA, 12, 22, 0}), v.segment(step{8001, c, fS, 70000, 0, 0})
	synAck, ack := v.segment(step{8001, s, fSA, 80000, 70001, 0}), v.segment(step{8001, c, fA, 70001, 80001, 0})
	late.At = 8001 * ms
	for _, g := range []*segment.Segment{late, syn, synAck, ack} {
		if !b.see(g) {
			t.Fatal("a segment was not passed on")
		}
	}
	b.Advance(8001 * ms)
	b.feed(late, syn, synAck, ack)
	b.advance(9 * time.Second)
	b.play(v, step{9001, c, fR, 70001, 0, 0})
	b.Flush(EndShutdown)
	if got := counts(&b.records[1]); got != "3/0/0/0 1/0/0/0" || b.records[1].Evidence != Full {
		t.Errorf("counts of the new connection are %s, evidence %v", got, b.records[1].Evidence)
	}
}

// TestAnswerOvertakes: the ACK that opens the entry is seen before the SYN-ACK
// that it answers, and establishes the connection all the same.
func TestAnswerOvertakes(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, step{0, c, fS, 0, 0, 0}, step{1, c, fA, 1, 1, 0}, step{2, s, fSA, 0, 1, 0}, step{3, c, fPA, 1, 1, 10}, step{4, s, fPA, 1, 11, 20},
		step{500, c, fFA, 11, 21, 0}, step{501, s, fFA, 21, 12, 0}, step{502, c, fA, 12, 22, 0})
	b.Flush(EndShutdown)
	b.same("closed", story(b.one()), "three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:2 est:1 fin1:500 ack1:501 fin2:501 ack2:502")
	b.same("counts", counts(b.one()), "5/10/0/0 3/20/0/0")
}

// TestQueuesOvertake: the kernel counts in the right order, but the segments
// of one queue come here before those of the other.
func TestQueuesOvertake(t *testing.T) {
	v := between(40000, 443)
	for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {1, 2, 0}, {0, 2, 1}, {2, 0, 1}} {
		b := newLiveBench(t, LiveTimeouts())
		b.play(v, opened...)
		var passed []*segment.Segment
		for _, st := range []step{{5, c, fFA, 11, 21, 0}, {6, s, fFA, 21, 12, 7}, {7, c, fA, 12, 29, 0}} {
			g := v.segment(st)
			if !b.see(g) {
				t.Fatalf("the segment at %d ms is not passed on", st.at)
			}
			passed = append(passed, g)
		}
		for _, i := range order {
			b.feed(passed[i])
		}
		b.Flush(EndShutdown)
		r := b.one()
		b.same(fmt.Sprint(order), story(r), "three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7")
		b.same("counts", counts(r), "5/10/0/0 3/27/0/0")
		if r.HalfClosePayload != 7 {
			t.Errorf("%v: half close payload is %d", order, r.HalfClosePayload)
		}
	}
}

// TestFINsAtOnce: both FINs are in the kernel at the same time, on two CPUs. FIN1 is
// described once FIN2 is counted, so that it finds itself acknowledged, and FIN2 is
// the first segment that covers it all the same. The last time that FIN1 finds with
// that is FIN2's, or that of the segment before.
func TestFINsAtOnce(t *testing.T) {
	v := between(40000, 443)
	for _, test := range []struct {
		payload uint32 // of FIN2
		lastAt  int64  // ms
		late    bool   // FIN1 comes here last
	}{{0, 4, false}, {0, 6, false}, {7, 4, false}, {7, 6, false}, {0, 4, true}, {0, 6, true}} {
		b := newLiveBench(t, LiveTimeouts())
		b.play(v, opened...)
		fin1, fin2 := v.segment(step{5, c, fFA, 11, 21, 0}), v.segment(step{6, s, fFA, 21, 12, test.payload})
		b.see(fin1)
		b.see(fin2)
		fin1.Other = fin2.Own
		fin1.Other.LastAt = test.lastAt * ms
		if test.late {
			b.feed(fin2, fin1)
		} else {
			b.feed(fin1, fin2)
		}
		b.play(v, step{7, c, fA, 12, 22 + test.payload, 0})
		b.Flush(EndShutdown)
		r := b.one()
		b.same(fmt.Sprint(test), story(r), "three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:5 ack1:6 fin2:6 ack2:7")
		if r.HalfClosePayload != uint64(test.payload) {
			t.Errorf("%v: half close payload is %d", test, r.HalfClosePayload)
		}
	}
}

// TestFINOvertakesCountedData: the kernel counts FIN1 before payload that it
// acknowledges, of which a queue is late.
func TestFINOvertakesCountedData(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, opened...)
	b.play(v, step{5, c, fFA, 11, 1021, 0}, step{4, s, fPA, 21, 11, 1000}, step{6, s, fPA, 1021, 12, 70},
		step{7, s, fFA, 1091, 12, 9}, step{8, c, fA, 12, 1101, 0})
	b.Flush(EndShutdown)
	b.same("counts", counts(b.one()), "5/10/0/0 5/1099/0/0")
	if half := b.one().HalfClosePayload; half != 79 {
		t.Errorf("half close payload is %d, not 79", half)
	}
}

// TestACKOvertakesFIN: an acknowledgement is counted before the FIN that it answers,
// and nobody passes it on. A FIN2 right after it is not what answered.
func TestACKOvertakesFIN(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, opened...)
	b.play(v, step{6, s, fA, 21, 12, 0}, step{7, c, fFA, 11, 21, 0}, step{8, s, fFA, 21, 12, 0}, step{9, c, fA, 12, 22, 0})
	b.Flush(EndShutdown)
	b.same("overtaken", story(b.one()), "four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:7 ack1:6 fin2:8 ack2:9")
}

// TestSYNOvertaken: all that a server sends to close a connection is seen before the
// client's SYN, on another queue. The kernel's entry is of this connection, and stays.
func TestSYNOvertaken(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	b.crossing = true
	v := between(40000, 443)
	b.play(v, step{1, s, fSA, 0, 1, 0}, step{2, s, fPA, 1, 11, 20}, step{3, s, fFA, 21, 11, 0}, step{4, s, fA, 22, 12, 0})
	b.play(v, step{5, c, fS, 0, 0, 0}, step{5, c, fA, 1, 1, 0}, step{5, c, fPA, 1, 1, 10}, step{6, c, fFA, 11, 22, 0})
	b.Flush(EndShutdown)
	r := b.one()
	b.same("closed", story(r), "three_way server CLOSED/TIME-WAIT complete syn:5 syn_ack:1 est:5 fin1:3 ack1:6 fin2:6 ack2:4")
	b.same("counts", counts(r), "4/10/0/0 4/20/0/0")
	if r.Evidence != Full || r.Server.Octets != 4*60+20 {
		t.Errorf("evidence %v, %d octets of the server", r.Evidence, r.Server.Octets)
	}

	// The same where the SYN-ACK was not seen.
	b = newLiveBench(t, LiveTimeouts())
	b.crossing = true
	b.play(v, step{2, s, fPA, 1, 11, 20}, step{5, c, fS, 0, 0, 0}, step{5, c, fPA, 1, 1, 10}, step{6, c, fR, 11, 0, 0})
	b.Flush(EndShutdown)
	b.same("without SYN-ACK", counts(b.one()), "3/10/0/0 1/20/0/0")
}

// TestClocksCross: two queues read the clock in the wrong order, and what
// answers has the earlier time. Acknowledgements tell who was first; durations
// between such times are not known.
func TestClocksCross(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	feed := func(early time.Duration, st step) {
		t.Helper()
		g := v.segment(st)
		g.At -= int64(early)
		b.Advance(g.At)
		if !b.see(g) {
			t.Fatalf("the segment at %d ms is not passed on", st.at)
		}
		b.feed(g)
	}
	feed(0, step{0, c, fS, 0, 0, 0})
	feed(20*time.Microsecond, step{2, c, fA, 1, 1, 0})
	feed(0, step{2, s, fSA, 0, 1, 0})
	feed(10*time.Microsecond, step{5, s, fFA, 1, 2, 0})
	feed(0, step{5, c, fFA, 1, 1, 0})
	feed(0, step{7, c, fA, 2, 2, 0})
	b.Flush(EndShutdown)
	r := b.one()
	if r.CloseKind != ThreeWay || r.Initiator != Client || !r.Complete || r.Client.State != StateTimeWait || r.Server.State != StateClosed {
		t.Errorf("%v closed by %v, complete %v, states %v %v", r.CloseKind, r.Initiator, r.Complete, r.Client.State, r.Server.State)
	}
	if at, seen := r.Time(EstablishedAt); !seen || at != 2e6-20e3 {
		t.Errorf("established at %d, %v", at, seen)
	}
	for _, ends := range [][2]Moment{{SYNACKAt, EstablishedAt}, {FIN1At, ACK1At}} {
		if d, known := r.Between(ends[0], ends[1]); known {
			t.Errorf("%v took %d ns although its end has the earlier time", ends, d)
		}
	}
	if d, known := r.Phase(LastACK); !known || d != 2e6+10e3 {
		t.Errorf("LAST-ACK took %d ns, %v", d, known)
	}
}

// TestSYNACKOvertakesOnReusedTuple: the tuple of a closed connection is taken
// again, and the SYN-ACK is seen before its SYN. Both belong to the new one.
func TestSYNACKOvertakesOnReusedTuple(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, finished...)
	b.play(v, step{100, s, fSA, 80000, 70001, 0}, step{101, c, fS, 70000, 0, 0}, step{102, c, fA, 70001, 80001, 0},
		step{103, c, fFA, 70001, 80001, 0}, step{104, s, fFA, 80001, 70002, 0}, step{105, c, fA, 70002, 80002, 0})
	b.Flush(EndShutdown)
	if len(b.records) != 2 {
		t.Fatalf("%d records of two connections", len(b.records))
	}
	first, second := &b.records[0], &b.records[1]
	if first.Server.SYNRetransmits != 0 || first.EndReason != EndClosed {
		t.Errorf("the old connection counts the SYN-ACK of the new: %+v", first)
	}
	b.same("the new connection", story(second), "three_way client TIME-WAIT/CLOSED complete syn:101 syn_ack:100 est:102 fin1:103 ack1:104 fin2:104 ack2:105")
	b.same("its counts", counts(second), "4/0/0/0 2/0/0/0")
	closed, _ := first.Time(ACK2At)
	if !second.Reused || second.ReuseAfter != second.At[SYNAt]-closed {
		t.Errorf("reused %v after %d ns, closed at %d, SYN at %d", second.Reused, second.ReuseAfter, closed, second.At[SYNAt])
	}
}

// TestBothTakeTheEntry: the SYN and the SYN-ACK of the next connection remove the
// entry on two CPUs at once, and both bring its counters, in either order.
func TestBothTakeTheEntry(t *testing.T) {
	v := between(40000, 443)
	for _, synFirst := range []bool{true, false} {
		b := newLiveBench(t, LiveTimeouts())
		b.play(v, finished...)
		syn, synAck := v.segment(step{100, c, fS, 70000, 0, 0}), v.segment(step{101, s, fSA, 80000, 70001, 0})
		b.see(syn)
		synAck.Marks, synAck.Own, synAck.Other = syn.Marks, syn.Other, syn.Own
		// The next connection's entry stands before either is followed.
		ack := v.segment(step{102, c, fA, 70001, 80001, 0})
		b.see(ack)
		if synFirst {
			b.feed(syn, synAck, ack)
		} else {
			b.feed(synAck, syn, ack)
		}
		b.Flush(EndShutdown)
		if len(b.records) != 2 {
			t.Fatalf("%d records of two connections", len(b.records))
		}
		b.same("the old connection's counts", counts(&b.records[0]), "5/10/0/0 3/20/0/0")
		b.same("the new connection's counts", counts(&b.records[1]), "2/0/0/0 1/0/0/0")
		for i := range b.records {
			if b.records[i].Evidence != Full {
				t.Errorf("record %d, SYN first %v: evidence %v", i, synFirst, b.records[i].Evidence)
			}
		}
	}
}

// TestEntryVanishes: a SYN that brings no counters has lost the old
// connection's. Those that stand now are the new one's.
func TestEntryVanishes(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	v := between(40000, 443)
	b.play(v, finished...)
	syn, ack := v.segment(step{100, c, fS, 70000, 0, 0}), v.segment(step{102, c, fA, 70001, 80001, 0})
	b.see(syn)
	syn.Marks = 0
	b.see(ack)
	b.feed(syn, ack)
	b.Flush(EndShutdown)
	if len(b.records) != 2 || b.records[0].Evidence != Lossy || b.records[1].Evidence == Lossy {
		t.Errorf("evidence of %d records: %v, %v", len(b.records), b.records[0].Evidence, b.records[1].Evidence)
	}
	b.same("the new connection's counts", counts(&b.records[1]), "2/0/0/0 0/0/0/0")
}

// TestNoNegativeReuse: the close of the connection before was overtaken by the
// SYN of the next.
func TestNoNegativeReuse(t *testing.T) {
	b := newBench(t, Config{Timeouts: LiveTimeouts()})
	v := between(40000, 443)
	b.play(v, finished...)
	b.play(v, step{6, c, fS, 70000, 0, 0})
	if r := b.live(); r.Reused || r.ReuseAfter != 0 {
		t.Errorf("reused after %d ns", r.ReuseAfter)
	}
}

// TestUncounted: while the kernel has no room, a connection without an entry may
// miss data segments; one with an entry is exact.
func TestUncounted(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	early, late := between(40000, 443), between(40001, 443)
	b.play(early, opened...)
	b.room = 1
	b.play(late, shifted(opened, 100)...)
	b.Uncounted(b.Now())
	b.Flush(EndShutdown)
	if len(b.records) != 2 || b.records[0].Evidence != Full || b.records[1].Evidence != Lossy {
		t.Errorf("evidence %v with an entry, %v without", b.records[0].Evidence, b.records[1].Evidence)
	}
}

// TestFullKernel: where the kernel has no room, control segments are counted
// here and the record says that others are missing.
func TestFullKernel(t *testing.T) {
	b := newLiveBench(t, LiveTimeouts())
	b.room = 0
	v := between(40000, 443)
	b.play(v, after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fA, 12, 22, 0})...)
	b.Flush(EndShutdown)
	r := b.one()
	b.same("closed", story(r), "three_way client FIN-WAIT-2/LAST-ACK syn:0 syn_ack:1 fin1:5 ack1:6 fin2:6")
	b.same("counts", counts(r), "2/10/0/0 2/20/0/0")
	if r.Evidence != Lossy {
		t.Errorf("evidence is %v", r.Evidence)
	}
}
