package xdp

import (
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/finwait/finwait/flowtable/segment"
)

// pass runs one frame, and returns its segment where that was passed. It may be
// called from any goroutine.
func (r *runner) pass(f frame) (s segment.Segment, passed bool) {
	const redirected = 4
	options := ebpf.RunOptions{Data: f.bytes(), DataOut: make([]byte, segment.Size)}
	action, err := r.program.Tap.Run(&options)
	if err != nil {
		r.tb.Error(err)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&s)), segment.Size), options.DataOut)
	return s, action == redirected
}

// await spins, for who sleeps comes too late to meet anybody.
func await(number *atomic.Int64, value int) {
	for spins := 1; number.Load() < int64(value); spins++ {
		if spins%10000 == 0 {
			runtime.Gosched()
		}
	}
}

// crossed is what became of two segments that arrived on two CPUs at once.
type crossed struct {
	first, second             segment.Segment
	firstPassed, secondPassed bool
}

// cross lets two segments meet in so many connections, each on a CPU of its own, the
// first now earlier and now later, after what goes before.
func (r *runner) cross(connections int, before []frame, first, second frame, check func(port uint16, c *crossed)) {
	var turn, done atomic.Int64
	var c crossed
	on := func(port int, f frame) frame {
		f.clientPort = uint16(port)
		return f
	}
	go func() {
		for port := 1; port <= connections; port++ {
			await(&turn, port)
			c.second, c.secondPassed = r.pass(on(port, second))
			done.Store(int64(port))
		}
	}()
	for port := 1; port <= connections; port++ {
		for _, f := range before {
			r.pass(on(port, f))
		}
		turn.Store(int64(port))
		for range port % 64 * 16 {
			turn.Load()
		}
		c.first, c.firstPassed = r.pass(on(port, first))
		await(&done, port)
		check(uint16(port), &c)
	}
}

const meetings = 2000

// TestFINMeetsAnswer: where a FIN and the acknowledgement of it are counted on two CPUs
// at the same time, one of the two tells of it. A FIN2 after that is not the first.
func TestFINMeetsAnswer(t *testing.T) {
	r := newRunner(t, 2*meetings, programOptions{crossing: true})
	talk := []frame{client(ack, 100, 200, 0), server(ack, 200, 100, 0)}
	known, both := 0, 0
	r.cross(meetings, talk, client(fin|ack, 100, 200, 0), server(ack, 200, 101, 0), func(port uint16, c *crossed) {
		covered := segment.Covers(c.first.Other.MaxAck, 101)
		if !covered && !c.secondPassed {
			t.Errorf("port %d: nobody tells that the FIN was acknowledged", port)
		}
		if covered {
			known++
		}
		if covered && c.secondPassed {
			both++
		}
		fin2, passed := r.pass(frame{reverse: true, clientPort: port, flags: fin | ack, seq: 200, ack: 101})
		if !passed || fin2.Marks&segment.Raised != 0 {
			t.Errorf("port %d: FIN2 after an ACK: passed %v, marks %08b", port, passed, fin2.Marks)
		}
	})
	t.Logf("of %d acknowledgements %d were known with the FIN, %d of these were passed, too", meetings, known, both)
}

// TestFINsMeet: a FIN2 says that it is the first to acknowledge FIN1, also where FIN1
// finds itself acknowledged.
func TestFINsMeet(t *testing.T) {
	r := newRunner(t, 2*meetings, programOptions{crossing: true})
	talk := []frame{client(ack, 100, 200, 0), server(ack, 200, 100, 0)}
	known, after := 0, 0
	r.cross(meetings, talk, client(fin|ack, 100, 200, 0), server(fin|ack, 200, 101, 0), func(port uint16, c *crossed) {
		if !c.secondPassed || c.second.Marks != raised {
			t.Errorf("port %d: FIN2: passed %v, marks %08b", port, c.secondPassed, c.second.Marks)
		}
		if segment.Covers(c.first.Other.MaxAck, 101) {
			known++
			if c.first.At <= c.second.At {
				after++
			}
		}
	})
	t.Logf("of %d FINs %d were known with FIN1, %d of these came after it", meetings, known, after)
}

// TestSYNMeetsSYNACK: the SYN and the SYN-ACK of a tuple's next connection meet at the
// entry of the last one. Its counters go with one of the two or with both, and the
// first by time has them.
func TestSYNMeetsSYNACK(t *testing.T) {
	r := newRunner(t, 2*meetings, programOptions{crossing: true})
	closed := []frame{client(ack, 100, 200, 0), client(fin|ack, 100, 200, 0), server(fin|ack, 200, 101, 0), client(ack, 101, 201, 0)}
	var alone, both int
	r.cross(meetings, closed, client(syn, 70000, 0, 0), server(syn|ack, 90000, 70001, 0), func(port uint16, c *crossed) {
		bySYN, bySYNACK := c.first.Marks&segment.Final != 0, c.second.Marks&segment.Final != 0
		switch {
		case !c.firstPassed || !c.secondPassed || !bySYN && !bySYNACK:
			t.Errorf("port %d: marks %08b and %08b", port, c.first.Marks, c.second.Marks)
		case !bySYN && c.first.At < c.second.At, !bySYNACK && c.second.At < c.first.At:
			t.Errorf("port %d: the entry went with the later one: SYN %v at %d, SYN-ACK %v at %d", port, bySYN, c.first.At, bySYNACK, c.second.At)
		case bySYN && bySYNACK:
			both++
		case bySYN:
			alone++
		}
	})
	t.Logf("of %d entries %d went with the SYN alone and %d with both", meetings, alone, both)
}

// TestSYNOvertaken: the entry that a server's answers made before their SYN came is of
// that SYN's connection. It stays, where answers can overtake; any other one goes.
func TestSYNOvertaken(t *testing.T) {
	r := newRunner(t, 100, programOptions{crossing: true})
	r.overtake(t, 1, 1001, true)
	r.overtake(t, 2, 1318, true)
	r.overtake(t, 3, 1000, false)
	r.overtake(t, 4, 1001+1<<20, false)
	newRunner(t, 100, programOptions{}).overtake(t, 1, 1001, false)
}

// overtake sends a server's data and then the SYN of 1000.
func (r *runner) overtake(t *testing.T, port uint16, acknowledged uint32, stays bool) {
	t.Helper()
	data, begin, marks := server(ack, 5001, acknowledged, 50), client(syn, 1000, 0, 0), uint8(segment.HasEntry)
	data.clientPort, begin.clientPort = port, port
	if !stays {
		marks |= segment.Final
	}
	passed := r.play(t, step{data, "passed", opened}, step{begin, "passed", marks})
	if got := passed[1].Other; got.Packets != 1 || got.Payload != 50 || passed[1].Own.Packets != 0 {
		t.Errorf("port %d: the SYN finds %+v", port, got)
	}
	if _, other, found := r.peek(begin); found != stays || stays && other.Packets != 1 {
		t.Errorf("port %d: the entry is there: %v, with %+v", port, found, other)
	}
}
