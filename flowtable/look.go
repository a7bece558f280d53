package flowtable

import (
	"math/bits"
	"slices"
	"unsafe"
)

// Look yields a Record, with EndReason EndNone, of every connection that is
// followed now and that g has shown, until yield says false. The Record is what
// the worker knows: where the kernel counts, the numbers of packets and octets are
// none, EndAt and the evidence are those of the control segments, and an ACK that
// the kernel alone has seen is missing. View adds the kernel's part.
//
// Look may be called from any goroutine and never stops the worker: each
// connection is seen as it was at some moment during the call. The Record is
// valid until yield returns.
func (t *Table) Look(g *Glance, yield func(Place, *Record) bool) {
	if t.config.Unasked {
		return
	}
	l := looking{Table: t, glance: g, yield: yield}
	end := t.fresh.Load()
	strides := (end + lookStride - 1) / lookStride
	for i, at, leap := uint32(0), uint32(0), leapOf(strides); i < strides; i, at = i+1, (at+leap)%strides {
		select {
		case <-g.Done:
			return
		default:
		}
		first := at * lookStride
		l.gather(first, min(first+lookStride, end))
		if g.Fits != nil {
			l.fit()
		}
		if g.Bounded {
			l.bound()
		}
		if g.HalfClosed {
			l.halfClosed()
		}
		if !l.show() {
			return
		}
	}
}

// lookStride is how many slots are looked at in one go, in whole groups of
// outlines.
const lookStride = 32 * groupOutlines

// leapOf is how far it is to the next of n strides. Slots tend to stand in the
// order in which their connections began: who looks for the oldest or the newest
// few of them meets some of every age early, so that the bounds are soon narrow.
func leapOf(n uint32) uint32 {
	leap := max(uint32(uint64(n)*0x9e3779b9>>32), 1) // by the golden ratio
	for gcd(leap, n) > 1 {
		leap++
	}
	return leap
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// looking is a look under way.
type looking struct {
	*Table
	glance *Glance
	yield  func(Place, *Record) bool

	// slots are those of which nothing has decided yet, with their outlines.
	slots    [lookStride]uint32
	outlined [lookStride]Outline
	fits     [lookStride]bool // by what is noted
	n        int

	spans   []strideSpans // nil while they are not needed
	ends    []strideEnds
	e       Ends
	outside bool // of the bounds, the group at hand

	tuple    Tuple
	hotHalf  hot
	coldHalf cold
	c        connection
	r        Record
}

// gather sorts slots by what is known of them side by side.
func (l *looking) gather(first, end uint32) {
	g := l.glance
	l.n = 0
	if g.Bounded {
		l.spans = l.notes.withSpans()
	}
	if g.Fits != nil && g.Among != nil {
		l.ends = l.notes.withEnds()
	}
	if l.spans != nil || l.ends != nil {
		lock := &l.notes.locks[first/lookStride]
		lock.Lock()
		defer lock.Unlock()
	}
	for slot := first; slot < end; slot += groupOutlines {
		l.gatherGroup(slot)
	}
}

func (l *looking) gatherGroup(slot uint32) {
	g := l.glance
	if l.ends != nil {
		l.noteEnds(slot)
	}
	line := l.outlines.line(slot)
	fitting := Guess{0, ^uint64(0)}
	if g.Fits == nil {
		fitting.Sure = fitting.Possible
	} else if l.ends != nil && l.endsOf(slot, &l.e) {
		fitting = l.e.ask(g.Among)
	}
	l.outside = false
	if l.spans != nil && fitting.Possible != 0 {
		oldest, newest, good := l.spanOf(slot)
		l.outside = good && (newest < g.NotBefore || oldest > g.NotAfter)
	}
	l.gatherLine(slot, &line, fitting)
}

func (l *looking) gatherLine(slot uint32, of *line, fitting Guess) {
	all := fitting.Sure == ^uint64(0)
	for i, word := range of {
		if word == 0 {
			continue
		}
		if o := Outline(word); all && word == uint64(o)*everyOctet && l.byOutline(o) { // most of most tables
			l.glance.Looked += wordOutlines
			l.glance.count(o, wordOutlines)
			continue
		}
		shift := uint(i) * wordOutlines
		l.gatherWord(slot+uint32(shift), word, uint8(fitting.Sure>>shift), uint8(fitting.Possible>>shift))
	}
}

// gatherWord sorts the slots of eight outlines, of which these fit or may fit.
func (l *looking) gatherWord(slot uint32, word outlineWord, sure, possible uint8) {
	g, used := l.glance, usedOf(word)
	g.Looked += uint64(bits.OnesCount8(used))
	if possible &= used; possible == 0 {
		return
	}
	sure &= possible
	if o := Outline(word); sure == possible && word == uint64(o)*everyOctet && l.byOutline(o) {
		g.count(o, uint64(bits.OnesCount8(sure)))
		return
	}
	octets := spread(&word)
	for rest := possible; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros8(rest)
		o, fits := octets[i&(wordOutlines-1)], sure>>i&1 != 0
		switch {
		case g.Sights[o] == Pass:
		case fits && l.byOutline(o):
			g.count(o, 1)
		default:
			l.keep(slot+uint32(i), o, fits)
		}
	}
}

// byOutline tells whether its outline says all that is asked of a connection that
// fits, in a group that may be outside of the bounds.
func (l *looking) byOutline(o Outline) bool {
	sight := l.glance.Sights[o]
	return sight == Pass || sight == Count || sight == Show && l.outside
}

func (g *Glance) count(o Outline, n uint64) {
	if g.Sights[o] != Pass {
		g.Counted[o] += n
	}
}

func (l *looking) keep(slot uint32, o Outline, fits bool) {
	l.slots[l.n], l.outlined[l.n], l.fits[l.n] = slot, o, fits
	l.n++
}

// take returns the slots, of which the next step is to keep some.
func (l *looking) take() []uint32 {
	n := l.n
	l.n = 0
	return l.slots[:n]
}

// How many slots ahead memory is fetched: one line of each takes less time than
// the memory does, four of each take more.
const (
	lineAhead = 24
	showAhead = 16
)

// fit keeps those that fit by their tuple.
func (l *looking) fit() {
	g := l.glance
	slots := l.take()
	for _, slot := range slots[:min(lineAhead, len(slots))] {
		fetchPassing(unsafe.Pointer(&l.hot[slot]))
	}
	for i, slot := range slots {
		if ahead := i + lineAhead; ahead < len(slots) && !l.fits[ahead] {
			fetchPassing(unsafe.Pointer(&l.hot[slots[ahead]]))
		}
		o := l.outlined[i]
		if !l.fits[i] {
			o = l.glimpse(slot, &l.tuple)
			if o == None || g.Sights[o] == Pass || !g.Fits(&l.tuple) {
				continue
			}
			if g.Sights[o] == Count {
				g.Counted[o]++
				continue
			}
		}
		l.keep(slot, o, true)
	}
}

// bound keeps those that began within the bounds.
func (l *looking) bound() {
	slots := l.take()
	for _, slot := range slots[:min(lineAhead, len(slots))] {
		fetchPassing(unsafe.Pointer(&l.cold[slot].start))
	}
	for i, slot := range slots {
		if ahead := i + lineAhead; ahead < len(slots) {
			fetchPassing(unsafe.Pointer(&l.cold[slots[ahead]].start))
		}
		if l.counted(slot, l.outlined[i]) {
			continue
		}
		l.keep(slot, l.outlined[i], true)
	}
}

// counted counts a connection that did not begin within the bounds.
func (l *looking) counted(slot uint32, o Outline) bool {
	g := l.glance
	if !g.Bounded || g.Sights[o] == Insist {
		return false
	}
	start := reference(l.reference.Load()).time(peek(&l.hot[slot], &l.cold[slot].start))
	if start >= g.NotBefore && start <= g.NotAfter {
		return false
	}
	g.Counted[o]++
	return true
}

// show shows what is left. The bounds may have become narrower meanwhile.
func (l *looking) show() (more bool) {
	slots := l.take()
	if l.glance.NewestFirst {
		slices.Reverse(slots)
		slices.Reverse(l.outlined[:len(slots)])
	}
	for _, slot := range slots[:min(showAhead, len(slots))] {
		l.fetch(slot)
	}
	for i, slot := range slots {
		if ahead := i + showAhead; ahead < len(slots) {
			l.fetch(slots[ahead])
		}
		if l.counted(slot, l.outlined[i]) || !snapshot(&l.hot[slot], &l.cold[slot], &l.hotHalf, &l.coldHalf) {
			continue // began outside of the bounds, or is over by now
		}
		l.c.load(&l.hotHalf, &l.coldHalf, l.common(), allParts)
		l.c.record(&l.r, EndNone, l.lossy(&l.c, l.c.has(connEntry)))
		l.attribute(slot, &l.c, &l.r)
		if !l.yield(Place{l.c.serial, slot}, &l.r) {
			return false
		}
	}
	return true
}

func (l *looking) fetch(slot uint32) {
	fetchLines(unsafe.Pointer(&l.hot[slot]))
	fetchLine(unsafe.Pointer(&l.cold[slot]))
}
