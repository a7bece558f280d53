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
		return c.closedAt()
	}
	return c.endAt
}

// overdue tells whether a segment came too late to belong to a connection. Where
// the kernel counts, only its timers know.
func (t *Table) overdue(c *connection, s *segment.Segment) bool {
	timeout := t.wheels[c.class].timeout
	if timeout == 0 || s.Marks&segment.HasEntry != 0 || c.has(connEntry) {
		return false
	}
	return s.At-c.idleFrom() > timeout
}

// idleReason is why an overdue connection ends.
func (c *connection) idleReason() EndReason {
	if c.has(connClosed) {
		return EndClosed
	}
	return EndIdleTimeout
}

// farOff is how far the reference may lie behind, in ns: 13 days.
const farOff = int64(1) << 50

// eternity, in ns, is how long a connection is held of which nothing is heard:
// 208 days, also where it never times out.
const eternity = int64(1) << 54

// Advance tells the table the time, and ends what is over by then.
func (t *Table) Advance(now int64) {
	if !t.started {
		t.Restart(now)
	}
	if now <= t.now {
		return
	}
	if now-t.now > eternity {
		t.leap(now)
		return
	}
	t.now = now
	if now-t.reference.Load() > farOff {
		t.reference.Store(now)
	}
	if now >= t.nextDue {
		for class := range t.wheels {
			w := &t.wheels[class]
			if now >= w.dueAt {
				t.turn(w, now/w.tick-1)
			}
		}
		t.setNextDue()
	}
	if t.strayN > 0 {
		t.dropStrays()
	}
}

// leap crosses a gap that is too long for the times of slots.
func (t *Table) leap(now int64) {
	t.Advance(t.now + eternity)
	t.Flush(EndCaptureEnd)
	t.Restart(now)
	t.Advance(now)
}

func (t *Table) setNextDue() {
	t.nextDue = t.wheels[0].dueAt
	for class := range t.wheels {
		t.nextDue = min(t.nextDue, t.wheels[class].dueAt)
	}
	t.quiet = min(t.nextDue, t.reference.Load()+farOff)
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
				slot = t.links[slot].next()
				w.size--
			}
			if w == &t.wheels[remembered] {
				t.forget(t.due[:n])
			} else {
				t.settle(n)
			}
		}
	}
}

// settle decides about the first n connections of t.due, which were taken out of
// their wheel: back into it where they were active since, else their record.
func (t *Table) settle(n int) {
	t.fetchDue(t.due[:n])
	for i, slot := range t.due[:n] {
		t.load(slot, &t.loaded[i])
	}
	counters, known := t.refresh(n)
	over := 0
	for i, slot := range t.due[:n] {
		c := &t.loaded[i]
		timeout := t.wheels[c.class].timeout
		slice, sliced := t.sliceDue(c)
		switch {
		case t.deadline(c) >= t.now:
			t.link(slot, c.class, t.deadline(c))
		case !known && c.has(connEntry) && c.class != lingering:
			// Nothing ends on a guess: the kernel is asked again.
			t.link(slot, c.class, t.now+t.wheels[c.class].tick)
		case timeout != 0 && c.idleFrom()+timeout < t.now:
			t.due[over], t.loaded[over] = slot, *c
			over++
		case sliced && slice < t.now:
			t.writeSlice(slot, c, &counters[i])
			t.link(slot, c.class, t.deadline(c))
		default: // a timeout that is switched off
			at := t.now + nominalTimeout
			if sliced {
				at = min(at, slice)
			}
			t.link(slot, c.class, at)
		}
	}
	t.fetchEnds(over)
	t.takeCounters(over)
	for i, slot := range t.due[:over] {
		c := &t.loaded[i]
		t.end(slot, c, t.dueHashes[i], &t.counters[i], c.idleReason())
	}
}

// refresh learns from the kernel which of the first n due connections were
// active. counters[i] belongs to due[i]; they are not known where the kernel
// could not be asked.
func (t *Table) refresh(n int) (counters []segment.Counters, known bool) {
	counters = t.counters[:n]
	clear(counters)
	asked := 0
	for i := range n {
		if c := &t.loaded[i]; c.has(connEntry) && c.class != lingering {
			t.keys[asked] = c.key
			asked++
		}
	}
	if asked == 0 {
		return counters, true
	}
	if err := t.config.Accounts.Peek(t.keys[:asked], counters[:asked]); err != nil {
		t.stats.AccountsFailed.add(uint64(asked))
		clear(counters)
		return counters, false
	}
	for i := n - 1; i >= 0; i-- {
		c := &t.loaded[i]
		if !c.has(connEntry) || c.class == lingering {
			counters[i] = segment.Counters{}
			continue
		}
		asked--
		counters[i] = counters[asked]
		for side := range counters[i] {
			c.glean(uint8(side), &counters[i][side])
		}
		c.class = c.currentClass()
		t.store(t.due[i], c)
	}
	return counters, true
}

// takeCounters takes the kernel entries of the first n connections of t.loaded,
// whose records are about to be written, into t.counters. They are zero where
// there is no entry.
func (t *Table) takeCounters(n int) {
	counters := t.counters[:n]
	clear(counters)
	asked := 0
	for i := range n {
		if c := &t.loaded[i]; c.has(connEntry) {
			t.keys[asked] = c.key
			asked++
		}
	}
	if asked == 0 {
		return
	}
	if err := t.config.Accounts.Take(t.keys[:asked], counters[:asked]); err != nil {
		clear(counters) // settleCounters counts what is missing
	}
	for i := n - 1; i >= 0; i-- {
		if !t.loaded[i].has(connEntry) {
			counters[i] = segment.Counters{}
			continue
		}
		asked--
		counters[i] = counters[asked]
	}
}

// writeSlice writes what a long connection did since its last slice. Its
// kernel entry, of which k is a look, stays.
func (t *Table) writeSlice(slot uint32, c *connection, k *segment.Counters) {
	seen := &t.work
	*seen = *c
	seen.reconcile(k)
	t.write(slot, seen, EndActiveTimeout, t.lossy(c, c.has(connEntry)))
	for i := range c.ends {
		if c.has(connFIN1) && uint8(i) != c.initiator {
			c.halfBase -= int64(seen.ends[i].payload)
		}
		c.ends[i].restartCounters(&k[i])
	}
	c.slice++
	before := c.serial
	c.serial = t.nextSerial()
	t.inherit(slot, before, c.serial)
	t.store(slot, c)
}

// finish takes a connection out of its wheel and ends it.
func (t *Table) finish(slot uint32, c *connection, hash uint64, reason EndReason) {
	t.unlink(slot, c.class)
	t.due[0], t.loaded[0] = slot, *c
	t.takeCounters(1)
	t.end(slot, c, hash, &t.counters[0], reason)
}

// end writes the last record of a connection that is in no wheel, and
// frees its slot, or leaves its tuple there.
func (t *Table) end(slot uint32, c *connection, hash uint64, k *segment.Counters, reason EndReason) {
	t.writeLast(slot, c, k, reason)
	if !c.has(connClosed) || !t.remember(slot, c.closedAt()) {
		t.release(slot, hash)
	}
}

// writeLast writes the last record of a connection.
func (t *Table) writeLast(slot uint32, c *connection, k *segment.Counters, reason EndReason) {
	lossy := t.lossy(c, c.has(connEntry))
	t.settleCounters(c, k)
	t.write(slot, c, reason, lossy)
	if !t.config.Unasked {
		t.outlines.set(slot, None)
	}
	t.stats.Connections.add(-1)
}

// settleCounters adds what the kernel counted, and notes where it should have
// counted and did not.
func (t *Table) settleCounters(c *connection, k *segment.Counters) {
	if !c.has(connEntry) {
		return
	}
	if !k.Found() {
		c.marks |= connLossy
		t.stats.AccountsFailed.add(1)
	}
	c.reconcile(k)
	c.marks &^= connEntry
	if !c.has(connClosed) && c.bothCovered() {
		c.marks |= connClosed
	}
}

func (t *Table) write(slot uint32, c *connection, reason EndReason, lossy bool) {
	r := t.config.Records.Next()
	if r == nil {
		t.stats.RecordsLost.add(1)
		return
	}
	c.record(r, reason, lossy)
	t.attribute(slot, c, r)
	t.config.Records.Commit()
	t.stats.Records.add(1)
	t.stats.ByKind[r.CloseKind].add(1)
	t.stats.ByReason[reason].add(1)
}

// evict makes room, unless it returns with a closed tuple in the place of a
// connection: the oldest closed tuples give way, then the oldest half-open
// connection, then the oldest lingering one; an established one only when nothing
// else is left.
func (t *Table) evict() {
	if t.crowdOut() {
		return
	}
	for _, class := range [...]class{opening, lingering, closing, established} {
		slot := t.wheels[class].earliest()
		if slot == 0 {
			continue
		}
		t.stats.Evicted[class].add(1)
		c := &t.loaded[0]
		t.load(slot, c)
		t.finish(slot, c, t.hashes.Hash(&c.key), EndEvicted)
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
		if slot := t.find(t.hashes.Hash(key), key); slot == 0 || !t.hot[slot].used() {
			t.keys[n] = *key
			n++
		}
	}
	t.strayN = 0
	if n == 0 {
		return
	}
	if err := t.config.Accounts.Take(t.keys[:n], t.counters[:n]); err != nil {
		t.stats.AccountsFailed.add(uint64(n))
	}
}

// Flush writes the records of all connections that are still followed, and leaves
// the table as it was made, but for its clock. A connection that is closed says so,
// the others give reason. No closed tuple is remembered: nothing follows, or another
// capture (see Restart).
func (t *Table) Flush(reason EndReason) {
	for slot, fresh := uint32(1), t.fresh.Load(); slot < fresh; {
		n := 0
		for ; slot < fresh && n < len(t.due); slot++ {
			if t.hot[slot].used() {
				t.load(slot, &t.loaded[n])
				t.due[n] = slot
				n++
			} else if t.hot[slot].remembered() {
				t.hot[slot].become(0)
			}
		}
		t.takeCounters(n)
		for i, at := range t.due[:n] {
			c, why := &t.loaded[i], reason
			if c.has(connClosed) {
				why = EndClosed
			}
			t.writeLast(at, c, &t.counters[i], why)
			t.hot[at].become(0)
		}
	}
	clear(t.index.buckets)
	for i := range t.wheels {
		t.wheels[i].clear()
	}
	t.free = 0
	t.fresh.Store(1)
}

// Restart sets the clock of an empty table, back or forth: after Flush, for a
// capture that begins before the last one ended.
func (t *Table) Restart(now int64) {
	t.now, t.started = now-1, true
	t.reference.Store(now)
	for i := range t.wheels {
		w := &t.wheels[i]
		w.set(now / w.tick)
	}
	t.setNextDue()
}
