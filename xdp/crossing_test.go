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

// crossed is what was passed of two segments that arrived on two CPUs at once.
type crossed struct {
	fin, answer segment.Segment
	passed      bool // answer was; fin always is
}

// await spins, for who sleeps comes too late to meet anybody.
func await(number *atomic.Int64, value int) {
	for spins := 1; number.Load() < int64(value); spins++ {
		if spins%10000 == 0 {
			runtime.Gosched()
		}
	}
}

// cross lets a client's FIN meet its answer in so many connections, each on a CPU
// of its own, the FIN now earlier and now later.
func (r *runner) cross(connections int, answer frame, check func(port uint16, c *crossed)) {
	var turn, done atomic.Int64
	var c crossed
	on := func(port int, f frame) frame {
		f.clientPort = uint16(port)
		return f
	}
	go func() {
		for port := 1; port <= connections; port++ {
			await(&turn, port)
			c.answer, c.passed = r.pass(on(port, answer))
			done.Store(int64(port))
		}
	}()
	for port := 1; port <= connections; port++ {
		r.pass(on(port, client(ack, 100, 200, 0)))
		r.pass(on(port, server(ack, 200, 100, 0)))
		turn.Store(int64(port))
		for range port % 64 * 16 {
			turn.Load()
		}
		c.fin, _ = r.pass(on(port, client(fin|ack, 100, 200, 0)))
		await(&done, port)
		check(uint16(port), &c)
	}
}

// TestFINMeetsAnswer: where a FIN and the segment that acknowledges it are counted on
// two CPUs at the same time, one of the two tells of it. A FIN that answers says that
// it is the first to do so, unless there was another before it.
func TestFINMeetsAnswer(t *testing.T) {
	const connections = 2000
	r := newRunner(t, 2*connections, programOptions{crossing: true})
	known, both := 0, 0
	r.cross(connections, server(ack, 200, 101, 0), func(port uint16, c *crossed) {
		covered := segment.Covers(c.fin.Other.MaxAck, 101)
		if !covered && !c.passed {
			t.Errorf("port %d: nobody tells that the FIN was acknowledged", port)
		}
		if covered {
			known++
		}
		if covered && c.passed {
			both++
		}
		again, passed := r.pass(frame{reverse: true, clientPort: port, flags: fin | ack, seq: 200, ack: 101})
		if !passed || again.Marks&segment.Raised != 0 {
			t.Errorf("port %d: FIN2 after an ACK: passed %v, marks %08b", port, passed, again.Marks)
		}
	})
	t.Logf("of %d acknowledgements %d were known with the FIN, %d of these were passed, too", connections, known, both)

	r = newRunner(t, 2*connections, programOptions{crossing: true})
	known, both = 0, 0
	r.cross(connections, server(fin|ack, 200, 101, 0), func(port uint16, c *crossed) {
		if !c.passed || c.answer.Marks != raised {
			t.Errorf("port %d: FIN2: passed %v, marks %08b", port, c.passed, c.answer.Marks)
		}
		if segment.Covers(c.fin.Other.MaxAck, 101) {
			known++
			if c.fin.At <= c.answer.At {
				both++
			}
		}
	})
	t.Logf("of %d FINs %d were known with FIN1, %d of these came after it", connections, known, both)
}
