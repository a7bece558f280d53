package flowtable

import "github.com/finwait/finwait/flowtable/segment"

// deadline is when a connection is to be looked at again.
func (t *Table) deadline(c *connection) int64 {
	span := t.wheels[c.class].timeout
	if span == 0 {
		span = nominalTimeout
	}
	from := c.endAt
	if c.class == lingering {
		from = c.closedAt
	}
	at := from + span
	if active := int64(t.config.Timeouts.Active); active > 0 && c.class != lingering {
		at = min(at, c.startAt+int64(c.slice+1)*active)
	}
	return at
}

// overdue tells whether a segment came too late to belong to the connection
// in its slot. Where the kernel counts, only its timers know.
func (t *Table) overdue(slot uint32, s *segment.Segment) bool {
	c := &t.slots[slot]
	timeout := t.wheels[c.class].timeout
	if timeout == 0 || s.Marks&segment.HasEntry != 0 || c.has(connEntry) {
		return false
	}
	if c.class == lingering {
		return s.At-c.closedAt > timeout
	}
	return s.At-c.endAt > timeout
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
	if t.config.Accounts != nil {
		due = t.refresh(due)
	}
	over := due[:0]
	for _, slot := range due {
		c := &t.slots[slot]
		switch at := t.deadline(c); {
		case at > t.now:
			t.link(slot, at)
		case t.idles(c):
			t.link(slot, t.now+nominalTimeout)
		default:
			over = append(over, slot)
		}
	}
	if len(over) == 0 {
		return
	}
	counters := t.takeCounters(over)
	for i, slot := range over {
		var k *segment.Counters
		if counters != nil {
			k = &counters[i]
		}
		t.conclude(slot, k)
	}
}

// idles tells whether a deadline has come that ends nothing: its timeout is
// switched off, and no slice is due.
func (t *Table) idles(c *connection) bool {
	if t.wheels[c.class].timeout != 0 {
		return false
	}
	active := int64(t.config.Timeouts.Active)
	return active == 0 || c.class == lingering || c.startAt+int64(c.slice+1)*active > t.now
}

// refresh learns from the kernel which of the due connections were active.
func (t *Table) refresh(due []uint32) []uint32 {
	n := 0
	for _, slot := range due {
		if c := &t.slots[slot]; c.has(connEntry) && c.class != lingering {
			t.keys[n] = c.key
			n++
		}
	}
	if n == 0 {
		return due
	}
	clear(t.counters[:n])
	if err := t.config.Accounts.Peek(t.keys[:n], t.counters[:n]); err != nil {
		t.stats.AccountsFailed.Add(uint64(n))
		return due
	}
	n = 0
	for _, slot := range due {
		c := &t.slots[slot]
		if !c.has(connEntry) || c.class == lingering {
			continue
		}
		c.guard.begin()
		for side := range t.counters[n] {
			c.glean(uint8(side), &t.counters[n][side])
		}
		c.guard.done()
		c.class = c.currentClass()
		n++
	}
	return due
}

// takeCounters takes the kernel entries of connections whose records are
// about to be written; nil where there is no kernel. counters[i] belongs to
// slots[i].
func (t *Table) takeCounters(slots []uint32) []segment.Counters {
	if t.config.Accounts == nil {
		return nil
	}
	entries := false
	for i, slot := range slots {
		t.keys[i] = t.slots[slot].key
		entries = entries || t.slots[slot].has(connEntry)
	}
	counters := t.counters[:len(slots)]
	clear(counters)
	if !entries {
		return counters
	}
	if err := t.config.Accounts.Take(t.keys[:len(slots)], counters); err != nil {
		t.stats.AccountsFailed.Add(uint64(len(slots)))
	}
	return counters
}

// conclude writes the record of a connection whose deadline has come: its
// last one, or a slice.
func (t *Table) conclude(slot uint32, k *segment.Counters) {
	c := &t.slots[slot]
	active := int64(t.config.Timeouts.Active)
	idle := t.wheels[c.class].timeout
	if c.class != lingering && active > 0 && (idle == 0 || t.now < c.endAt+idle) {
		t.writeSlice(slot, k)
		return
	}
	t.end(slot, k, t.idleReason(slot))
}

// writeSlice writes what a long connection did since its last slice.
func (t *Table) writeSlice(slot uint32, k *segment.Counters) {
	c := &t.slots[slot]
	c.guard.begin()
	t.settleCounters(c, k)
	t.write(c, EndActiveTimeout)
	for i := range c.ends {
		if c.has(connFIN1) && uint8(i) != c.initiator {
			c.halfBase -= int64(c.ends[i].payload)
		}
		c.ends[i].packets, c.ends[i].octets, c.ends[i].payload = 0, 0, 0
	}
	c.slice++
	c.serial = t.serial
	t.serial++
	c.guard.done()
	t.link(slot, t.deadline(c))
}

// finish takes a connection out of its wheel and ends it.
func (t *Table) finish(slot uint32, hash uint64, reason EndReason) {
	t.unlink(slot)
	var k *segment.Counters
	if t.config.Accounts != nil && t.slots[slot].has(connEntry) {
		t.due[0] = slot
		k = &t.takeCounters(t.due[:1])[0]
	}
	t.endHashed(slot, hash, k, reason)
}

func (t *Table) end(slot uint32, k *segment.Counters, reason EndReason) {
	t.endHashed(slot, t.hashes.Hash(&t.slots[slot].key), k, reason)
}

// endHashed writes the last record of a connection that is in no wheel, and
// frees its slot.
func (t *Table) endHashed(slot uint32, hash uint64, k *segment.Counters, reason EndReason) {
	c := &t.slots[slot]
	c.guard.begin()
	t.settleCounters(c, k)
	t.write(c, reason)
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
	if k == nil || !c.has(connEntry) {
		return
	}
	if !k.Found() {
		c.marks |= connLossy
		t.stats.AccountsFailed.Add(1)
	}
	for i := range k {
		c.absorb(uint8(i), &k[i])
	}
	c.marks &^= connEntry
	if !c.has(connClosed) && c.bothCovered() {
		c.marks |= connClosed
		c.closedAt = c.endAt
	}
}

func (t *Table) write(c *connection, reason EndReason) {
	r := t.config.Records.Next()
	if r == nil {
		t.stats.RecordsLost.Add(1)
		return
	}
	c.record(r, reason, t.lossAt.Load() >= c.startAt)
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
		reason := EndEvicted
		if class == lingering {
			reason = EndClosed
		}
		t.finish(slot, t.hashes.Hash(&t.slots[slot].key), reason)
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

func (t *Table) dropStrays() {
	if err := t.config.Accounts.Take(t.strays[:t.strayN], t.counters[:t.strayN]); err != nil {
		t.stats.AccountsFailed.Add(uint64(t.strayN))
	}
	t.strayN = 0
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
		counters := t.takeCounters(t.due[:n])
		for i, at := range t.due[:n] {
			why := reason
			if t.slots[at].has(connClosed) {
				why = EndClosed
			}
			var k *segment.Counters
			if counters != nil {
				k = &counters[i]
			}
			t.end(at, k, why)
		}
	}
}

// Restart sets the clock of an empty table, back or forth: after Flush, for a
// capture that begins before the last one ended.
func (t *Table) Restart(now int64) {
	t.now, t.started = now-1, true
	for i := range t.wheels {
		w := &t.wheels[i]
		w.set(now / w.tick)
	}
}
