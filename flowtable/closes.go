package flowtable

import "unsafe"

// Who asks for the longest CLOSE-WAIT would read all that is known of every connection
// that is in it. Since when a connection is half closed does not change, but for what
// crossing allows; so questions note that too. Such a note is good as long as nothing
// begins in its group and the slot's outline is the one that it bears.

// strideCloses are the times since when the connections of a stride are half closed.
type strideCloses struct {
	since    [groups][groupOutlines]uint64 // outline 8 | time 56; 0 where there is no note
	editions [groups]uint32                // those of the groups, when the first of them was made
}

// withCloses returns them, which it makes where there are none yet.
func (n *notes) withCloses() []strideCloses {
	n.makeCloses.Do(func() { n.closes, _ = Reserve[strideCloses](n.strides) })
	return n.closes
}

// halfClosed keeps all but those that are half closed and were not soon enough.
func (l *looking) halfClosed() {
	closes := l.notes.withCloses()
	if l.n == 0 || closes == nil {
		return
	}
	g, slots := l.glance, l.take()
	stride := slots[0] / lookStride
	s := &closes[stride]
	note := func(slot uint32) *uint64 { return &s.since[slot/groupOutlines%groups][slot%groupOutlines] }
	for _, slot := range slots[:min(lineAhead, len(slots))] {
		fetchPassing(unsafe.Pointer(note(slot)))
	}
	lock := &l.notes.locks[stride]
	lock.Lock()
	defer lock.Unlock()
	for i, slot := range slots {
		if ahead := i + lineAhead; ahead < len(slots) {
			fetchPassing(unsafe.Pointer(note(slots[ahead])))
		}
		o := l.outlined[i]
		if g.Sights[o] != Insist && o.halfClosed() {
			if since, known := l.closingSince(slot, o, s); known && since-crossing > g.HalfClosedBy {
				g.Counted[o]++
				continue
			}
		}
		l.keep(slot, o, true)
	}
}

// closingSince is since when the connection in a slot closes, which had this outline just
// now. It is false where that is not known. The lock of its stride is held.
func (l *looking) closingSince(slot uint32, o Outline, s *strideCloses) (at int64, known bool) {
	edition, still := l.edition(slot)
	if !still {
		return 0, false
	}
	g := slot / groupOutlines % groups
	if s.editions[g] != edition {
		s.editions[g], s.since[g] = edition, [groupOutlines]uint64{}
	}
	note := &s.since[g][slot%groupOutlines]
	if Outline(*note>>56) == o {
		return reference(l.reference.Load()).time(*note), true
	}
	if !snapshot(&l.hot[slot], &l.cold[slot], &l.hotHalf, &l.coldHalf) {
		return 0, false
	}
	l.c.load(&l.hotHalf, &l.coldHalf, l.common(), allParts)
	if !l.c.has(connFIN1) || l.c.outline() != o {
		return 0, false
	}
	if now, _ := l.edition(slot); now != edition {
		return 0, false
	}
	at = l.c.closingSince()
	*note = uint64(at)&bits56 | uint64(o)<<56
	return at, true
}

// closingSince is the time of FIN1, or of its answer where that was here before it.
func (c *connection) closingSince() int64 {
	first, second := &c.ends[c.initiator], &c.ends[1-c.initiator]
	if answered(first, second) {
		return min(first.finAt, second.ackAt)
	}
	return first.finAt
}

// halfClosed tells whether one end has sent its FIN and the other has acknowledged it.
func (o Outline) halfClosed() bool {
	client, server := o.States()
	return client == StateCloseWait && server == StateFINWait2 || client == StateFINWait2 && server == StateCloseWait
}
