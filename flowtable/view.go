package flowtable

import (
	"fmt"

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
	of := t.common()
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if t.outlines.load(slot) != None && of.serialOf(peek(&t.hot[slot], &t.cold[slot].serial)) == serial {
			return Place{serial, slot}, true
		}
	}
	return p, false
}

// View yields the connections of places with the kernel's counters, each with
// its number among the places, until yield says false. Those that are over by
// then are left out. It may be called as Look may.
func (t *Table) View(places []Place, yield func(i int, r *Record) bool) error {
	var (
		batch   [AccountsBatch]connection
		numbers [AccountsBatch]int // among the places
		h       hot
		l       cold
		n       int
	)
	for i, p := range places {
		if p.slot < t.fresh.Load() && snapshot(&t.hot[p.slot], &t.cold[p.slot], &h, &l) {
			batch[n].load(&h, &l, t.common())
			if batch[n].serial == p.Serial {
				numbers[n] = i
				n++
			}
		}
		if n == len(batch) || i == len(places)-1 {
			if more, err := t.viewAll(batch[:n], numbers[:n], places, yield); !more {
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

func (t *Table) viewAll(batch []connection, numbers []int, places []Place, yield func(int, *Record) bool) (more bool, err error) {
	var (
		keys     [AccountsBatch]segment.Key
		counters [AccountsBatch]segment.Counters
		r        Record
	)
	for i := range batch {
		keys[i] = batch[i].key
	}
	if t.config.Accounts != nil && len(batch) > 0 {
		if err := t.config.Accounts.Peek(keys[:len(batch)], counters[:len(batch)]); err != nil {
			return false, fmt.Errorf("reading the kernel's counters of live connections: %w", err)
		}
	}
	for i := range batch {
		batch[i].view(&r, &counters[i], t.lossy(&batch[i], batch[i].has(connEntry)))
		t.attribute(places[numbers[i]].slot, &batch[i], &r)
		if !yield(numbers[i], &r) {
			return false, nil
		}
	}
	return true, nil
}
