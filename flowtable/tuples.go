package flowtable

import "unsafe"

// Closed tuples are remembered after their records were written, for
// reuse_after_ns and to tell late segments from new connections. There is no memory
// for that alone: the slot of a connection that closed keeps its key, with the time
// of the close in place of that of the last segment, and stays in the index. It
// waits in a wheel of its own until its time is over, and is the first to give way
// where a connection needs a slot and there is none. So a table has room for
// connections and closed tuples together, and none for tuples where connections
// fill it.

// crowdingOut is the most tuples that give way at once, so that the memory of one
// need not wait for that of another; of a small table one in a thousand.
const crowdingOut = 16

// remember leaves the tuple of a connection that closed in its slot. It is false
// where the time to remember it is over.
func (t *Table) remember(slot uint32, closedAt int64) bool {
	if t.now-closedAt > t.keep() {
		return false
	}
	t.hot[slot].become(uint64(closedAt)&bits56 | stateRemembered)
	t.link(slot, remembered, closedAt+t.keep())
	return true
}

// keep is how long after its close a tuple is remembered, in ns.
func (t *Table) keep() int64 { return t.wheels[remembered].timeout }

// recall tells when the tuple in a slot closed, if the slot, which may be 0,
// remembers one and that was at most keep before now.
func (t *Table) recall(slot uint32, now int64) (closedAt int64, ok bool) {
	if slot == 0 || !t.hot[slot].remembered() {
		return 0, false
	}
	closedAt = reference(t.reference.Load()).time(t.hot[slot].last)
	return closedAt, now-closedAt <= t.keep()
}

// crowdOut makes tuples give way, those that closed first, and tells whether there
// were any.
func (t *Table) crowdOut() bool {
	most := min(max(len(t.hot)/1024, 1), crowdingOut)
	n := 0
	for ; n < most; n++ {
		slot := t.wheels[remembered].earliest()
		if slot == 0 {
			break
		}
		t.unlink(slot, remembered)
		t.due[n] = slot
	}
	t.stats.TuplesForgotten.add(uint64(n))
	t.forget(t.due[:n])
	return n > 0
}

// forget frees slots that are in no wheel any more.
func (t *Table) forget(slots []uint32) {
	for _, slot := range slots {
		fetchLines(unsafe.Pointer(&t.hot[slot]))
	}
	for i, slot := range slots {
		t.hot[slot].copyKey(&t.keys[i])
		t.dueHashes[i] = t.hashes.Hash(&t.keys[i])
		fetchLine(unsafe.Pointer(&t.index.buckets[t.index.home(t.dueHashes[i])]))
	}
	for i, slot := range slots {
		t.release(slot, t.dueHashes[i])
	}
}

// release makes a slot free.
func (t *Table) release(slot uint32, hash uint64) {
	t.hot[slot].become(0)
	t.index.remove(hash, slot)
	t.links[slot].setNext(t.free)
	t.free = slot
}
