package flowtable

import (
	"encoding/binary"
	"unsafe"
)

// Glance says what a look is for, so that most connections cost it an octet or a
// line of memory in place of all that is known of them. Its zero value has all
// connections shown.
//
// What a glance rules out or only counts need not be what Look's caller would:
// who asks by more than that looks at what is shown again.
type Glance struct {
	// Sights is what becomes of the connections of each outline. It may be
	// changed while Look goes on, by what it calls.
	Sights [Outlines]Sight
	// Fits, unless it is nil, says by addresses and ports which connections are
	// looked for; others are passed over. The Tuple is valid during the call.
	Fits func(*Tuple) bool
	// Bounded has those counted in place of shown that did not begin between
	// NotBefore and NotAfter. These may be changed as Sights may.
	Bounded             bool
	NotBefore, NotAfter int64
	// Done ends the look early.
	Done <-chan struct{}

	// Look adds to these: all connections, and by their outlines those that
	// were counted.
	Looked  uint64
	Counted [Outlines]uint64
}

// Sight is what becomes of a connection that fits.
type Sight uint8

// What becomes of it.
const (
	Show   Sight = iota // it is shown where it began within the bounds, else counted
	Count               // it is counted
	Pass                // it does not fit
	Insist              // it is shown in any case
)

// Tuple is what tells a connection from others.
type Tuple struct {
	Client, Server         Address
	ClientPort, ServerPort uint16
}

// Address is the halves of the 16 octets of an IPv6 address, or of an IPv4 address
// as ::ffff:a.b.c.d, as numbers.
type Address struct{ High, Low uint64 }

// set reads a key as it stands in a slot, whose client is one of its ends.
func (t *Tuple) set(key *[4]uint64, ports uint32, client int) {
	octets, both := (*[32]byte)(unsafe.Pointer(key)), (*[2]uint16)(unsafe.Pointer(&ports))
	ends := [2]Address{
		{binary.BigEndian.Uint64(octets[:]), binary.BigEndian.Uint64(octets[8:])},
		{binary.BigEndian.Uint64(octets[16:]), binary.BigEndian.Uint64(octets[24:])},
	}
	client &= 1
	t.Client, t.ClientPort = ends[client], both[client]
	t.Server, t.ServerPort = ends[client^1], both[client^1]
}

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
	n        int

	tuple    Tuple
	hotHalf  hot
	coldHalf cold
	c        connection
	r        Record
}

// gather sorts slots by their outlines.
func (l *looking) gather(first, end uint32) {
	g := l.glance
	l.n = 0
	for slot := first; slot < end; slot += wordOutlines {
		word := loadWord(&l.outlines[slot/wordOutlines])
		if word == 0 {
			continue
		}
		if o := Outline(word); word == uint64(o)*everyOctet && l.byOutline(o) {
			g.Looked += wordOutlines
			g.count(o, wordOutlines)
			continue
		}
		for i, o := range spread(&word) {
			if o == None {
				continue
			}
			g.Looked++
			if l.byOutline(o) {
				g.count(o, 1)
				continue
			}
			l.keep(slot+uint32(i), o)
		}
	}
}

// byOutline tells whether its outline says all that is asked of a connection.
func (l *looking) byOutline(o Outline) bool {
	sight := l.glance.Sights[o]
	return sight == Pass || sight == Count && l.glance.Fits == nil
}

func (g *Glance) count(o Outline, n uint64) {
	if g.Sights[o] != Pass {
		g.Counted[o] += n
	}
}

func (l *looking) keep(slot uint32, o Outline) {
	l.slots[l.n], l.outlined[l.n] = slot, o
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
		if ahead := i + lineAhead; ahead < len(slots) {
			fetchPassing(unsafe.Pointer(&l.hot[slots[ahead]]))
		}
		o := l.glimpse(slot, &l.tuple)
		if o == None || g.Sights[o] == Pass || !g.Fits(&l.tuple) {
			continue
		}
		if g.Sights[o] == Count {
			g.Counted[o]++
			continue
		}
		l.keep(slot, o)
	}
}

// bound keeps those that began within the bounds.
func (l *looking) bound() {
	g := l.glance
	slots := l.take()
	for _, slot := range slots[:min(lineAhead, len(slots))] {
		fetchPassing(unsafe.Pointer(&l.cold[slot].start))
	}
	for i, slot := range slots {
		if ahead := i + lineAhead; ahead < len(slots) {
			fetchPassing(unsafe.Pointer(&l.cold[slots[ahead]].start))
		}
		o := l.outlined[i]
		start := reference(l.reference.Load()).time(peek(&l.hot[slot], &l.cold[slot].start))
		if g.Sights[o] != Insist && (start < g.NotBefore || start > g.NotAfter) {
			g.Counted[o]++
			continue
		}
		l.keep(slot, o)
	}
}

// show shows what is left.
func (l *looking) show() (more bool) {
	slots := l.take()
	for _, slot := range slots[:min(showAhead, len(slots))] {
		l.fetch(slot)
	}
	for i, slot := range slots {
		if ahead := i + showAhead; ahead < len(slots) {
			l.fetch(slots[ahead])
		}
		if !snapshot(&l.hot[slot], &l.cold[slot], &l.hotHalf, &l.coldHalf) {
			continue // over by now
		}
		l.c.load(&l.hotHalf, &l.coldHalf, l.common())
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
