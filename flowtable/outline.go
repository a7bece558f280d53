package flowtable

import (
	"iter"
	"unsafe"
)

// Outline is what one octet tells of a connection: the states of both ends, and
// which of them is the client. None is of no connection.
type Outline uint8

// None is the outline of a slot that is free.
const None Outline = 0

// Outlines is how many there are.
const Outlines = 1 + 2*States*States

// OutlineOf is that of a connection whose ends are in these states, and whose
// client is the key's High or Low.
func OutlineOf(client, server State, high bool) Outline {
	o := 1 + Outline(client) + States*Outline(server)
	if high {
		o += States * States
	}
	return o
}

// States are those of the ends; o is not None.
func (o Outline) States() (client, server State) {
	pair := (o - 1) % (States * States)
	return State(pair % States), State(pair / States)
}

// clientEnd is 1 where the client is the key's High, else 0. It takes no branch:
// no processor could predict one.
func (o Outline) clientEnd() int { return int(uint64(States*States-int64(o)) >> 63) }

// Undecided tells whether a FIN is not acknowledged as far as the worker knows:
// where the kernel counts, it may have seen the acknowledgement.
func (o Outline) Undecided() bool {
	const waiting = 1<<StateFINWait1 | 1<<StateClosing | 1<<StateLastACK
	client, server := o.States()
	return (1<<client|1<<server)&waiting != 0
}

// acknowledged are the states, as bits, in which an end may be once ACKs are
// known that the worker has not seen.
var acknowledged = [States]uint16{
	StateSYNSent:     1<<StateEstablished | 1<<StateCloseWait,
	StateSYNReceived: 1<<StateEstablished | 1<<StateCloseWait,
	StateEstablished: 1 << StateCloseWait,
	StateFINWait1:    1<<StateFINWait2 | 1<<StateClosing | 1<<StateTimeWait,
	StateFINWait2:    1 << StateTimeWait,
	StateClosing:     1 << StateTimeWait,
	StateLastACK:     1 << StateClosed,
}

// Possible yields the states that the ends may be in: those of the outline, and
// where it is undecided what may come of them.
func (o Outline) Possible() iter.Seq2[State, State] {
	client, server := o.States()
	clients, servers := uint16(1)<<client, uint16(1)<<server
	if o.Undecided() {
		clients, servers = clients|acknowledged[client], servers|acknowledged[server]
	}
	return func(yield func(client, server State) bool) {
		for client := range State(States) {
			for server := range State(States) {
				if (clients>>client)&(servers>>server)&1 != 0 && !yield(client, server) {
					return
				}
			}
		}
	}
}

// MayHaveFIN is false where neither end can have sent a FIN.
func (o Outline) MayHaveFIN() bool {
	const before = 1<<StateClosed | 1<<StateSYNSent | 1<<StateSYNReceived | 1<<StateEstablished
	client, server := o.States()
	ends := 1<<client | 1<<server
	return ends&^before != 0 || ends == 1<<StateClosed // a RST may have come after a FIN
}

// outline is asked for with every change of a connection, so that it is looked up:
// which branches state takes no processor could predict.
func (c *connection) outline() Outline { return outlineOf[c.outlineKey()] }

// outlineKey has all that states are inferred from: the client 1 | the initiator 1 |
// the FINs of both ends and whether they were acknowledged 2 x 2 | marks 6.
func (c *connection) outlineKey() uint32 {
	fins := uint32(c.ends[0].marks)/endFIN&3 | uint32(c.ends[1].marks)/endFIN&3<<2
	return (c.marks&outlineMarks | fins<<6 | uint32(c.initiator)<<10 | uint32(c.client)<<11) % outlineKeys
}

const (
	outlineMarks = connSYN | connSYNACK | connEst | connReset | connCrossed | connTalked
	outlineKeys  = 1 << 12
)

var (
	_ [1<<6 - 1]struct{}   = [outlineMarks]struct{}{} // the lowest six bits
	_ [2 * endFIN]struct{} = [endCovered]struct{}{}   // side by side
)

// outlineOf is the outline of every key.
var outlineOf = func() (all [outlineKeys]Outline) {
	for key := range uint32(outlineKeys) {
		c := connection{marks: key & outlineMarks, initiator: uint8(key >> 10 & 1), client: uint8(key >> 11)}
		c.ends[0].marks, c.ends[1].marks = uint16(key>>6&3)*endFIN, uint16(key>>8&3)*endFIN
		all[key] = OutlineOf(c.state(c.client), c.state(1-c.client), c.client == 1)
	}
	return all
}()

// outlines are those of all slots, side by side: who asks about all connections
// reads one octet of most of them. A line of them is a group.
type outlines []outlineWord

// outlineWord is eight outlines in the order of memory.
type outlineWord = uint64

const (
	wordOutlines  = 8
	groupOutlines = 64
)

// reserveOutlines has room for so many slots, in whole groups.
func reserveOutlines(slots uint64) (outlines, error) {
	return Reserve[outlineWord]((slots + groupOutlines - 1) / groupOutlines * (groupOutlines / wordOutlines))
}

// spread is a word's outlines one by one.
func spread(word *outlineWord) *[wordOutlines]Outline {
	return (*[wordOutlines]Outline)(unsafe.Pointer(word))
}

// at is the writer's own look.
func (x outlines) at(slot uint32) *Outline {
	return &spread(&x[slot/wordOutlines])[slot%wordOutlines]
}

// load is a reader's look.
func (x outlines) load(slot uint32) Outline {
	word := loadWord(&x[slot/wordOutlines])
	return spread(&word)[slot%wordOutlines]
}

// line is the outlines of a group.
type line [groupOutlines / wordOutlines]outlineWord

// line is a reader's look at those of the group that begins at a slot.
func (x outlines) line(slot uint32) (l line) {
	words := (*line)(unsafe.Pointer(&x[slot/wordOutlines]))
	for i := range words {
		l[i] = loadWord(&words[i])
	}
	return l
}

func (l *line) outline(i uint32) Outline {
	return (*[groupOutlines]Outline)(unsafe.Pointer(l))[i%groupOutlines]
}

// usedOf has a bit for each octet that is not 0, as each octet stands in memory.
func usedOf(word outlineWord) uint8 {
	const low = 0x7f * everyOctet
	tops := (word&low + low | word) & topBits // of these octets, and no carry goes from one to the next
	return uint8(tops >> 7 * 0x0102040810204080 >> 56)
}
