package flowtable

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// finished closes what opened opened, at 7 ms.
var finished = after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}, step{7, c, fA, 12, 22, 0})

// TestIdleTimeouts: a segment at the limit belongs to the connection, one a
// nanosecond later does not; for no segment, the timer is late by one tick.
func TestIdleTimeouts(t *testing.T) {
	for _, test := range []struct {
		name   string
		steps  []step
		limit  time.Duration // of ReplayTimeouts
		reason EndReason
	}{
		{"opening", opened[:1], 30 * time.Second, EndIdleTimeout},
		{"opening, answered", opened[:2], 30 * time.Second, EndIdleTimeout},
		{"established", opened, 5 * time.Minute, EndIdleTimeout},
		{"joined midway", opened[3:], 5 * time.Minute, EndIdleTimeout},
		{"half closed", after(opened, step{5, c, fFA, 11, 21, 0}), 5 * time.Minute, EndIdleTimeout},
		{"half closed and acknowledged", after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fA, 21, 12, 0}), 5 * time.Minute, EndIdleTimeout},
		{"closing", after(opened, step{5, c, fFA, 11, 21, 0}, step{6, s, fFA, 21, 12, 0}), time.Minute, EndIdleTimeout},
		{"closed", finished, time.Minute, EndClosed},
		{"reset", after(opened, step{5, s, fR, 21, 0, 0}), time.Minute, EndClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := between(40000, 443)
			last := test.steps[len(test.steps)-1].at * ms
			late := func(at int64) (*bench, *segment.Segment) {
				b := newBench(t, Config{Timeouts: ReplayTimeouts()})
				b.play(v, test.steps...)
				g := v.segment(step{0, s, fA, 0, 0, 0})
				g.At = at
				return b, g
			}

			b, g := late(last + int64(test.limit))
			b.feed(g)
			if len(b.records) != 0 || b.Stats().Connections.Load() != 1 || b.Stats().Late.Load() != 0 {
				t.Error("a segment at the limit does not belong to the connection")
			}
			if r := b.live(); r.EndAt != g.At {
				t.Error("a segment at the limit is not the last")
			}

			b, g = late(last + int64(test.limit) + 1)
			b.feed(g)
			if r := b.one(); r.EndReason != test.reason || r.EndAt != last {
				t.Errorf("after the limit: %v at %d", r.EndReason, r.EndAt)
			}
			if isLate := b.Stats().Late.Load() == 1; isLate != (test.reason == EndClosed) {
				t.Errorf("the late segment was counted as such: %v", isLate)
			}

			b, _ = late(0)
			b.advance(time.Duration(last) + test.limit)
			if len(b.records) != 0 {
				t.Error("the timer is early")
			}
			b.advance(time.Duration(last) + test.limit + 2*test.limit/wheelTicks)
			if r := b.one(); r.EndReason != test.reason || r.EndAt != last {
				t.Errorf("by the timer: %v at %d", r.EndReason, r.EndAt)
			}
		})
	}
}

func TestNever(t *testing.T) {
	b := newBench(t, Config{})
	for i, steps := range [][]step{opened[:1], opened, finished[:7], finished} {
		b.play(between(uint16(1000+i), 443), steps...)
	}
	for _, at := range []time.Duration{time.Hour, 1000 * time.Hour, 1001 * time.Hour, 6000 * time.Hour} {
		b.advance(at)
	}
	if len(b.records) != 0 {
		t.Errorf("%d records", len(b.records))
	}
	b.Flush(EndShutdown)
	var reasons []string
	for _, r := range b.records {
		reasons = append(reasons, r.EndReason.String())
	}
	b.same("reasons", strings.Join(reasons, " "), "shutdown shutdown shutdown closed")
	b.check()
}

// TestLeap: a capture that begins years after the one before it finds nothing
// of that, and its own times are right.
func TestLeap(t *testing.T) {
	for _, timeouts := range []Timeouts{{}, ReplayTimeouts()} {
		b := newBench(t, Config{Timeouts: timeouts})
		v := between(1000, 443)
		b.play(v, opened...)
		b.play(v, shifted(finished, math.MaxInt64/2/ms)...)
		b.Flush(EndShutdown)
		want := EndCaptureEnd
		if timeouts.Established > 0 {
			want = EndIdleTimeout
		}
		if len(b.records) != 2 || b.records[0].EndReason != want || b.records[1].EndReason != EndClosed {
			t.Fatalf("%d records, %+v", len(b.records), b.records)
		}
		first, last := &finished[0], &finished[len(finished)-1]
		if r := &b.records[1]; r.EndAt-r.StartAt != (last.at-first.at)*ms || r.EndAt < math.MaxInt64/2 {
			t.Errorf("from %d to %d", r.StartAt, r.EndAt)
		}
		b.check()
	}
}

// TestLongLife: a connection of years keeps the times of its last year.
func TestLongLife(t *testing.T) {
	b := newBench(t, Config{Timeouts: Timeouts{Linger: time.Second}})
	v := between(1000, 443)
	b.play(v, opened...)
	const day = 24 * int64(time.Hour/time.Millisecond)
	for at := int64(100); at <= 400; at += 100 {
		b.play(v, step{at * day, c, fPA, uint32(at), 21, 100})
	}
	b.play(v, step{400*day + 5, c, fFA, 500, 21, 0}, step{400*day + 7, s, fA, 21, 501, 0})
	r := b.live()
	if ns, ok := r.Phase(FINWait1); !ok || ns != 2*ms || r.EndAt != (400*day+7)*ms || r.StartAt != 0 {
		t.Errorf("fin_wait_1 %d, from %d to %d", ns, r.StartAt, r.EndAt)
	}
}

func TestLateSegmentsCount(t *testing.T) {
	v := between(40000, 443)
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(v, finished...)
	b.play(v, step{59000, s, fA, 22, 12, 0}) // in the linger
	b.advance(61 * time.Second)
	if r := b.one(); r.Server.Packets != 4 || r.EndAt != 59000*ms {
		t.Errorf("%s at %d", counts(r), r.EndAt)
	}
	b.play(v, step{62000, s, fA, 22, 12, 0}, step{63000, c, fR, 12, 0, 0}, step{64000, c, fFA, 11, 0, 0})
	b.play(v, step{7 + 120000, s, fA, 22, 12, 0}) // the last moment of linger and 2 MSL
	if got := b.Stats().Late.Load(); got != 4 || b.Stats().Connections.Load() != 0 {
		t.Errorf("%d are late", got)
	}
	b.play(v, step{7 + 120001, s, fA, 22, 12, 0})
	if b.Stats().Connections.Load() != 1 || b.Stats().Late.Load() != 4 {
		t.Error("a forgotten tuple begins no connection")
	}
}

func TestReuse(t *testing.T) {
	for _, test := range []struct {
		at     int64 // ms of the new SYN
		linger time.Duration
		reused bool
	}{
		{8, time.Second, true}, {999, time.Second, true}, {2000, time.Second, true},
		{61007, time.Second, true}, {61008, time.Second, false}, {120000, time.Second, false},
		{30000, time.Minute, true}, {120007, time.Minute, true}, {120008, time.Minute, false},
		{59000, 0, true}, {50000000, 0, false}, // lingers for ever, and is no TIME-WAIT any more
	} {
		timeouts := ReplayTimeouts()
		timeouts.Linger = test.linger
		b := newBench(t, Config{Timeouts: timeouts})
		v := between(40000, 443)
		b.play(v, finished...)
		b.play(v, step{test.at, c, fS, 70000, 0, 0})
		r := b.one()
		if r.EndReason != EndClosed || r.Reused {
			t.Errorf("the old connection ended as %v", r.EndReason)
		}
		if fresh := b.live(); fresh.Reused != test.reused || fresh.Reused && fresh.ReuseAfter != (test.at-7)*ms {
			t.Errorf("SYN at %d ms: reused %v after %d ns", test.at, fresh.Reused, fresh.ReuseAfter)
		}
	}
}

func TestReuseOfOpen(t *testing.T) {
	v := between(40000, 443)
	for _, steps := range [][]step{opened[:1], opened[:2], opened, finished[:6], finished[:7]} {
		b := newBench(t, Config{Timeouts: ReplayTimeouts()})
		b.play(v, steps...)
		b.play(v, step{1000, c, fS, 70000, 0, 0})
		if r, fresh := b.one(), b.live(); r.EndReason != EndReused || fresh.Reused {
			t.Errorf("after %d segments: %v, reused %v", len(steps), r.EndReason, fresh.Reused)
		}
	}
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	b.play(v, opened...)
	b.play(v, step{1000, c, fS, 0, 0, 0}) // the same ISN
	if r := b.live(); len(b.records) != 0 || r.Client.SYNRetransmits != 1 {
		t.Error("a repeated SYN begins a new connection")
	}
	b.play(v, step{1001, s, fS, 0, 0, 0}) // from the other side, with the number of its SYN-ACK
	if len(b.records) != 0 {
		t.Error("a SYN with the number of the SYN-ACK begins a new connection")
	}
	b.play(v, step{1002, s, fS, 90, 0, 0})
	if r := b.one(); r.EndReason != EndReused || b.live().Client.Port != 443 {
		t.Error("the server's own SYN begins no connection")
	}
}

// TestReuseTwice: what is remembered of a tuple is its last close.
func TestReuseTwice(t *testing.T) {
	b := newBench(t, Config{Timeouts: LiveTimeouts()})
	v := between(40000, 443)
	for i := range int64(5) {
		at := i * 30000
		b.play(v, step{at, c, fS, uint32(i) * 1000, 0, 0}, step{at + 100, s, fRA, 0, uint32(i)*1000 + 1, 0})
		b.advance(time.Duration(at)*time.Millisecond + 10*time.Second)
	}
	for i, r := range b.records {
		if r.Reused != (i > 0) || r.Reused && r.ReuseAfter != 29900*ms {
			t.Errorf("record %d: reused %v after %d", i, r.Reused, r.ReuseAfter)
		}
	}
	if n := len(b.records); n != 5 {
		t.Errorf("%d records", n)
	}
}

func TestSlices(t *testing.T) {
	timeouts := LiveTimeouts()
	timeouts.Active = time.Minute
	b := newBench(t, Config{Timeouts: timeouts})
	v := between(40000, 443)
	b.play(v, opened...)
	b.play(v, step{50000, c, fFA, 11, 21, 0}, step{50001, s, fA, 21, 12, 0}) // half closed
	for i := range int64(4) {
		b.play(v, step{70000 + i*60000, s, fPA, uint32(21 + 100*i), 12, 100})
	}
	b.play(v, step{260000, s, fFA, 421, 12, 0}, step{260001, c, fA, 12, 422, 0})
	b.advance(5 * time.Minute)
	var got []string
	serials := map[uint64]bool{}
	for i := range b.records {
		r := &b.records[i]
		serials[r.Serial] = true
		got = append(got, fmt.Sprintf("%d %v %v %s %d %v", r.Slice, r.EndReason, r.CloseKind, counts(r), r.HalfClosePayload, r.Evidence))
	}
	b.same("slices", strings.Join(got, "\n"), strings.Join([]string{
		"0 active_timeout half_closed 4/10/0/0 3/20/0/0 0 full",
		"1 active_timeout half_closed 0/0/0/0 1/100/0/0 100 full",
		"2 active_timeout half_closed 0/0/0/0 1/100/0/0 200 full",
		"3 active_timeout half_closed 0/0/0/0 1/100/0/0 300 full",
		"4 closed four_way 1/0/0/0 2/100/0/0 400 full",
	}, "\n"))
	if len(serials) != len(b.records) {
		t.Errorf("%d serials for %d records", len(serials), len(b.records))
	}
	b.same("story", story(&b.records[4]), "four_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:1 est:2 fin1:50000 ack1:50001 fin2:260000 ack2:260001")
}

// TestQuietSlice: a side that was quiet since the last slice has answered once.
func TestQuietSlice(t *testing.T) {
	b := newBench(t, Config{Timeouts: Timeouts{Active: time.Minute}})
	b.play(between(40000, 443), opened...)
	for minute := 1; minute <= 20; minute++ {
		b.advance(time.Duration(minute)*time.Minute + 2*time.Second)
		if len(b.records) != minute {
			t.Fatalf("%d slices after %d minutes", len(b.records), minute)
		}
		if r := &b.records[minute-1]; r.CloseKind != Open || r.Evidence != Full || r.Slice != uint32(minute-1) {
			t.Fatalf("slice %d of a quiet connection is %v, evidence %v", r.Slice, r.CloseKind, r.Evidence)
		}
	}
	b.play(between(40000, 443), step{2000000, s, fR, 21, 0, 0})
	b.Flush(EndShutdown)
	b.same("last", story(&b.records[len(b.records)-1]), "reset server CLOSED/CLOSED complete syn:0 syn_ack:1 est:2 rst:2000000 by server")
}

func TestRefusedAfterSlice(t *testing.T) {
	b := newBench(t, Config{Timeouts: Timeouts{Active: time.Second}})
	v := between(40000, 443)
	b.play(v, step{0, c, fS, 0, 0, 0}, step{1, s, fA, 900, 77, 0})
	b.advance(3 * time.Second)
	b.play(v, step{3000, s, fR, 77, 0, 0})
	if r := b.live(); r.CloseKind != Reset {
		t.Errorf("%v, though the server had spoken before the last slice", r.CloseKind)
	}
}

func TestTimeJumps(t *testing.T) {
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	v := between(40000, 443)
	b.play(v, opened...)
	b.advance(20 * 365 * 24 * time.Hour)
	if r := b.one(); r.EndReason != EndIdleTimeout || r.EndAt != 4*ms {
		t.Errorf("%v at %d", r.EndReason, r.EndAt)
	}
	const later = 20 * 365 * 24 * 3600 * 1000
	b.play(v, step{later + 1, c, fS, 0, 0, 0}, step{later + 2, s, fRA, 0, 1, 0})
	b.Advance(math.MaxInt64)
	b.check()
	if len(b.records) != 2 || b.records[1].EndReason != EndClosed {
		t.Errorf("%d records", len(b.records))
	}
}

// TestTimeGoesBack: segments of the other direction may be older.
func TestTimeGoesBack(t *testing.T) {
	b := newBench(t, Config{Timeouts: ReplayTimeouts()})
	v := between(40000, 443)
	b.play(v, step{10000, c, fS, 0, 0, 0}, step{9999, s, fSA, 0, 1, 0}, step{9000, c, fA, 1, 1, 0}, step{10001, c, fPA, 1, 1, 1})
	if r := b.live(); r.StartAt != 9000*ms || r.EndAt != 10001*ms || r.Seen != 1<<SYNAt|1<<SYNACKAt|1<<EstablishedAt {
		t.Errorf("%s from %d to %d", story(&r), r.StartAt, r.EndAt)
	}
	if r := b.live(); func() bool { _, ok := r.Between(SYNAt, SYNACKAt); return ok }() {
		t.Error("a handshake that goes back in time has a duration")
	}
	// Another connection, hours back: over as soon as time goes on.
	b.play(between(1, 2), step{-7200000, c, fS, 0, 0, 0})
	b.advance(11 * time.Second)
	if r := b.one(); r.EndReason != EndIdleTimeout || r.Client.Port != 1 {
		t.Errorf("%v", r.EndReason)
	}
}

func TestFlushAndRestart(t *testing.T) {
	b := newBench(t, Config{Timeouts: ReplayTimeouts(), MaxFlows: 500})
	for i := range uint16(200) {
		b.play(between(1000+i, 443), step{3600000 + int64(i), c, fS, 0, 0, 0}, step{3600300, s, fRA, 0, 1, 0})
	}
	b.Flush(EndCaptureEnd)
	b.check()
	if len(b.records) != 200 {
		t.Fatalf("%d records", len(b.records))
	}
	b.Flush(EndCaptureEnd)
	if len(b.records) != 200 {
		t.Fatal("an empty table has records")
	}
	// A capture of earlier times: the other one's tuples are none of its own.
	b.Restart(0)
	b.play(between(1000, 443), step{0, c, fA, 1, 1, 0}, step{1, c, fFA, 1, 1, 0})
	b.play(between(1001, 443), step{2, c, fS, 1, 0, 0})
	b.advance(6 * time.Minute)
	if len(b.records) != 202 || b.Stats().Late.Load() != 0 {
		t.Fatalf("%d records, %d late", len(b.records), b.Stats().Late.Load())
	}
	for _, r := range b.records[200:] {
		if r.EndReason != EndIdleTimeout || r.Reused {
			t.Errorf("%v, reused %v", r.EndReason, r.Reused)
		}
	}
}

// TestEpoch: a time of 0 is a time like any other.
func TestEpoch(t *testing.T) {
	r := replay(t, between(40000, 443), step{0, c, fS, 0, 0, 0}, step{0, s, fSA, 0, 1, 0}, step{0, c, fA, 1, 1, 0},
		step{0, c, fFA, 1, 1, 0}, step{0, s, fFA, 1, 2, 0}, step{0, c, fA, 2, 2, 0})
	if got := story(r); got != "three_way client TIME-WAIT/CLOSED complete syn:0 syn_ack:0 est:0 fin1:0 ack1:0 fin2:0 ack2:0" {
		t.Error(got)
	}
}

// TestWheel holds expiry against a sorted list of deadlines: never early, and
// late by one tick at most.
func TestWheel(t *testing.T) {
	for seed := range uint64(20) {
		f := rand.New(rand.NewPCG(seed, 2))
		limit := time.Duration(1 + f.Int64N(int64(time.Minute)))
		b := newBench(t, Config{MaxFlows: 3000, Timeouts: Timeouts{Opening: limit}})
		b.lax = true
		tick := b.wheels[opening].tick
		lastAt := map[uint16]int64{}
		now := f.Int64N(1 << 50)
		for i := range 5000 {
			now += f.Int64N(1 + int64(limit)/(1+f.Int64N(1000)))
			b.records = b.records[:0]
			b.Advance(now)
			for _, r := range b.records {
				at, ok := lastAt[r.Client.Port]
				delete(lastAt, r.Client.Port)
				if deadline := at + int64(limit); !ok || r.EndAt != at || now <= deadline {
					t.Fatalf("seed %d: port %d ended at %d, known %v, deadline %d", seed, r.Client.Port, now, ok, deadline)
				}
			}
			for port, at := range lastAt {
				if now > at+int64(limit)+tick {
					t.Fatalf("seed %d: port %d is %d ns late; a tick is %d ns", seed, port, now-at-int64(limit), tick)
				}
			}
			port := uint16(f.IntN(2000))
			if i > 100 && f.IntN(3) > 0 && len(lastAt) > 0 { // a repeated SYN
				known := slices.Sorted(func(yield func(uint16) bool) {
					for p := range lastAt {
						if !yield(p) {
							return
						}
					}
				})
				port = known[f.IntN(len(known))]
			}
			v := between(port, 60000)
			g := v.segment(step{0, c, fS, 0, 0, 0})
			g.At = now
			b.records = b.records[:0]
			b.feed(g)
			for _, r := range b.records { // exact for a segment that comes late
				if at := lastAt[r.Client.Port]; r.Client.Port != port || now <= at+int64(limit) {
					t.Fatalf("seed %d: port %d was ended by a segment of port %d", seed, r.Client.Port, port)
				}
			}
			lastAt[port] = now
		}
		if err := b.invariants(); err != nil {
			t.Fatal(err)
		}
	}
}
