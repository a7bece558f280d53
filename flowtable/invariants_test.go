package flowtable

import (
	"fmt"

	"github.com/finwait/finwait/flowtable/segment"
)

// invariants holds the parts of a table against each other: every followed
// connection is found by its key, stands in the wheel of its class once, and
// is not free; nothing else is in index, wheels and views.
func (b *bench) invariants() error {
	t := b.Table
	used, kept := 0, 0
	for slot := uint32(1); slot < t.fresh.Load(); slot++ {
		if o := t.outlines.load(slot); o != None && !t.hot[slot].used() {
			return fmt.Errorf("slot %d holds no connection and has the outline %d", slot, o)
		}
		if t.hot[slot].remembered() {
			kept++
			var key segment.Key
			if t.hot[slot].copyKey(&key); t.find(t.hashes.Hash(&key), &key) != slot {
				return fmt.Errorf("slot %d: the tuple that it remembers does not lead there", slot)
			}
			continue
		}
		if !t.hot[slot].used() {
			continue
		}
		used++
		c := new(connection)
		t.load(slot, c)
		if got, want := t.outlines.load(slot), c.outline(); got != want {
			return fmt.Errorf("slot %d has the outline %d in place of %d", slot, got, want)
		}
		if err := t.checkRest(slot, c); err != nil {
			return err
		}
		if got := t.find(t.hashes.Hash(&c.key), &c.key); got != slot {
			return fmt.Errorf("slot %d: its key leads to slot %d", slot, got)
		}
		if c.bothCovered() && !c.has(connClosed) {
			return fmt.Errorf("slot %d: both FINs are acknowledged, but it is not closed", slot)
		}
	}
	if got := int(t.stats.Connections.Load()); got != used {
		return fmt.Errorf("%d connections are followed, %d are counted", used, got)
	}
	if err := t.checkIndex(used + kept); err != nil {
		return err
	}
	wheeled := 0
	for class := range t.wheels {
		n, err := t.checkWheel(uint8(class))
		if err != nil {
			return err
		}
		wheeled += n
	}
	if wheeled != used+kept {
		return fmt.Errorf("%d connections are followed and %d tuples remembered, %d are in a wheel", used, kept, wheeled)
	}
	return t.checkFree(used + kept)
}

// checkRest stores a connection elsewhere and loads it again.
func (t *Table) checkRest(slot uint32, c *connection) error {
	var (
		h hot
		l cold
		d connection
	)
	h.setKey(&c.key)
	c.store(&h, &l, 0, allParts)
	d.load(&h, &l, t.common(), allParts)
	if *c != d {
		return fmt.Errorf("slot %d changes at rest:\n%+v\n%+v", slot, *c, d)
	}
	rest := &t.hot[slot]
	if h.last != rest.last || h.ends != rest.ends || l != t.cold[slot] {
		return fmt.Errorf("slot %d: its halves differ from what they hold:\n%#x %+v %+v\n%#x %+v %+v",
			slot, h.last, h.ends, l, rest.last, rest.ends, t.cold[slot])
	}
	return nil
}

func (t *Table) checkIndex(used int) error {
	entries := 0
	for i := range t.index.buckets {
		b := &t.index.buckets[i]
		for j := range b.tags {
			if (b.tags[j] == 0) != (b.slot(uint(j)) == 0) {
				return fmt.Errorf("bucket %d: tag and slot of entry %d disagree", i, j)
			}
			if b.slot(uint(j)) == 0 {
				continue
			}
			entries++
			if t.hot[b.slot(uint(j))].last == 0 {
				return fmt.Errorf("bucket %d leads to the free slot %d", i, b.slot(uint(j)))
			}
		}
		if int(b.overflow) > used {
			return fmt.Errorf("bucket %d: %d overflowed, of %d", i, b.overflow, used)
		}
		if used == 0 && b.overflow != 0 {
			return fmt.Errorf("bucket %d: %d overflowed from an empty table", i, b.overflow)
		}
	}
	if entries != used {
		return fmt.Errorf("%d connections are followed, %d are in the index", used, entries)
	}
	return nil
}

func (t *Table) checkWheel(class uint8) (n int, err error) {
	w := &t.wheels[class]
	for b, head := range w.heads {
		if marked := w.used[b/64]&(1<<(b%64)) != 0; marked != (head != 0) {
			return 0, fmt.Errorf("wheel %d: the mark of bucket %d is %v", class, b, marked)
		}
		if head == 0 {
			continue
		}
		before := uint32(0)
		for slot := head; slot != 0; before, slot = slot, t.links[slot].next() {
			of, l := t.classOf(slot), t.links[slot]
			switch {
			case of != class || int(l.bucket()) != b:
				return 0, fmt.Errorf("slot %d of class %d is in bucket %d of wheel %d", slot, of, b, class)
			case l.prev() != before:
				return 0, fmt.Errorf("slot %d: before it is %d, not %d", slot, before, l.prev())
			case l.next() == 0 && slot != w.tails[b]:
				return 0, fmt.Errorf("bucket %d of wheel %d ends at %d, not %d", b, class, slot, w.tails[b])
			}
			if n++; n > len(t.hot) {
				return 0, fmt.Errorf("bucket %d of wheel %d has no end", b, class)
			}
		}
	}
	if n != int(w.size) {
		return 0, fmt.Errorf("wheel %d has %d connections and counts %d", class, n, w.size)
	}
	return n, nil
}

// classOf is the wheel that a slot is to be in, above all where it is free.
func (t *Table) classOf(slot uint32) uint8 {
	h := &t.hot[slot]
	switch {
	case h.remembered():
		return remembered
	case h.used():
		var c connection
		t.load(slot, &c)
		return uint8(c.class)
	}
	return remembered + 1
}

func (t *Table) checkFree(used int) error {
	free := 0
	for slot := t.free; slot != 0; slot = t.links[slot].next() {
		if t.hot[slot].last != 0 {
			return fmt.Errorf("slot %d is in use and free", slot)
		}
		if free++; free > len(t.hot) {
			return fmt.Errorf("the list of free slots has no end")
		}
	}
	if fresh := int(t.fresh.Load()) - 1; free+used != fresh {
		return fmt.Errorf("%d slots were used: %d are free and %d followed", fresh, free, used)
	}
	return nil
}
