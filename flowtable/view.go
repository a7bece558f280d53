package flowtable

import (
	"fmt"
	"sync/atomic"

	"github.com/finwait/finwait/flowtable/segment"
)

// Place is where a connection was found.
type Place struct {
	Serial uint64
	slot   uint32
}

// Look yields a Record, with EndReason EndNone, of every connection that is
// followed now, until yield says false; closing leaves out those without a FIN,
// at the price of a glance. The Record is what the worker knows: where the kernel
// counts, the numbers of packets and octets are none, EndAt and the evidence are
// those of the control segments, and an ACK that the kernel alone has seen is
// missing. View adds the kernel's part.
//
// Look may be called from any goroutine and never stops the worker: each
// connection is seen as it was at some moment during the call. The Record is
// valid until yield returns.
func (t *Table) Look(closing bool, yield func(Place, *Record) bool) {
	var (
		h hot
		l cold
		c connection
		r Record
	)
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if closing && !t.hot[slot].closing() || !snapshot(&t.hot[slot], &t.cold[slot], &h, &l) {
			continue
		}
		c.load(&h, &l, t.common())
		c.record(&r, EndNone, t.lossy(&c, c.has(connEntry)))
		t.attribute(slot, &c, &r)
		if !yield(Place{c.serial, slot}, &r) {
			return
		}
	}
}

// closing tells at a glance whether either end has sent a FIN.
func (h *hot) closing() bool {
	marks := atomic.LoadUint64(&h.ends[0].packets) | atomic.LoadUint64(&h.ends[1].packets)
	return marks>>48&endFIN != 0
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
	t.Look(false, func(p Place, _ *Record) bool {
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
