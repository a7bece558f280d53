package xdp

import (
	"math/rand/v2"
	"testing"

	"github.com/finwait/finwait/flowtable/segment"
)

// plainFrames are such as the programs' short ways take, and their neighbours.
func plainFrames() [][]byte {
	var frames [][]byte
	for _, f := range []frame{
		client(ack, 1000, 2000, 100), server(ack, 0xfffffff0, 5, 1400), {flags: ack | segment.PSH, tcpOptions: 12, payload: 7},
		{flags: ack, pad: 6}, {flags: ack, options: 8, payload: 3}, {flags: ack, tags: []uint16{3}, payload: 3},
		{flags: fin | ack, payload: 9}, {flags: 0, payload: 9},
	} {
		frames = append(frames, f.bytes())
		f.v6, f.options = true, 0
		frames = append(frames, f.bytes())
	}
	return frames
}

// TestPlainDataAgrees: whatever way the counting program takes for a data
// segment, it counts what segment.Decode reads in it. The first of a flow goes
// the general way, the second the short one where it is plain.
func TestPlainDataAgrees(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	random := rand.New(rand.NewPCG(3, 4))
	frames, counted := plainFrames(), 0
	for range 10000 {
		f := mutated(random, frames)
		var s segment.Segment
		if outcome := segment.Decode(segment.LinkEthernet, f, &s); outcome != segment.TCP {
			if v := r.run(f); v.end != EndNames[outcome] {
				t.Fatalf("% x ended as %q, want %q", f, v.end, EndNames[outcome])
			}
			continue
		}
		if s.TCPFlags&(syn|fin|rst|ack) != ack {
			continue
		}
		key, side := segment.KeyOf(&s)
		for _, end := range []string{"passed", "counted", "counted"} {
			if v := r.run(f); v.end != end {
				t.Fatalf("% x ended as %q, want %q", f, v.end, end)
			}
		}
		counters := make([]segment.Counters, 1)
		if err := r.accounts.Take([]segment.Key{key}, counters); err != nil {
			t.Fatal(err)
		}
		d := counters[0][side]
		if d.Packets != 3 || d.Octets != 3*uint64(s.Octets) || d.Payload != uint64(s.Payload) || d.High != s.End() ||
			d.MaxAck != s.Ack || d.TCPFlags != s.TCPFlags || counters[0][1-side].Packets != 0 {
			t.Fatalf("% x was counted as %+v, decoded as %+v", f, d, s)
		}
		counted++
	}
	if counted < 1000 {
		t.Errorf("only %d of the frames were data segments", counted)
	}
}

// TestPlainDataMoves: by the short way sequence and acknowledgement numbers
// move the counters too, in both directions and over both kinds of IP.
func TestPlainDataMoves(t *testing.T) {
	r := newRunner(t, 100, programOptions{})
	for _, v6 := range []bool{false, true} {
		of := func(f frame) frame { f.v6 = v6; return f }
		r.play(t,
			step{of(client(ack, 0xfffffff0, 500, 0x10)), "passed", opened},
			step{of(server(ack, 500, 0, 10)), "counted", 0},
			step{of(server(ack, 510, 0, 10)), "counted", 0},
			step{of(client(ack, 0, 510, 100)), "counted", 0},
			step{of(client(ack, 0, 505, 100)), "counted", 0}, // sent again, with an older acknowledgement
			step{of(client(ack, 50, 520, 100)), "counted", 0},
		)
		own, other, _ := r.peek(of(client(ack, 0, 0, 0)))
		if own.Packets != 4 || own.Payload != 0x10+150 || own.Base != 0xfffffff0 || own.High != 150 || own.MaxAck != 520 || own.FirstAck != 500 {
			t.Errorf("IPv6 %v, client: %+v", v6, own)
		}
		if other.Packets != 2 || other.Payload != 20 || other.High != 520 || other.MaxAck != 0 || other.LastAt < other.FirstAt {
			t.Errorf("IPv6 %v, server: %+v", v6, other)
		}
	}
}

// TestPlainSequenceAgrees: by sequence a frame ends as segment.Decode has it,
// whatever way it goes.
func TestPlainSequenceAgrees(t *testing.T) {
	r := newRunner(t, 0, programOptions{sequence: true, controlOnly: true})
	random := rand.New(rand.NewPCG(5, 6))
	frames := plainFrames()
	for range 10000 {
		f := mutated(random, frames)
		var s segment.Segment
		outcome := segment.Decode(segment.LinkEthernet, f, &s)
		want := EndNames[outcome]
		if outcome == segment.TCP && s.Is(syn|fin|rst) {
			want = "passed"
		}
		if v := r.run(f); v.end != want {
			t.Fatalf("% x ended as %q, want %q", f, v.end, want)
		}
	}
}
