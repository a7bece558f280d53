package xdp

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp/bpf"
)

// TestSequenceConnection follows one connection from SYN to the last
// acknowledgement: what is passed is that of TestConnection, without counters.
func TestSequenceConnection(t *testing.T) {
	r := newRunner(t, 0, programOptions{sequence: true})
	passed := r.play(t,
		step{client(syn, 1000, 0, 0), "passed", 0},
		step{server(syn|ack, 5000, 1001, 0), "passed", 0},
		step{client(ack, 1001, 5001, 0), "passed", 0},
		step{client(ack, 1001, 5001, 100), "counted", 0},
		step{client(ack, 1001, 5001, 100), "counted", 0}, // retransmission
		step{server(ack, 5001, 1101, 1400), "counted", 0},
		step{client(ack, 1101, 6401, 0), "counted", 0},
		step{client(fin|ack, 1101, 6401, 10), "passed", 0},
		step{server(ack, 6401, 1111, 0), "counted", 0}, // the data, not the FIN
		step{server(ack, 6401, 1112, 50), "passed", 0},
		step{server(ack, 6451, 1112, 50), "counted", 0},
		step{server(fin|ack, 6501, 1112, 0), "passed", 0},
		step{client(ack, 1112, 6502, 0), "passed", 0},
		step{client(ack, 1112, 6502, 0), "counted", 0},
	)
	answer := passed[4]
	if answer.Seq != 6401 || answer.Ack != 1112 || answer.Payload != 50 || answer.At <= passed[3].At ||
		answer.Own != (segment.Direction{}) || answer.Other != (segment.Direction{}) {
		t.Errorf("the answer to the first FIN: %+v", answer)
	}
	if n := r.notes(t); n != 0 {
		t.Errorf("%d notes are left of a connection that is over", n)
	}
}

// TestSequenceAnswers covers the ways in which SYN-ACKs and FINs are answered.
func TestSequenceAnswers(t *testing.T) {
	v6 := func(f frame) frame { f.v6 = true; return f }
	tagged := func(f frame) frame { f.tags = []uint16{7, 8}; return f }
	r, port := newRunner(t, 0, programOptions{sequence: true}), uint16(1000)
	for name, steps := range map[string][]step{
		"nothing awaited": {
			{client(ack, 100, 200, 0), "counted", 0},
			{client(0, 100, 200, 10), "counted", 0},
			{server(ack, 200, 110, 10), "counted", 0},
		},
		"SYN-ACK by data": {
			{server(syn|ack, 700, 101, 0), "passed", 0},
			{client(ack, 101, 700, 0), "counted", 0}, // of something older
			{client(ack, 101, 701, 30), "passed", 0},
			{client(ack, 131, 701, 30), "counted", 0},
		},
		"SYN-ACK in the other direction": {
			{client(syn|ack, 700, 101, 0), "passed", 0},
			{client(ack, 701, 101, 0), "counted", 0},
			{server(ack, 101, 701, 0), "passed", 0},
		},
		"SYN-ACK sent twice, answered once": {
			{server(syn|ack, 700, 101, 0), "passed", 0},
			{server(syn|ack, 700, 101, 0), "passed", 0},
			{client(ack, 101, 701, 0), "passed", 0},
			{client(ack, 101, 701, 0), "counted", 0},
		},
		"SYN-ACK and FIN by one": {
			{server(syn|ack, 700, 101, 0), "passed", 0},
			{server(fin|ack, 701, 101, 5), "passed", 0},
			{client(ack, 101, 707, 0), "passed", 0},
			{client(ack, 101, 707, 0), "counted", 0},
		},
		"SYN-ACK, then FIN": {
			{server(syn|ack, 700, 101, 0), "passed", 0},
			{server(fin|ack, 701, 101, 5), "passed", 0},
			{client(ack, 101, 701, 0), "passed", 0},
			{client(ack, 101, 706, 0), "counted", 0},
			{client(ack, 101, 707, 0), "passed", 0},
		},
		"beyond its end": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(ack, 200, 5000, 0), "passed", 0},
		},
		"three-way": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(fin|ack, 200, 101, 0), "passed", 0},
			{server(ack, 201, 101, 0), "counted", 0}, // the FIN was the answer
			{client(ack, 101, 201, 0), "passed", 0},
		},
		"crossing FINs": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(fin|ack, 200, 100, 0), "passed", 0},
			{client(ack, 101, 201, 0), "passed", 0},
			{server(ack, 201, 101, 0), "passed", 0},
		},
		"a FIN sent again after its answer awaits it again": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(ack, 200, 101, 0), "passed", 0},
			{server(ack, 200, 101, 0), "counted", 0},
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(ack, 200, 101, 0), "passed", 0},
			{server(ack, 200, 101, 0), "counted", 0},
		},
		"not by a reset, which awaits nothing": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(rst|ack, 200, 101, 0), "passed", 0},
			{server(ack, 200, 101, 0), "passed", 0},
			{client(fin|rst|ack, 100, 200, 0), "passed", 0},
			{server(ack, 200, 101, 0), "counted", 0},
		},
		"not without the ACK flag": {
			{client(fin|ack, 100, 200, 0), "passed", 0},
			{server(0, 200, 101, 7), "counted", 0},
			{server(ack, 200, 101, 0), "passed", 0},
		},
		"overtaken: another stands for it": {
			{server(ack, 200, 104, 0), "counted", 0},
			{client(fin|ack, 100, 200, 3), "passed", 0},
			{server(ack, 200, 104, 9), "passed", 0},
		},
		"across 2^32": {
			{client(fin|ack, 0xfffffffe, 200, 10), "passed", 0},
			{server(ack, 200, 0xfffffff0, 0), "counted", 0},
			{server(ack, 200, 9, 0), "passed", 0},
			{server(syn|ack, 0xffffffff, 9, 0), "passed", 0},
			{client(ack, 9, 0xffffffff, 0), "counted", 0},
			{client(ack, 9, 0, 0), "passed", 0},
		},
		"IPv6": {
			{v6(client(fin|ack, 100, 200, 0)), "passed", 0},
			{server(ack, 200, 101, 0), "counted", 0}, // IPv4 between the same ports
			{v6(server(ack, 200, 100, 0)), "counted", 0},
			{v6(server(ack, 200, 101, 0)), "passed", 0},
		},
		"VLAN on one side": {
			{tagged(client(fin|ack, 100, 200, 0)), "passed", 0},
			{tagged(server(ack, 200, 100, 4)), "counted", 0},
			{server(ack, 200, 101, 0), "passed", 0},
			{server(fin|ack, 200, 101, 0), "passed", 0},
			{tagged(client(ack, 101, 201, 0)), "passed", 0},
		},
	} {
		port++
		for i := range steps {
			steps[i].frame.clientPort = port
		}
		t.Log(name)
		r.play(t, steps...)
	}
	if c := r.last; c.FinAcksForgotten != 0 || c.SynAckAnswersForgotten != 0 {
		t.Errorf("forgotten among a few: %+v", c)
	}
}

// TestSequenceControlOnly passes SYN, FIN and RST and awaits nothing.
func TestSequenceControlOnly(t *testing.T) {
	r := newRunner(t, 0, programOptions{sequence: true, controlOnly: true})
	r.play(t,
		step{client(syn, 1, 0, 0), "passed", 0},
		step{server(syn|ack, 1, 2, 0), "passed", 0},
		step{client(ack, 2, 2, 0), "counted", 0},
		step{client(fin|ack, 2, 2, 0), "passed", 0},
		step{server(ack, 2, 3, 0), "counted", 0},
		step{server(rst, 2, 0, 0), "passed", 0},
	)
	if n := r.notes(t); n != 0 {
		t.Errorf("%d notes, and nobody is to be awaited", n)
	}
}

// TestSequenceDescribeAll passes every TCP segment.
func TestSequenceDescribeAll(t *testing.T) {
	r := newRunner(t, 0, programOptions{sequence: true, describeAll: true})
	r.play(t, step{client(ack, 1, 1, 10), "passed", 0}, step{server(0, 1, 1, 10), "passed", 0})
}

// noteBucket is struct awaited_bucket of awaited.h.
type noteBucket struct {
	Lock  uint32
	Kinds [awaitedWays]uint8
	Ways  [awaitedWays]struct {
		Src, Dst         [16]byte
		SrcPort, DstPort uint16
		End              uint32
		Since            int64
	}
}

// eachBucket shows all buckets that hold a note, and writes back those that
// were changed.
func (r *runner) eachBucket(t *testing.T, do func(b *noteBucket) (changed bool)) {
	t.Helper()
	size := r.awaited.notes.MaxEntries()
	indices, buckets := make([]uint32, size), make([]noteBucket, size)
	var cursor ebpf.MapBatchCursor
	n, err := r.awaited.notes.BatchLookup(&cursor, indices, buckets, nil)
	if n != int(size) || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Fatalf("%d of %d buckets: %v", n, size, err)
	}
	for i := range buckets {
		if b := &buckets[i]; b.Kinds != [awaitedWays]uint8{} && do(b) {
			if err := r.awaited.notes.Put(indices[i], b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// notes counts the notes that are kept.
func (r *runner) notes(t *testing.T) (n int) {
	t.Helper()
	r.eachBucket(t, func(b *noteBucket) bool {
		for _, kind := range b.Kinds {
			if kind != 0 {
				n++
			}
		}
		return false
	})
	return n
}

// TestSequenceFalsePositive: where only the tag is that of an answer, nothing
// is passed, and the note of another stays.
func TestSequenceFalsePositive(t *testing.T) {
	r := newRunner(t, 0, programOptions{sequence: true})
	r.play(t, step{client(fin|ack, 100, 200, 0), "passed", 0})
	changed := 0
	other := func(b *noteBucket) bool {
		for i, kind := range b.Kinds {
			if kind != 0 {
				b.Ways[i].SrcPort ^= 1
				changed++
			}
		}
		return true
	}
	r.eachBucket(t, other)
	r.play(t, step{server(ack, 200, 101, 0), "counted", 0})
	if n := r.notes(t); n != 1 || changed != 1 {
		t.Fatalf("%d notes, %d of them changed", n, changed)
	}
	r.eachBucket(t, other)
	r.play(t, step{server(ack, 200, 101, 0), "passed", 0})
}

// tuples plays one segment that is passed, for each of n tuples.
func (r *runner) tuples(t *testing.T, from, n int, f frame) {
	t.Helper()
	for i := from; i < from+n; i++ {
		f.clientPort = uint16(1024 + i)
		if v := r.run(f.bytes()); v.end != "passed" {
			t.Fatalf("tuple %d ended as %q", i, v.end)
		}
	}
}

// TestSequenceForgets: of more notes than have room, each that gives way
// before its time is counted, those of SYN-ACKs before those of FINs.
func TestSequenceForgets(t *testing.T) {
	const fins, synACKs, late = 400, 30000, 20000
	r := newRunner(t, 0, programOptions{sequence: true})
	r.tuples(t, 0, fins, client(fin|ack, 100, 200, 0))
	r.tuples(t, fins, synACKs, server(syn|ack, 700, 101, 0))
	if lost := int(r.last.SynAckAnswersForgotten); lost == 0 || lost != fins+synACKs-r.notes(t) || r.last.FinAcksForgotten != 0 {
		t.Errorf("%d of SYN-ACKs forgotten, %d of FINs; %d notes of %d", lost, r.last.FinAcksForgotten, r.notes(t), fins+synACKs)
	}
	r.tuples(t, 0, fins, server(ack, 200, 101, 0))

	// What is old enough gives way without a word.
	r.eachBucket(t, func(b *noteBucket) bool {
		for i := range b.Ways {
			b.Ways[i].Since = -1 << 40
		}
		return true
	})
	before, young := r.last.SynAckAnswersForgotten, 0
	r.tuples(t, fins+synACKs, late, server(syn|ack, 700, 101, 0))
	r.eachBucket(t, func(b *noteBucket) bool {
		for i, kind := range b.Kinds {
			if kind != 0 && b.Ways[i].Since > 0 {
				young++
			}
		}
		return false
	})
	if lost := int(r.last.SynAckAnswersForgotten - before); lost != late-young {
		t.Errorf("%d of SYN-ACKs forgotten, of %d that came late %d are left", lost, late, young)
	}
}

// TestSequenceForgetsFINs: a full bucket of FINs forgets the oldest for another
// FIN, and nothing for a SYN-ACK.
func TestSequenceForgetsFINs(t *testing.T) {
	const fins, synACKs = 45000, 10000
	r := newRunner(t, 0, programOptions{sequence: true})
	r.tuples(t, 0, fins, client(fin|ack, 100, 200, 0))
	kept := r.notes(t)
	if lost := int(r.last.FinAcksForgotten); lost == 0 || lost != fins-kept {
		t.Errorf("%d of FINs forgotten, %d notes of %d", lost, kept, fins)
	}
	before := r.last.FinAcksForgotten
	r.tuples(t, fins, synACKs, server(syn|ack, 700, 101, 0))
	if r.last.FinAcksForgotten != before || int(r.last.SynAckAnswersForgotten) != kept+synACKs-r.notes(t) {
		t.Errorf("%+v with %d notes of %d and %d", r.last, r.notes(t), kept, synACKs)
	}
}

// TestSequenceTogether: on several CPUs at once each FIN's answer is passed,
// once.
func TestSequenceTogether(t *testing.T) {
	const each = 3000
	r := newRunner(t, 0, programOptions{sequence: true})
	var group sync.WaitGroup
	failed := make(chan string, 4)
	for g := range 4 {
		group.Go(func() {
			out := make([]byte, 1<<12)
			for i := range each {
				for n, s := range []struct {
					frame  frame
					action uint32
				}{{client(fin|ack, 100, 200, 0), 4}, {server(ack, 200, 101, 0), 4}, {server(ack, 200, 101, 0), 1}} {
					s.frame.clientPort = uint16(1024 + g*each + i)
					options := ebpf.RunOptions{Data: s.frame.bytes(), DataOut: out}
					if action, err := r.program.Tap.Run(&options); err != nil || action != s.action {
						failed <- fmt.Sprintf("port %d, segment %d: action %d, want %d: %v", s.frame.clientPort, n, action, s.action, err)
						return
					}
				}
			}
		})
	}
	group.Wait()
	close(failed)
	for why := range failed {
		t.Error(why)
	}
	if n := r.notes(t); n != 0 {
		t.Errorf("%d notes are left", n)
	}
}

// TestSequenceSpec: every bucket has its tags.
func TestSequenceSpec(t *testing.T) {
	spec, err := bpf.LoadTap()
	if err != nil {
		t.Fatal(err)
	}
	notes := spec.Maps[bpf.TapMapAwaited]
	if want := notes.MaxEntries * 8; spec.Variables[bpf.TapVarAwaitedTags].Size() != want {
		t.Errorf("%d octets of tags for %d buckets", spec.Variables[bpf.TapVarAwaitedTags].Size(), notes.MaxEntries)
	}
}
