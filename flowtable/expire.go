package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// deadline is when a connection is to be looked at again; it is over once
// that time has passed.
func (t *Table) deadline(c *connection) int64 {
	span := t.wheels[c.class].timeout
	if span == 0 {
		span = nominalTimeout
	}
	at := c.idleFrom() + span
	if slice, ok := t.sliceDue(c); ok {
		at = min(at, slice)
	}
	return at
}

// sliceDue is when the next slice of a connection is to be written, if ever.
func (t *Table) sliceDue(c *connection) (at int64, ok bool) {
	active := int64(t.config.Timeouts.Active)
	return c.startAt + int64(c.slice+1)*active, active > 0 && c.class != lingering
}

// idleFrom is when the timeout of a connection's class began to run.
func (c *connection) idleFrom() int64 {
	if c.class == lingering {
		return c.closedAt
	}
	return c.endAt
}

// overdue tells whether a segment came too late to belong to the connection
// in its slot. Where the kernel counts, only its timers know.
func (t *Table) overdue(slot uint32, s *segment.Segment) bool {
	c := &t.slots[slot]
	timeout := t.wheels[c.class].timeout
	if timeout == 0 || s.Marks&segment.HasEntry != 0 || c.has(connEntry) {
		return false
	}
	return s.At-c.idleFrom() > timeout
}

// idleReason is why an overdue connection ends.
func (t *Table) idleReason(slot uint32) EndReason {
	if t.slots[slot].has(connClosed) {
		return EndClosed
	}
	return EndIdleTimeout
}

// Advance tells the table the time, and ends what is over by then.
func (t *Table) Advance(now int64) {
	if !t.started {
		t.Restart(now)
	}
	if now <= t.now {
		return
	}
	t.now = now
	for class := range t.wheels {
		w := &t.wheels[class]
		if now >= w.dueAt {
			t.turn(w, now/w.tick-1)
		}
	}
	if t.strayN > 0 {
		t.dropStrays()
	}
}

// turn empties the buckets of a wheel up to a tick.
func (t *Table) turn(w *wheel, due int64) {
	from := w.cursor
	if due-from >= wheelBuckets {
		from = due - wheelBuckets + 1 // every bucket once
	}
	w.set(due + 1)
	for tick := from; tick <= due && w.size > 0; tick++ {
		b := uint64(tick) % wheelBuckets
		slot := w.heads[b]
		if slot == 0 {
			continue
		}
		w.heads[b] = 0
		w.used[b/64] &^= 1 << (b % 64)
		for slot != 0 {
			n := 0
			for ; slot != 0 && n < len(t.due); n++ {
				t.due[n] = slot
				slot = t.slots[slot].next
				w.size--
			}
			t.settle(t.due[:n])
		}
	}
}

// settle decides about connections that were taken out of their wheel: back
// into it where they were active since, else their record.
func (t *Table) settle(due []uint32) {
	counters, known := t.refresh(due)
	over := due[:0]
	for i, slot := range due {
		c := &t.slots[slot]
		timeout := t.wheels[c.class].timeout
		slice, sliced := t.sliceDue(c)
		switch {
		case t.deadline(c) >= t.now:
			t.link(slot, t.deadline(c))
		case !known && c.has(connEntry) && c.class != lingering:
			// Nothing ends on a guess: the kernel is asked again.
			t.link(slot, t.now+t.wheels[c.class].tick)
		case timeout != 0 && c.idleFrom()+timeout < t.now:
			over = append(over, slot)
		case sliced && slice < t.now:
			t.writeSlice(c, &counters[i])
			t.link(slot, t.deadline(c))
		default: // a timeout that is switched off
			at := t.now + nominalTimeout
			if sliced {
				at = min(at, slice)
			}
			t.link(slot, at)
		}
	}
	t.takeCounters(over)
	for i, slot := range over {
		t.end(slot, &t.counters[i], t.idleReason(slot))
	}
}

// refresh learns from the kernel which of the due connections were active.
// counters[i] belongs to due[i]; they are not known where the kernel could
// not be asked.
func (t *Table) refresh(due []uint32) (counters []segment.Counters, known bool) {
	counters = t.counters[:len(due)]
	clear(counters)
	n := 0
	for _, slot := range due {
		if c := &t.slots[slot]; c.has(connEntry) && c.class != lingering {
			t.keys[n] = c.key
			n++
		}
	}
	if n == 0 {
		return counters, true
	}
	if err := t.config.Accounts.Peek(t.keys[:n], counters[:n]); err != nil {
		t.stats.AccountsFailed.Add(uint64(n))
		clear(counters)
		return counters, false
	}
	for i := len(due) - 1; i >= 0; i-- {
		c := &t.slots[due[i]]
		if !c.has(connEntry) || c.class == lingering {
			counters[i] = segment.Counters{}
			continue
		}
		n--
		counters[i] = counters[n]
		c.guard.begin()
		for side := range counters[i] {
			c.glean(uint8(side), &counters[i][side])
		}
		c.guard.done()
		c.class = c.currentClass()
	}
	return counters, true
}

// takeCounters takes the kernel entries of connections whose records are
// about to be written into t.counters, in the order of slots. They are zero
// where there is no entry.
func (t *Table) takeCounters(slots []uint32) {
	counters := t.counters[:len(slots)]
	clear(counters)
	n := 0
	for _, slot := range slots {
		if c := &t.slots[slot]; c.has(connEntry) {
			t.keys[n] = c.key
			n++
		}
	}
	if n == 0 {
		return
	}
	if err := t.config.Accounts.Take(t.keys[:n], counters[:n]); err != nil {
		clear(counters) // settleCounters counts what is missing
	}
	for i := len(slots) - 1; i >= 0; i-- {
		if !t.slots[slots[i]].has(connEntry) {
			counters[i] = segment.Counters{}
			continue
		}
		n--
		counters[i] = counters[n]
	}
}

// writeSlice writes what a long connection did since its last slice. Its
// kernel entry, of which k is a look, stays.
func (t *Table) writeSlice(c *connection, k *segment.Counters) {
	var seen connection
	c.snapshot(&seen)
	seen.reconcile(k)
	t.write(&seen, EndActiveTimeout, t.lossy(c, c.has(connEntry)))
	c.guard.begin()
	for i := range c.ends {
		if c.has(connFIN1) && uint8(i) != c.initiator {
			c.halfBase -= int64(seen.ends[i].payload)
		}
		c.ends[i].restartCounters(&k[i])
	}
	c.slice++
	c.serial = t.serial
	t.serial++
	c.guard.done()
}

// finish takes a connection out of its wheel and ends it.
func (t *Table) finish(slot uint32, hash uint64, reason EndReason) {
	t.unlink(slot)
	t.due[0] = slot
	t.takeCounters(t.due[:1])
	t.endHashed(slot, hash, &t.counters[0], reason)
}

func (t *Table) end(slot uint32, k *segment.Counters, reason EndReason) {
	t.endHashed(slot, t.hashes.Hash(&t.slots[slot].key), k, reason)
}

// endHashed writes the last record of a connection that is in no wheel, and
// frees its slot.
func (t *Table) endHashed(slot uint32, hash uint64, k *segment.Counters, reason EndReason) {
	c := &t.slots[slot]
	c.guard.begin()
	lossy := t.lossy(c, c.has(connEntry))
	t.settleCounters(c, k)
	t.write(c, reason, lossy)
	if c.has(connClosed) && t.tuples.remember(hash, c.closedAt, t.now) {
		t.stats.TuplesForgotten.Add(1)
	}
	c.marks = 0
	c.guard.done()
	t.index.remove(hash, slot)
	c.next, t.free = t.free, slot
	t.stats.Connections.Add(-1)
}

// settleCounters adds what the kernel counted, and notes where it should have
// counted and did not.
func (t *Table) settleCounters(c *connection, k *segment.Counters) {
	if !c.has(connEntry) {
		return
	}
	if !k.Found() {
		c.marks |= connLossy
		t.stats.AccountsFailed.Add(1)
	}
	c.reconcile(k)
	c.marks &^= connEntry
	if !c.has(connClosed) && c.bothCovered() {
		c.marks |= connClosed
		c.closedAt = c.endAt
	}
}

func (t *Table) write(c *connection, reason EndReason, lossy bool) {
	r := t.config.Records.Next()
	if r == nil {
		t.stats.RecordsLost.Add(1)
		return
	}
	c.record(r, reason, lossy)
	t.config.Records.Commit()
	t.stats.Records.Add(1)
	t.stats.ByKind[r.CloseKind].Add(1)
	t.stats.ByReason[reason].Add(1)
}

// evict makes room: the oldest half-open connection gives way, then the
// oldest lingering one; an established one only when nothing else is left.
func (t *Table) evict() {
	for _, class := range [...]class{opening, lingering, closing, established} {
		slot := t.wheels[class].earliest()
		if slot == 0 {
			continue
		}
		t.stats.Evicted[class].Add(1)
		t.finish(slot, t.hashes.Hash(&t.slots[slot].key), EndEvicted)
		return
	}
}

// stray notes a kernel entry that a late segment made.
func (t *Table) stray(key *segment.Key) {
	if t.config.Accounts == nil {
		return
	}
	t.strays[t.strayN] = *key
	if t.strayN++; t.strayN == len(t.strays) {
		t.dropStrays()
	}
}

// dropStrays deletes the noted entries, but for those whose tuple has a new
// connection by now: the entry is that one's.
func (t *Table) dropStrays() {
	n := 0
	for i := range t.strays[:t.strayN] {
		key := &t.strays[i]
		if t.find(t.hashes.Hash(key), key) == 0 {
			t.keys[n] = *key
			n++
		}
	}
	t.strayN = 0
	if n == 0 {
		return
	}
	if err := t.config.Accounts.Take(t.keys[:n], t.counters[:n]); err != nil {
		t.stats.AccountsFailed.Add(uint64(n))
	}
}

// Flush writes the records of all connections that are still followed. One
// that is closed says so, the others give reason.
func (t *Table) Flush(reason EndReason) {
	for slot, fresh := uint32(1), t.fresh.Load(); slot < fresh; {
		n := 0
		for ; slot < fresh && n < len(t.due); slot++ {
			if t.slots[slot].has(connUsed) {
				t.unlink(slot)
				t.due[n] = slot
				n++
			}
		}
		t.takeCounters(t.due[:n])
		for i, at := range t.due[:n] {
			why := reason
			if t.slots[at].has(connClosed) {
				why = EndClosed
			}
			t.end(at, &t.counters[i], why)
		}
	}
}

// Restart sets the clock of an empty table, back or forth, and forgets closed
// tuples: after Flush, for a capture that begins before the last one ended.
func (t *Table) Restart(now int64) {
	if t.started {
		clear(t.tuples.places)
	}
	t.now, t.started = now-1, true
	for i := range t.wheels {
		w := &t.wheels[i]
		w.set(now / w.tick)
	}
}
