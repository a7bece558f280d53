package ring

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/finwait/finwait/flowtable/segment"
	"github.com/finwait/finwait/xdp"
)

const (
	noWakeup = 1    // BPF_RB_NO_WAKEUP
	again    = -11  // -EAGAIN
	small    = 4096 // octets of a ring, on whose pages the tests know what fits
	fits     = small / (headerSize + segment.Size)
)

// open makes a ring of one page, or skips.
func open(tb testing.TB) *Ring {
	tb.Helper()
	if xdp.CheckPrivilege() != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			tb.Fatal("needs root")
		}
		tb.Skip("needs root")
	}
	if os.Getpagesize() > small {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("needs pages of %d octets, not of %d", small, os.Getpagesize())
		}
		tb.Skipf("pages of %d octets", os.Getpagesize())
	}
	r, err := Open(Octets(fits))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// writer loads a program that writes the first length octets of what it is run with
// into the ring, or reserves as many and discards them. It returns what the kernel said.
func writer(tb testing.TB, r *Ring, length int32, discard bool) func(s *segment.Segment) int32 {
	tb.Helper()
	var write asm.Instructions
	for at := int16(0); at < segment.OwnedSize; at += 8 { // the kernel takes it from the stack alone
		write = append(write,
			asm.LoadMem(asm.R2, asm.R1, at, asm.DWord),
			asm.StoreMem(asm.RFP, at-segment.OwnedSize, asm.R2, asm.DWord))
	}
	write = append(write,
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -segment.OwnedSize),
		asm.LoadMapPtr(asm.R1, r.Map().FD()),
		asm.Mov.Imm(asm.R3, length),
		asm.Mov.Imm(asm.R4, noWakeup),
		asm.FnRingbufOutput.Call(),
		asm.Return())
	if discard {
		write = asm.Instructions{
			asm.LoadMapPtr(asm.R1, r.Map().FD()),
			asm.Mov.Imm(asm.R2, length),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnRingbufReserve.Call(),
			asm.JEq.Imm(asm.R0, 0, "full"),
			asm.Mov.Reg(asm.R1, asm.R0),
			asm.Mov.Imm(asm.R2, noWakeup),
			asm.FnRingbufDiscard.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
			asm.Mov.Imm(asm.R0, again).WithSymbol("full"),
			asm.Return(),
		}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, Instructions: write, License: "Dual BSD/GPL"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return func(s *segment.Segment) int32 {
		said, err := p.Run(&ebpf.RunOptions{Context: s})
		if err != nil {
			tb.Error(err)
		}
		return int32(said)
	}
}

// octetsOf is a segment without an owner.
func octetsOf(s *segment.Segment) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(s)), segment.Size)
}

func numbered(n int) *segment.Segment {
	return &segment.Segment{At: int64(n), Seq: uint32(n), Own: segment.Direction{Packets: uint64(n)}, Other: segment.Direction{Awaited: uint32(n)}}
}

// compare holds segments against those that were written, from a number on, and returns
// the next one's.
func compare(t *testing.T, batch []*segment.Segment, from int) int {
	t.Helper()
	for _, s := range batch {
		if !slices.Equal(octetsOf(s), octetsOf(numbered(from))) {
			t.Fatalf("segment %d is %+v", from, *s)
		}
		from++
	}
	return from
}

// TestReceive: what the kernel writes arrives, in order and once, round the ring many
// times, also where records between are discarded, or are no segment.
func TestReceive(t *testing.T) {
	r := open(t)
	write, other, discard := writer(t, r, segment.Size, false), writer(t, r, 20, false), writer(t, r, segment.Size, true)
	var batch [7]*segment.Segment
	written, received, others := 0, 0, uint64(0)
	for round := range 200 {
		for i := range round%4 + 1 {
			if said := write(numbered(written)); said != 0 {
				t.Fatalf("segment %d: the kernel says %d", written, said)
			}
			written++
			if (round+i)%3 == 0 && other(numbered(0)) == 0 {
				others++
			}
			if (round+i)%5 == 0 {
				discard(numbered(0))
			}
		}
		n, err := r.Receive(batch[:round%len(batch)+1], 0)
		if err != nil {
			t.Fatal(err)
		}
		received = compare(t, batch[:n], received)
	}
	for n := 1; n > 0; received += n {
		n, _ = r.Receive(batch[:], 0)
	}
	if received != written || others == 0 || r.Malformed() != others {
		t.Errorf("%d segments written, %d received; %d others, %d counted", written, received, others, r.Malformed())
	}
	if r.next < 20*small {
		t.Errorf("only %d octets were written", r.next)
	}
}

// TestFull: the kernel refuses what finds no room, and what was handed out makes room
// with the next call.
func TestFull(t *testing.T) {
	r := open(t)
	write := writer(t, r, segment.Size, false)
	fill := func() (n int) {
		for write(numbered(n)) == 0 {
			n++
		}
		return n
	}
	if n := fill(); n != fits {
		t.Errorf("%d segments in a ring for %d", n, fits)
	}
	batch := make([]*segment.Segment, 2*fits)
	if n, err := r.Receive(batch[:5], 0); n != 5 || err != nil {
		t.Fatalf("%d segments: %v", n, err)
	}
	if said := write(numbered(0)); said != again {
		t.Errorf("segments that are still looked at make room: the kernel says %d", said)
	}
	if !slices.Equal(octetsOf(batch[4]), octetsOf(numbered(4))) {
		t.Errorf("it is written over: %+v", *batch[4])
	}
	if n, err := r.Receive(batch, 0); n != fits-5 || err != nil {
		t.Fatalf("%d segments: %v", n, err)
	}
	if n := fill(); n != 5 {
		t.Errorf("%d segments found room, not 5", n)
	}
	if n, _ := r.Receive(nil, 0); n != 0 {
		t.Errorf("%d segments in no batch", n)
	}
	if n := fill(); n != fits-5 {
		t.Errorf("%d segments found room, not %d", n, fits-5)
	}
}

// TestWait: a wait ends when something is there, and when it is over.
func TestWait(t *testing.T) {
	r := open(t)
	write := writer(t, r, segment.Size, false)
	var batch [4]*segment.Segment
	if n, err := r.Receive(batch[:], 25*time.Millisecond); n != 0 || err != nil {
		t.Errorf("%d segments of none: %v", n, err)
	}
	var writing sync.WaitGroup
	t.Cleanup(writing.Wait)
	writing.Go(func() {
		time.Sleep(30 * time.Millisecond)
		write(numbered(1))
	})
	if n, err := r.Receive(batch[:], time.Minute); n != 1 || err != nil {
		t.Errorf("%d segments: %v", n, err)
	}
}

// TestConcurrent has the kernel write on one CPU while it is read on another.
func TestConcurrent(t *testing.T) {
	r := open(t)
	write := writer(t, r, segment.Size, false)
	const all = 20_000
	var writing sync.WaitGroup
	t.Cleanup(writing.Wait)
	writing.Go(func() {
		for n := 0; n < all && t.Context().Err() == nil; {
			if write(numbered(n)) == 0 {
				n++
			} else {
				runtime.Gosched()
			}
		}
	})
	var batch [8]*segment.Segment
	for received := 0; received < all; {
		n, err := r.Receive(batch[:], time.Microsecond)
		if err != nil {
			t.Fatal(err)
		}
		received = compare(t, batch[:n], received)
	}
}

// TestReceiveAllocates nothing.
func TestReceiveAllocates(t *testing.T) {
	r := open(t)
	write := writer(t, r, segment.Size, false)
	var batch [fits]*segment.Segment
	if got := testing.AllocsPerRun(100, func() {
		if n, err := r.Receive(batch[:], time.Microsecond); n != 0 || err != nil {
			t.Fatalf("%d segments: %v", n, err)
		}
	}); got != 0 {
		t.Errorf("%v allocations to receive none", got)
	}
	for write(numbered(0)) == 0 { // here, since running a program allocates
	}
	received := 0
	if got := testing.AllocsPerRun(fits-1, func() {
		n, _ := r.Receive(batch[:1], 0)
		received += n
	}); got != 0 || received != fits {
		t.Errorf("%v allocations to receive one; %d received", got, received)
	}
}

// model is a ring that the test writes in place of the kernel, as kernel/bpf/ringbuf.c
// does.
type model struct {
	Ring
	consumed, produced uint64
	memory             [small / 8]uint64
}

func newModel() *model {
	m := new(model)
	m.consumer, m.producer, m.mask = &m.consumed, &m.produced, small-1
	m.records = unsafe.Slice((*byte)(unsafe.Pointer(&m.memory[0])), small)
	return m
}

const stride = headerSize + segment.Size

func (m *model) header(at uint64) *uint32 {
	return (*uint32)(unsafe.Pointer(&m.records[at&m.mask]))
}

// reserve returns where a record is, and false where there is no room. The model's
// memory is there once: records do not reach beyond its end.
func (m *model) reserve() (at uint64, ok bool) {
	at = m.produced
	if room := small - at&m.mask; room < stride {
		if at+room-atomic.LoadUint64(&m.consumed) > small {
			return 0, false
		}
		atomic.StoreUint32(m.header(at), uint32(room-headerSize)|discarded)
		at += room
		atomic.StoreUint64(&m.produced, at)
	}
	if at+stride-atomic.LoadUint64(&m.consumed) > small {
		return 0, false
	}
	atomic.StoreUint32(m.header(at), segment.Size|busy)
	atomic.StoreUint64(&m.produced, at+stride)
	return at, true
}

func (m *model) submit(at uint64, s *segment.Segment) {
	copy(m.records[at&m.mask+headerSize:], octetsOf(s))
	atomic.StoreUint32(m.header(at), segment.Size)
}

// TestOwned: segments with an owner behind them arrive with it, among those without.
func TestOwned(t *testing.T) {
	r := open(t)
	write, bare := writer(t, r, segment.OwnedSize, false), writer(t, r, segment.Size, false)
	var batch [3]*segment.Segment
	for n := range 100 {
		s := numbered(n)
		s.Owner, s.Marks = uint64(n)<<32, segment.Owned
		if write(s) != 0 || bare(numbered(n)) != 0 || write(s) != 0 {
			t.Fatal("the ring is full")
		}
		if got, err := r.Receive(batch[:], 0); err != nil || got != len(batch) {
			t.Fatalf("%d segments: %v", got, err)
		}
		if *batch[0] != *s || batch[1].Marks != 0 || *batch[2] != *s {
			t.Fatalf("not what was written: %+v, %+v, %+v", *batch[0], *batch[1], *batch[2])
		}
	}
}

// TestBusy: a record that is still being written ends a batch, and those behind it wait.
func TestBusy(t *testing.T) {
	m := newModel()
	first, _ := m.reserve()
	second, _ := m.reserve()
	third, _ := m.reserve()
	m.submit(first, numbered(1))
	m.submit(third, numbered(3))
	var batch [8]*segment.Segment
	if n, _ := m.Receive(batch[:], 0); n != 1 || batch[0].Seq != 1 {
		t.Fatalf("%d segments before one that is busy", n)
	}
	if n, _ := m.Receive(batch[:], 0); n != 0 || m.consumed != second {
		t.Fatalf("%d segments of one that is busy; all before %d are given back, not %d", n, m.consumed, second)
	}
	m.submit(second, numbered(2))
	if n, _ := m.Receive(batch[:], 0); n != 2 || batch[0].Seq != 2 || batch[1].Seq != 3 {
		t.Fatalf("%d segments behind one that was busy", n)
	}
}

// TestOrder: octets of a record are read behind its header, and written over behind the
// consumer position. With make race it is held against Go's memory model.
func TestOrder(t *testing.T) {
	const all = 20_000
	m := newModel()
	go func() {
		for n := 0; n < all && t.Context().Err() == nil; {
			if at, ok := m.reserve(); ok {
				m.submit(at, numbered(n))
				n++
			} else {
				runtime.Gosched()
			}
		}
	}()
	var batch [8]*segment.Segment
	for received := 0; received < all; {
		n, _ := m.Receive(batch[:], 0)
		received = compare(t, batch[:n], received)
		if n == 0 {
			runtime.Gosched()
		}
	}
}

// TestOctets: a ring has room for what was asked for, and the kernel takes its size.
func TestOctets(t *testing.T) {
	for _, segments := range []int{0, 1, 18, 19, 38_000, 1 << 22} {
		octets := Octets(segments)
		if octets&(octets-1) != 0 || octets%os.Getpagesize() != 0 || octets/stride < segments {
			t.Errorf("%d octets for %d segments", octets, segments)
		}
	}
}

// BenchmarkReceive reads batches of what was written before.
func BenchmarkReceive(b *testing.B) {
	m := newModel()
	var batch [8]*segment.Segment
	n := 0
	for b.Loop() {
		for at, ok := m.reserve(); ok; at, ok = m.reserve() {
			m.submit(at, numbered(0))
		}
		for got := 1; got > 0; n += got {
			got, _ = m.Receive(batch[:], 0)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/segment")
}
