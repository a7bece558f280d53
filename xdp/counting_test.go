package xdp

import (
	"testing"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

const (
	fin, syn, rst, ack = segment.FIN, segment.SYN, segment.RST, segment.ACK

	counted = segment.HasEntry | segment.Counted
	opened  = counted | segment.Opened
	raised  = counted | segment.Raised // a FIN
)

// step is one frame of a connection and what the program must do with it.
type step struct {
	frame frame
	end   string
	marks uint8
}

func (r *runner) play(t *testing.T, steps ...step) []segment.Segment {
	t.Helper()
	var passed []segment.Segment
	for i, s := range steps {
		v := r.run(s.frame.bytes())
		if v.end != s.end {
			t.Fatalf("step %d ended as %q, want %q", i, v.end, s.end)
		}
		if v.end == "passed" {
			if v.segment.Marks != s.marks {
				t.Fatalf("step %d has marks %05b, want %05b", i, v.segment.Marks, s.marks)
			}
			passed = append(passed, v.segment)
		}
	}
	return passed
}

// client and server are segments of the two directions.
func client(flags uint8, seq, ack uint32, payload int) frame {
	return frame{flags: flags, seq: seq, ack: ack, payload: payload}
}

func server(flags uint8, seq, ack uint32, payload int) frame {
	return frame{reverse: true, flags: flags, seq: seq, ack: ack, payload: payload}
}

func checkDirection(t *testing.T, name string, got, want segment.Direction) {
	t.Helper()
	if want.Packets != 0 && (got.FirstAt <= 0 || got.LastAt < got.FirstAt) {
		t.Errorf("%s: first at %d, last at %d", name, got.FirstAt, got.LastAt)
	}
	got.FirstAt, got.LastAt = 0, 0
	if got != want {
		t.Errorf("%s: %+v, want %+v", name, got, want)
	}
}

// TestConnection follows one connection from SYN to the last acknowledgement.
func TestConnection(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	passed := r.play(t,
		step{client(syn, 1000, 0, 0), "passed", 0},
		step{server(syn|ack, 5000, 1001, 0), "passed", 0},
		step{client(ack, 1001, 5001, 0), "passed", opened},
		step{client(ack, 1001, 5001, 100), "counted", 0},
		step{client(ack, 1001, 5001, 100), "counted", 0}, // retransmission
		step{server(ack, 5001, 1101, 1400), "counted", 0},
		step{server(ack, 6401, 1101, 600), "counted", 0},
		step{client(ack, 1101, 7001, 0), "counted", 0},
		step{client(fin|ack, 1101, 7001, 10), "passed", counted},
		step{server(ack, 7001, 1111, 0), "counted", 0}, // the data, not the FIN
		step{server(ack, 7001, 1112, 50), "passed", counted},
		step{server(ack, 7051, 1112, 50), "counted", 0},
		step{server(fin|ack, 7101, 1112, 0), "passed", counted},
		step{client(ack, 1112, 7102, 0), "passed", counted},
		step{client(ack, 1112, 7102, 0), "counted", 0},
	)
	last := passed[len(passed)-1]
	checkDirection(t, "client", last.Own, segment.Direction{
		Packets: 6, Octets: 6*40 + 210, Payload: 110, Base: 1001, High: 1111, MaxAck: 7102, FirstAck: 5001,
		Awaited: 7102, TCPFlags: fin | ack,
		Marks: segment.DirectionStarted | segment.DirectionAcked | segment.DirectionFinished,
	})
	checkDirection(t, "server", last.Other, segment.Direction{
		Packets: 6, Octets: 6*40 + 2100, Payload: 2100, Base: 5001, High: 7101, MaxAck: 1112, FirstAck: 1101,
		Awaited: 1112, TCPFlags: fin | ack,
		Marks: segment.DirectionStarted | segment.DirectionAcked | segment.DirectionFinished,
	})
	if last.At != last.Own.LastAt {
		t.Errorf("passed at %d, last counted at %d", last.At, last.Own.LastAt)
	}
}

// TestSYNEndsEntry: a SYN carries away what its tuple's entry held.
func TestSYNEndsEntry(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	passed := r.play(t,
		step{client(ack, 10, 20, 5), "passed", opened},
		step{client(ack, 15, 20, 5), "counted", 0},
		step{server(syn, 99, 0, 0), "passed", segment.HasEntry | segment.Final},
		step{client(syn, 99, 0, 0), "passed", 0},
		step{client(syn|rst, 99, 0, 0), "passed", 0},
	)
	checkDirection(t, "other", passed[1].Other, segment.Direction{
		Packets: 2, Octets: 90, Payload: 10, Base: 10, High: 20, MaxAck: 20, FirstAck: 20, TCPFlags: ack,
		Marks: segment.DirectionStarted | segment.DirectionAcked,
	})
	checkDirection(t, "own", passed[1].Own, segment.Direction{})
	if _, _, found := r.peek(client(ack, 0, 0, 0)); found {
		t.Error("the entry is still there")
	}
	if passed[2].Own != (segment.Direction{}) || passed[2].Other != (segment.Direction{}) {
		t.Error("a SYN without an entry carries counters")
	}
}

// TestNoEntry: SYN, SYN-ACK and RST make none, a FIN does.
func TestNoEntry(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	r.play(t,
		step{client(syn, 1, 0, 0), "passed", 0},
		step{server(syn|ack, 1, 2, 0), "passed", 0},
		step{server(rst|ack, 1, 2, 0), "passed", 0},
		step{client(rst, 1, 0, 0), "passed", 0},
	)
	if _, _, found := r.peek(client(ack, 0, 0, 0)); found {
		t.Fatal("a control segment made an entry")
	}
	passed := r.play(t, step{client(fin|ack, 7, 9, 3), "passed", opened | segment.Raised})
	if d := passed[0].Other; d.Awaited != 11 || d.Marks != segment.DirectionAwaited {
		t.Errorf("a FIN that opens the entry awaits %d, marks %04b", d.Awaited, d.Marks)
	}
	// A SYN-ACK late enough to find an entry is counted, and its octet is not payload.
	r.play(t, step{server(syn|ack, 8, 2, 0), "passed", counted})
	own, _, _ := r.peek(server(0, 0, 0, 0))
	checkDirection(t, "syn-ack", own, segment.Direction{
		Packets: 1, Octets: 40, Base: 9, High: 9, MaxAck: 2, FirstAck: 2, Awaited: 11, TCPFlags: syn | ack,
		Marks: segment.DirectionStarted | segment.DirectionAcked | segment.DirectionAwaited,
	})
}

// TestAwaitedACK covers the ways in which a FIN is acknowledged.
func TestAwaitedACK(t *testing.T) {
	r, port := newRunner(t, 100, programOptions{}), uint16(1000)
	open := step{client(ack, 100, 200, 0), "passed", opened}
	for name, steps := range map[string][]step{
		"by data": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(ack, 200, 100, 7), "counted", 0},
			{server(ack, 207, 101, 7), "passed", counted},
			{server(ack, 214, 101, 7), "counted", 0},
		},
		"beyond its end": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(ack, 200, 5000, 0), "passed", counted},
		},
		"by the other FIN": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(fin|ack, 200, 101, 0), "passed", raised},
			{server(ack, 201, 101, 0), "counted", 0},
			{client(ack, 101, 201, 0), "passed", counted},
			{server(fin|ack, 200, 101, 0), "passed", counted},
		},
		"by a FIN of its own, after an ACK": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(ack, 200, 101, 0), "passed", counted},
			{server(fin|ack, 200, 101, 0), "passed", counted},
		},
		"not by a reset": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(rst|ack, 200, 101, 0), "passed", counted},
			{server(ack, 200, 101, 0), "passed", counted},
		},
		"not without the ACK flag": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(0, 200, 101, 0), "counted", 0},
			{server(ack, 200, 101, 0), "passed", counted},
		},
		"before the FIN, overtaking it": {open,
			{server(ack, 200, 104, 0), "counted", 0},
			{client(fin|ack, 100, 200, 3), "passed", counted},
			{server(ack, 200, 104, 0), "counted", 0},
		},
		"a FIN sent twice, answered once": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(ack, 200, 101, 0), "passed", counted},
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(ack, 200, 101, 0), "counted", 0},
		},
		"across 2^32": {open,
			{client(fin|ack, 0xfffffffe, 200, 10), "passed", counted},
			{server(ack, 200, 0xfffffff0, 0), "counted", 0},
			{server(ack, 200, 9, 0), "passed", counted},
		},
		"crossing FINs": {open,
			{client(fin|ack, 100, 200, 0), "passed", counted},
			{server(fin|ack, 200, 100, 0), "passed", raised},
			{client(ack, 101, 201, 0), "passed", counted},
			{server(ack, 201, 101, 0), "passed", counted},
		},
	} {
		port++
		for i := range steps {
			steps[i].frame.clientPort = port
		}
		t.Log(name)
		r.play(t, steps...)
	}
}

// TestOvertakenFIN: the FIN's own segment says that it is acknowledged already.
func TestOvertakenFIN(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	passed := r.play(t,
		step{client(ack, 100, 200, 0), "passed", opened},
		step{server(ack, 200, 101, 0), "counted", 0},
		step{client(fin|ack, 100, 200, 0), "passed", counted},
	)
	other := passed[1].Other
	if other.Marks&segment.DirectionAwaited != 0 || other.Awaited != 101 || !segment.Covers(other.MaxAck, 101) {
		t.Errorf("the other direction: %+v", other)
	}
}

// TestSYNACKOfTheNext: on a closed connection a SYN-ACK takes the entry away,
// as the SYN would that it overtook; on any other it is counted.
func TestSYNACKOfTheNext(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	final := uint8(segment.HasEntry | segment.Final)
	passed := r.play(t,
		step{client(ack, 100, 200, 0), "passed", opened},
		step{server(syn|ack, 199, 100, 0), "passed", counted},
		step{client(fin|ack, 100, 200, 0), "passed", counted},
		step{server(fin|ack, 200, 101, 0), "passed", raised},
		step{server(syn|ack, 900, 701, 0), "passed", counted}, // the last acknowledgement is owed
		step{client(ack, 101, 201, 0), "passed", counted},
		step{server(syn|ack, 900, 701, 0), "passed", final},
		step{client(syn, 700, 0, 0), "passed", 0},
	)
	if last := passed[6]; last.Own.Packets != 3 || last.Other.Packets != 3 {
		t.Errorf("the entry's last counters: %+v, %+v", last.Own, last.Other)
	}
}

// TestSequence checks payload across gaps, overlaps, wrap and the FIN.
func TestSequence(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	r.play(t,
		step{client(ack, 0xffffff00, 1, 0x80), "passed", opened},
		step{client(ack, 0xffffff80, 1, 0x100), "counted", 0}, // wraps
		step{client(ack, 0xffffff80, 1, 0x180), "counted", 0}, // overlaps, 0x80 are new
		step{client(ack, 0x200, 1, 0x10), "counted", 0},       // a gap: moves the sequence space
		step{client(ack, 0x100, 1, 0x100), "counted", 0},      // fills it
		step{client(rst, 0x300, 1, 0x20), "passed", counted},  // moves nothing
		step{client(fin|ack, 0x210, 0, 4), "passed", counted},
		step{client(ack, 0x215, 1, 9), "counted", 0}, // behind the FIN
	)
	own, _, _ := r.peek(client(0, 0, 0, 0))
	if own.Base != 0xffffff00 || own.High != 0x214 || own.Payload != 0x314 || own.MaxAck != 1 || own.Packets != 8 {
		t.Errorf("%+v", own)
	}
}

// TestResetFirst: a RST that is the first of its direction starts no sequence.
func TestResetFirst(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	r.play(t,
		step{client(ack, 5, 6, 0), "passed", opened},
		step{server(rst|ack, 77, 88, 0), "passed", counted},
	)
	own, _, _ := r.peek(server(0, 0, 0, 0))
	checkDirection(t, "server", own, segment.Direction{Packets: 1, Octets: 40, FirstAck: 88, TCPFlags: rst | ack})
}

// TestFullTable: established flows stay exact, new ones are not counted, and
// their control segments say so.
func TestFullTable(t *testing.T) {
	r := newRunner(t, 2, programOptions{})
	port := func(p uint16, f frame) frame { f.clientPort = p; return f }
	r.play(t,
		step{port(1, client(ack, 1, 1, 1)), "passed", opened},
		step{port(2, client(ack, 1, 1, 1)), "passed", opened},
		step{port(3, client(ack, 1, 1, 1)), "flow_table_full", 0},
		step{port(3, client(fin|ack, 2, 1, 1)), "passed", segment.NoRoom},
		step{port(3, client(rst, 2, 1, 1)), "passed", 0},
		step{port(2, client(ack, 2, 1, 1)), "counted", 0},
		step{port(1, client(syn, 2, 0, 0)), "passed", segment.HasEntry | segment.Final},
		step{port(3, client(ack, 3, 1, 1)), "passed", opened},
	)
}

// TestControlOnly passes SYN, FIN and RST and nothing else.
func TestControlOnly(t *testing.T) {
	r := newRunner(t, 100, programOptions{controlOnly: true})
	r.play(t,
		step{client(syn, 1, 0, 0), "passed", 0},
		step{server(syn|ack, 1, 2, 0), "passed", 0},
		step{client(ack, 2, 2, 0), "counted", 0},
		step{client(fin|ack, 2, 2, 0), "passed", counted},
		step{server(ack, 2, 3, 0), "counted", 0},
		step{server(rst, 2, 0, 0), "passed", counted},
	)
}

// TestDescribeAll passes every TCP segment, and counts as ever.
func TestDescribeAll(t *testing.T) {
	r := newRunner(t, 1, programOptions{describeAll: true})
	other := client(ack, 1, 1, 0)
	other.clientPort = 7
	passed := r.play(t,
		step{client(ack, 1, 1, 10), "passed", opened},
		step{client(ack, 11, 1, 10), "passed", counted},
		step{other, "passed", segment.NoRoom},
	)
	if passed[1].Own.Payload != 20 {
		t.Errorf("payload %d", passed[1].Own.Payload)
	}
}

// TestKeyOrder: both directions find one entry, also where the addresses are
// the same, and the program orders as KeyOf does.
func TestKeyOrder(t *testing.T) {
	r := newRunner(t, 100, programOptions{describeAll: true})
	r.play(t, step{server(ack, 1, 1, 1), "passed", opened}, step{client(ack, 1, 1, 2), "passed", counted})
	own, other, found := r.peek(client(0, 0, 0, 0))
	if !found || own.Payload != 2 || other.Payload != 1 {
		t.Errorf("%v: %+v %+v", found, own, other)
	}
	for _, ports := range [][2]uint16{{443, 40000}, {40000, 443}, {443, 443}, {255, 256}} {
		f := client(ack, 1, 1, 5).bytes()
		copy(f[30:34], f[26:30]) // source address as destination
		f[34], f[35], f[36], f[37] = byte(ports[0]>>8), byte(ports[0]), byte(ports[1]>>8), byte(ports[1])
		s := r.run(f).segment
		key, side := segment.KeyOf(&s)
		counters := make([]segment.Counters, 1)
		if err := r.accounts.Take([]segment.Key{key}, counters); err != nil {
			t.Fatal(err)
		}
		if counters[0][side].Payload != 5 || counters[0][side^1].Packets != 0 {
			t.Errorf("ports %v: %+v", ports, counters[0])
		}
	}
}

// TestNoSocket: without a socket a control segment is a counted drop.
func TestNoSocket(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	if err := r.program.Sockets.Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	r.play(t, step{client(syn, 1, 0, 0), "no_socket", 0}, step{client(ack, 1, 0, 0), "no_socket", 0},
		step{client(ack, 1, 0, 0), "counted", 0})
}

// TestPeekTake reads and deletes a whole batch, some of it not there.
func TestPeekTake(t *testing.T) {
	r := newRunner(t, 1000, programOptions{})
	keys := make([]segment.Key, accountsBatch)
	for i := range keys {
		f := client(ack, 1, 1, i)
		f.clientPort = uint16(1000 + i)
		var s segment.Segment
		segment.Decode(segment.LinkEthernet, f.bytes(), &s)
		keys[i], _ = segment.KeyOf(&s)
		if i%3 != 0 {
			r.play(t, step{f, "passed", opened})
		}
	}
	check := func(counters []segment.Counters, present bool) {
		t.Helper()
		for i := range counters {
			want := present && i%3 != 0
			if counters[i].Found() != want || want && counters[i][0].Payload+counters[i][1].Payload != uint64(i) {
				t.Fatalf("key %d: %+v", i, counters[i])
			}
		}
	}
	counters := make([]segment.Counters, accountsBatch)
	for _, round := range []struct {
		call    func([]segment.Key, []segment.Counters) error
		present bool
	}{{r.accounts.Peek, true}, {r.accounts.Peek, true}, {r.accounts.Take, true}, {r.accounts.Peek, false}, {r.accounts.Take, false}} {
		if err := round.call(keys, counters); err != nil {
			t.Fatal(err)
		}
		check(counters, round.present)
	}
	if err := r.accounts.Take(nil, nil); err != nil {
		t.Error(err)
	}
	if err := r.accounts.Peek(make([]segment.Key, accountsBatch+1), make([]segment.Counters, accountsBatch+1)); err == nil {
		t.Error("65 keys were taken")
	}
	if err := r.accounts.Peek(keys, counters[:3]); err == nil {
		t.Error("64 keys were read into 3 counters")
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.accounts.Peek(keys, counters) }); n != 0 {
		t.Errorf("Peek allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.accounts.Take(keys, counters) }); n != 0 {
		t.Errorf("Take allocates %v times", n)
	}
}

// TestAccountsTogether: callers on many goroutines do not see each other's batches.
func TestAccountsTogether(t *testing.T) {
	r := newRunner(t, 5000, programOptions{})
	keys := make([]segment.Key, 40*accountsBatch)
	for i := range keys {
		keys[i] = segment.Key{LowPort: uint16(i), HighPort: 1}
		value := segment.Counters{{Packets: uint64(i + 1)}}
		if err := r.accounts.ipv6.Put(keys[i], value); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 40)
	for g := range 40 {
		go func() {
			own := keys[g*accountsBatch : (g+1)*accountsBatch]
			counters := make([]segment.Counters, accountsBatch)
			for round := range 51 {
				call := r.accounts.Peek
				if round == 50 {
					call = r.accounts.Take
				}
				if err := call(own, counters); err != nil {
					done <- err
					return
				}
				for i := range counters {
					if counters[i][0].Packets != uint64(g*accountsBatch+i+1) {
						t.Errorf("caller %d, key %d: %+v", g, i, counters[i][0])
						break
					}
				}
			}
			done <- nil
		}()
	}
	for range 40 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestOrphans deletes what is old in both directions, and nothing else.
func TestOrphans(t *testing.T) {
	r := newRunner(t, 20000, programOptions{})
	now, err := monotonic()
	if err != nil {
		t.Fatal(err)
	}
	// The clock begins with the machine: half of its time is old enough.
	old, fresh := 0, 0
	for i := range 12000 {
		value := segment.Counters{{Packets: 1, LastAt: now / 4}, {}}
		switch i % 3 {
		case 0:
			value[1].LastAt = now
			fresh++
		case 1:
			value[0].LastAt = now
			fresh++
		default:
			old++
		}
		if err := r.accounts.ipv6.Put(segment.Key{LowPort: uint16(i), HighPort: 1}, value); err != nil {
			t.Fatal(err)
		}
	}
	tap := &Tap{accounts: r.accounts}
	deleted, err := tap.Orphans(time.Duration(now / 2))
	if err != nil || deleted != old || tap.orphaned.Load() != uint64(old) {
		t.Fatalf("deleted %d of %d, counted %d: %v", deleted, old, tap.orphaned.Load(), err)
	}
	left := 0
	var key segment.Key
	var value segment.Counters
	for entries := r.accounts.ipv6.Iterate(); entries.Next(&key, &value); {
		left++
		if key.LowPort%3 == 2 {
			t.Fatalf("%d is old and still there", key.LowPort)
		}
	}
	if left != fresh {
		t.Errorf("%d entries are left of %d", left, fresh)
	}
}
