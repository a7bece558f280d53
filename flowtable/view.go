package flowtable

import (
	"fmt"
	"sync"

	"github.com/finwait/finwait/flowtable/segment"
)

// Place is where a connection was found.
type Place struct {
	Serial uint64
	slot   uint32
}

// Seek finds the connection of a serial number, as long as it is followed. It
// may be called as Look may.
func (t *Table) Seek(serial uint64) (p Place, found bool) {
	if t.config.Unasked {
		return p, false
	}
	of := t.common()
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if t.outlines.load(slot) != None && of.serialOf(peek(&t.hot[slot], &t.cold[slot].serial)) == serial {
			return Place{serial, slot}, true
		}
	}
	return p, false
}

// viewing is what a View works with. It is used again: a question has thousands of them,
// and the collector's work would be felt by the workers.
type viewing struct {
	batch    [AccountsBatch]connection
	numbers  [AccountsBatch]int // among the places
	keys     [AccountsBatch]segment.Key
	counters [AccountsBatch]segment.Counters
	hot      hot
	cold     cold
	record   Record
}

var viewings = sync.Pool{New: func() any { return new(viewing) }}

// View yields the connections of places with the kernel's counters, each with
// its number among the places, until yield says false. Those that are over by
// then are left out. It may be called as Look may.
func (t *Table) View(places []Place, yield func(i int, r *Record) bool) error {
	if len(places) == 0 {
		return nil
	}
	v := viewings.Get().(*viewing)
	defer viewings.Put(v)
	n := 0
	for i, p := range places {
		if p.slot < t.fresh.Load() && snapshot(&t.hot[p.slot], &t.cold[p.slot], &v.hot, &v.cold) {
			v.batch[n].load(&v.hot, &v.cold, t.common(), allParts)
			if v.batch[n].serial == p.Serial {
				v.numbers[n] = i
				n++
			}
		}
		if n == len(v.batch) || i == len(places)-1 {
			if more, err := t.viewAll(v, n, places, yield); !more {
				return err
			}
			n = 0
		}
	}
	return nil
}

// Connections yields what Look and View together do: every connection, with the
// kernel's counters.
func (t *Table) Connections(yield func(*Record) bool) (err error) {
	var places [AccountsBatch]Place
	n, more := 0, true
	flush := func() bool {
		err = t.View(places[:n], func(_ int, r *Record) bool { more = yield(r); return more })
		n = 0
		return more && err == nil
	}
	t.Look(new(Glance), func(p Place, _ *Record) bool {
		places[n] = p
		n++
		return n < len(places) || flush()
	})
	if more && err == nil {
		flush()
	}
	return err
}

// viewAll yields the first n connections of a batch.
func (t *Table) viewAll(v *viewing, n int, places []Place, yield func(int, *Record) bool) (more bool, err error) {
	batch, counters := v.batch[:n], v.counters[:n]
	clear(counters)
	if t.config.Accounts != nil && n > 0 {
		for i := range batch {
			v.keys[i] = batch[i].key
		}
		if err := t.config.Accounts.Peek(v.keys[:n], counters); err != nil {
			return false, fmt.Errorf("reading the kernel's counters of live connections: %w", err)
		}
	}
	for i := range batch {
		batch[i].view(&v.record, &counters[i], t.lossy(&batch[i], batch[i].has(connEntry)))
		t.attribute(places[v.numbers[i]].slot, &batch[i], &v.record)
		if !yield(v.numbers[i], &v.record) {
			return false, nil
		}
	}
	return true, nil
}
