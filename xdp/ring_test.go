package xdp

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestRingWrap runs both ends across 2^32 in uneven steps.
func TestRingWrap(t *testing.T) {
	var producer, consumer uint32 = 0xfffffff5, 0xfffffff5
	slots := make([]uint64, 8)
	give := newProducerRing(&producer, &consumer, slots)
	take := newConsumerRing(&producer, &consumer, slots)
	next, want := uint64(0), uint64(0)
	for round := range uint32(200) {
		n := give.free(round % 11)
		if room := 8 - uint32(next-want); n != min(round%11, room) {
			t.Fatalf("round %d: %d slots are free, %d asked, %d there", round, n, round%11, room)
		}
		for i := range n {
			give.put(i, next)
			next++
		}
		give.submit(n)
		m := take.available(round % 7)
		if there := uint32(next - want); m != min(round%7, there) {
			t.Fatalf("round %d: %d slots are available, %d asked, %d there", round, m, round%7, there)
		}
		for i := range m {
			if got := take.at(i); got != want {
				t.Fatalf("round %d: took %d, want %d", round, got, want)
			}
			want++
		}
		take.release(m)
	}
	if want < 300 || producer > 0xfffffff5 {
		t.Errorf("%d values, producer at %#x: the indices did not wrap", want, producer)
	}
}

// TestRingFull: a full ring gives no slot, an empty one takes none.
func TestRingFull(t *testing.T) {
	var producer, consumer uint32
	slots := make([]uint64, 4)
	give := newProducerRing(&producer, &consumer, slots)
	take := newConsumerRing(&producer, &consumer, slots)
	if take.available(4) != 0 {
		t.Error("an empty ring has values")
	}
	if give.free(100) != 4 {
		t.Error("an empty ring has no room")
	}
	give.submit(4)
	if give.free(1) != 0 {
		t.Error("a full ring has room")
	}
	if take.available(100) != 4 {
		t.Error("a full ring has not all values")
	}
	take.release(1)
	if give.free(4) != 1 {
		t.Error("a released slot is not free")
	}
}

// TestRingConcurrent lets another goroutine play the kernel, as the socket
// does: it takes buffers from the fill ring and gives them to the RX ring. No
// value may be lost, doubled or torn; -race checks the ordering.
func TestRingConcurrent(t *testing.T) {
	const total, buffers = 200000, 32
	var fillProducer, fillConsumer, rxProducer, rxConsumer uint32
	fillSlots, rxSlots := make([]uint64, buffers), make([]uint64, buffers/2)
	memory := make([]uint64, buffers)

	go func() {
		in := newConsumerRing(&fillProducer, &fillConsumer, fillSlots)
		out := newProducerRing(&rxProducer, &rxConsumer, rxSlots)
		for value := uint64(0); value < total; {
			n := min(in.available(8), out.free(8), uint32(total-value))
			for i := range n {
				memory[in.at(i)] = value
				out.put(i, in.at(i))
				value++
			}
			in.release(n)
			out.submit(n)
			if n == 0 {
				runtime.Gosched()
			}
		}
	}()

	fill := newProducerRing(&fillProducer, &fillConsumer, fillSlots)
	rx := newConsumerRing(&rxProducer, &rxConsumer, rxSlots)
	for i := range fill.free(buffers) {
		fill.put(i, uint64(i))
	}
	fill.submit(buffers)
	for want := uint64(0); want < total; {
		n := rx.available(5)
		for i := range n {
			if got := memory[rx.at(i)]; got != want {
				t.Fatalf("value %d, want %d", got, want)
			}
			want++
			if fill.free(1) == 0 {
				t.Fatal("the fill ring has no slot for a buffer it gave")
			}
			fill.put(0, rx.at(i))
			fill.submit(1)
		}
		rx.release(n)
		if n == 0 {
			runtime.Gosched()
		}
	}
	if atomic.LoadUint32(&rxProducer) != total {
		t.Errorf("producer at %d", rxProducer)
	}
}

func TestParseArea(t *testing.T) {
	got, ok := parseArea("7f2d4c000000-7f2d4c021000 rw-s 100000000 00:08 48219                      socket:[48219]")
	want := area{address: 0x7f2d4c000000, size: 0x21000, offset: 1 << 32, inode: 48219}
	if !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, line := range []string{
		"",
		"7f2d4c000000-7f2d4c021000 rw-p 00000000 00:00 0 ",
		"00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/socket:",
		"7f2d4c000000 rw-s 100000000 00:08 48219 socket:[48219]",
		"7f2d4c021000-7f2d4c000000 rw-s 100000000 00:08 48219 socket:[48219]",
	} {
		if a, ok := parseArea(line); ok {
			t.Errorf("%q: %+v", line, a)
		}
	}
}

func TestReleaseAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"5.18.0": true, "5.17.9-amd64": false, "6.1": true, "4.19.0": false, "6.18.44-fc": true, "odd": true,
	} {
		if got := releaseAtLeast(release, 5, 18); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}
