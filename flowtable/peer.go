package flowtable

// Peer is what a record tells of the other side of a gateway, where the same
// connection passed by as well, perhaps under another tuple. The table leaves it
// empty: whoever has both records fills it in (package pair).
type Peer struct {
	Serial     uint64          // of the other side's record; valid where Found
	Transit    [Moments]uint32 // ns; valid where Known has the bit 1<<Moment
	Client     [16]byte        // the connection's tuple there; valid where Translated
	Server     [16]byte
	ClientPort uint16
	ServerPort uint16
	Known      uint8
	Found      bool  // there is a record of the other side
	Translated bool  // the box rewrites the tuple
	Faces      Party // whose segments come in at this record's interface; Nobody where that is not known
}

// MaxTransit is the longest time, in ns, that is taken for one segment's way
// through a box: 4.3 s.
const MaxTransit = 1<<32 - 1

// Passed returns how long the box took to pass the segment of a moment on, in
// ns, and whether that is known. EstablishedAt has none.
func (p *Peer) Passed(m Moment) (ns uint32, known bool) {
	return p.Transit[m], p.Known&(1<<m) != 0
}
