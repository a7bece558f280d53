package flowtable

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Who asks about all connections would read a line or two of each, and take from the
// worker what memory can do meanwhile. What is asked for most hardly changes: a
// connection keeps its addresses, its ports and the time of its first segment. So
// questions note these where they stand close together, each group of slots when it
// is first asked about, and the next one reads the notes.
//
// A note is good as long as nothing begins in its group. That is all that the worker
// tells, by the group's edition: it is odd while a connection begins there, or becomes
// one with another client or an earlier start, and has grown by two afterwards. Who
// sees the outline of a connection and then an even edition has that of no time before
// it began.
//
// A table that is never asked has no notes. The first question takes their memory.

// notes are all that is noted of a table's slots, by strides. An array is nil
// until it is needed, and stays so where there is no memory for it.
type notes struct {
	strides uint64
	locks   []sync.Mutex // of strides
	spans   []strideSpans
	ends    []strideEnds
	closes  []strideCloses

	makeSpans, makeEnds, makeCloses sync.Once
}

// groups is how many are in a stride.
const groups = lookStride / groupOutlines

// strideSpans are the times in which the connections of each group began.
type strideSpans struct {
	editions       [groups]uint32
	oldest, newest [groups]int64
}

// strideEnds are the ends of connections, group by group: what a question asks about
// stands side by side for the whole stride.
type strideEnds struct {
	clients, servers         [groups][groupOutlines]uint32
	clientPorts, serverPorts [groups][groupOutlines]uint16
	clientIPv6, serverIPv6   [groups]uint64
	known                    [groups]uint64
	editions                 [groups]uint32
}

func newNotes(slots uint64) notes {
	n := (slots + lookStride - 1) / lookStride
	return notes{strides: n, locks: make([]sync.Mutex, n)}
}

// withSpans returns the spans, which it makes where there are none yet.
func (n *notes) withSpans() []strideSpans {
	n.makeSpans.Do(func() { n.spans, _ = Reserve[strideSpans](n.strides) })
	return n.spans
}

// withEnds is the same for the ends.
func (n *notes) withEnds() []strideEnds {
	n.makeEnds.Do(func() { n.ends, _ = Reserve[strideEnds](n.strides) })
	return n.ends
}

func (n *notes) release() error {
	err := errors.Join(Release(n.spans), Release(n.ends), Release(n.closes))
	n.spans, n.ends, n.closes = nil, nil, nil
	return err
}

// editionSize is the octets of an edition.
const editionSize = 4

// reserveEditions has an edition for each group of so many slots.
func reserveEditions(slots uint64) ([]uint32, error) {
	return Reserve[uint32]((slots + groupOutlines - 1) / groupOutlines)
}

// begins tells whether notes of a slot are none of c, which is about to be stored
// there with an outline in place of the one before.
func begins(before, o Outline, l *cold, c *connection) bool {
	return before == None || before.clientEnd() != o.clientEnd() || (l.start^uint64(c.startAt))&bits56 != 0
}

// edition is that of the group which begins at a slot; it is false while something
// begins there.
func (t *Table) edition(slot uint32) (edition uint32, still bool) {
	edition = atomic.LoadUint32(&t.editions[slot/groupOutlines])
	return edition, edition%2 == 0
}

// spanOf is the note of when the connections of a group began. The lock of its
// stride is held. It is false where there is none that is good.
func (l *looking) spanOf(slot uint32) (oldest, newest int64, good bool) {
	edition, still := l.edition(slot)
	if !still {
		return 0, 0, false
	}
	s, g := &l.spans[slot/lookStride], slot/groupOutlines%groups
	if s.editions[g] != edition {
		oldest, newest := l.readSpan(slot)
		if now, _ := l.edition(slot); now != edition {
			return 0, 0, false
		}
		s.editions[g], s.oldest[g], s.newest[g] = edition, oldest, newest
	}
	return s.oldest[g], s.newest[g], true
}

// readSpan reads when the connections of a group began.
func (l *looking) readSpan(slot uint32) (oldest, newest int64) {
	oldest, newest = math.MaxInt64, math.MinInt64
	at, line := reference(l.reference.Load()), l.outlines.line(slot)
	for i := range uint32(groupOutlines) {
		if line.outline(i) != None {
			fetchPassing(unsafe.Pointer(&l.cold[slot+i].start))
		}
	}
	for i := range uint32(groupOutlines) {
		if line.outline(i) != None {
			start := at.time(peek(&l.hot[slot+i], &l.cold[slot+i].start))
			oldest, newest = min(oldest, start), max(newest, start)
		}
	}
	return oldest, newest
}

// noteEnds notes the ends of a group's connections, where there is no note that is
// good. The lock of its stride is held.
func (l *looking) noteEnds(slot uint32) {
	edition, still := l.edition(slot)
	s, g := &l.ends[slot/lookStride], slot/groupOutlines%groups
	if !still || s.editions[g] == edition {
		return
	}
	s.editions[g] = edition - 1 // in case that it does not come to be good
	line := l.outlines.line(slot)
	for i := range uint32(groupOutlines) {
		if line.outline(i) != None {
			fetchPassing(unsafe.Pointer(&l.hot[slot+i]))
		}
	}
	var known, clientIPv6, serverIPv6 uint64
	for i := range uint32(groupOutlines) {
		if line.outline(i) == None || l.glimpse(slot+i, &l.tuple) == None {
			continue
		}
		known |= 1 << i
		s.clients[g][i], s.servers[g][i] = l.tuple.Client.noted(), l.tuple.Server.noted()
		s.clientPorts[g][i], s.serverPorts[g][i] = l.tuple.ClientPort, l.tuple.ServerPort
		if !l.tuple.Client.isIPv4() {
			clientIPv6 |= 1 << i
		}
		if !l.tuple.Server.isIPv4() {
			serverIPv6 |= 1 << i
		}
	}
	s.known[g], s.clientIPv6[g], s.serverIPv6[g] = known, clientIPv6, serverIPv6
	if now, _ := l.edition(slot); now == edition {
		s.editions[g] = edition
	}
}

// endsOf has e show the note of a group, whose outlines were read since it was made.
// It is false where that is no good.
func (l *looking) endsOf(slot uint32, e *Ends) bool {
	s, g := &l.ends[slot/lookStride], slot/groupOutlines%groups
	if edition, still := l.edition(slot); !still || s.editions[g] != edition {
		return false
	}
	*e = Ends{&s.clients[g], &s.servers[g], &s.clientPorts[g], &s.serverPorts[g], s.clientIPv6[g], s.serverIPv6[g], s.known[g]}
	return true
}
