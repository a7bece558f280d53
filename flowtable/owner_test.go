package flowtable

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/finwait/finwait/flowtable/segment"
)

var _ [ownedSize]byte = [unsafe.Sizeof(owned{})]byte{}

// sightings are the owners that a table was told of.
type sightings []uint64

func (s *sightings) Sighted(owner uint64) { *s = append(*s, owner) }

// own is a segment of a step that some group sent.
func own(v conversation, st step, owner uint64) *segment.Segment {
	s := v.segment(st)
	s.Marks, s.Owner = segment.Owned, owner
	return s
}

func owners(r *Record) string { return fmt.Sprint(r.Client.Owner, " ", r.Server.Owner) }

// TestOwners: each end has the owner of its own segments, in the live view, in every slice
// and in the last record, and none of the connection before it in the slot.
func TestOwners(t *testing.T) {
	timeouts := LiveTimeouts()
	timeouts.Active = 10 * time.Second
	var seen sightings
	b := newBench(t, Config{MaxFlows: 1, Timeouts: timeouts, Owners: &seen})
	v := between(40000, 443)
	live := func() string { r := b.live(); return owners(&r) }
	b.feed(own(v, opened[0], 7))
	b.same("after the SYN", live(), "7 0")
	b.feed(own(v, opened[1], 1<<40))
	b.same("after the SYN-ACK", live(), fmt.Sprint("7 ", 1<<40))
	for _, st := range opened[2:] {
		b.feed(own(v, st, map[Party]uint64{c: 7, s: 1 << 40}[st.from]))
	}
	b.play(v, step{12_000, c, fA, 11, 21, 0})
	b.Advance(int64(13 * time.Second))
	b.same("after a slice", live(), fmt.Sprint("7 ", 1<<40))
	b.play(between(40001, 443), openingSteps(14_000)...) // takes the only slot
	b.same("the next in the slot", live(), "0 0")
	b.feed(own(between(40001, 443), step{14_001, s, fSA, 0, 1, 0}, 9))
	b.Flush(EndShutdown)
	var told []string
	for i := range b.records {
		told = append(told, owners(&b.records[i]))
	}
	b.same("records", fmt.Sprint(told), fmt.Sprintf("[7 %d 7 %d 0 9]", 1<<40, 1<<40))
	b.same("sighted", fmt.Sprint(seen), fmt.Sprintf("[7 %d 9]", 1<<40))
}

// TestNobodyAsksForOwners: then a table keeps none, whatever segments say.
func TestNobodyAsksForOwners(t *testing.T) {
	b := newBench(t, Config{Timeouts: LiveTimeouts()})
	for _, st := range opened {
		b.feed(own(between(40000, 443), st, 7))
	}
	b.Flush(EndShutdown)
	b.same("owners", owners(&b.records[0]), "0 0")
	if b.owned != nil {
		t.Error("there is memory for owners")
	}
}

// quietOwners allocate nothing.
type quietOwners struct{ count int }

func (o *quietOwners) Sighted(uint64) { o.count++ }

func TestOwnersDoNotAllocate(t *testing.T) {
	ring, heard := NewRing(1024, false), &quietOwners{}
	b := newBench(t, Config{MaxFlows: 100, Timeouts: LiveTimeouts(), Records: ring, Owners: heard})
	var list []segment.Segment
	for _, st := range finished {
		list = append(list, *own(between(40000, 443), st, 7))
	}
	batch, hashes := b.hashed(list)
	run := func() {
		b.Update(batch, hashes)
		b.Flush(EndShutdown)
		for i := range list {
			list[i].At += int64(100 * time.Second)
		}
		records, _ := ring.Read()
		ring.Release(len(records))
	}
	if n := testing.AllocsPerRun(20, run); n != 0 || heard.count != 2*21 {
		t.Errorf("%v allocations, %d owners heard of", n, heard.count)
	}
}
