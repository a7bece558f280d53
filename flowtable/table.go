// Package flowtable follows TCP connections from the segments of both their
// ends and writes one Record for each when it is over.
//
// # Terms
//
// A connection is followed in a slot. Its ends are numbered as in its
// segment.Key: 0 sent from the key's Low, 1 from its High; which of them is
// the client is a mark of the slot. FIN1 is the first FIN seen and comes from
// the initiator, FIN2 is the other end's. A class says which timeout a
// connection is under; each class has a timing wheel. A closed connection
// lingers in its slot for late segments; after that the slot remembers only
// its tuple, until that is forgotten or another connection needs the slot.
//
// # Accounts
//
// A segment that the kernel program counted carries its flow's counters; one
// that it did not (a SYN, or any segment of a capture) is counted here.
// Kernel counters are taken over, and their entry deleted, when a record is
// written.
//
// # Ownership
//
// A Table belongs to one goroutine, its worker's, which is the only one to
// call Update, Advance, Flush and Restart. Stats and Connections may be used
// from any goroutine and never stop the worker. The package does no I/O
// beyond reserving memory, and knows no time but that of the segments and of
// Advance: nanoseconds on whatever clock the segments use.
package flowtable

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/finwait/finwait/flowtable/segment"
)

// Timeouts end connections that do not close. 0 means never.
type Timeouts struct {
	Opening     time.Duration // idle with SYNs alone
	Established time.Duration // idle when established, half closed, or joined midway
	Closing     time.Duration // idle with both FINs seen and not both acknowledged
	Active      time.Duration // a slice of a long connection is written
	Linger      time.Duration // from the close to the record
}

// TimeWait is 2 MSL as Linux keeps it (TCP_TIMEWAIT_LEN, include/net/tcp.h).
const TimeWait = 60 * time.Second

// LiveTimeouts are the defaults on an interface.
func LiveTimeouts() Timeouts {
	return Timeouts{30 * time.Second, 5 * time.Minute, time.Minute, 30 * time.Minute, time.Second}
}

// ReplayTimeouts are the defaults for a capture.
func ReplayTimeouts() Timeouts {
	return Timeouts{30 * time.Second, 5 * time.Minute, time.Minute, 0, time.Minute}
}

// Config is how a table is made.
type Config struct {
	// MaxFlows is the number of connections that can be followed at once.
	MaxFlows uint32
	Timeouts Timeouts
	// Accounts is where data segments are counted; nil where every segment
	// comes to the table.
	Accounts Accounts
	// Accounting is how octets are known. By sequence the segments are control
	// segments alone, and tell by their sequence numbers what lay between.
	Accounting Accounting
	// Records takes what is finished.
	Records Records
	// Owners hears whose the ends of connections are; nil where nobody asks, and the
	// records have none.
	Owners Owners
	// Unasked tells that nobody calls Seek, Look, View or Connections: what they would
	// read is not kept beside the slots, and they find nothing.
	Unasked bool
	// FirstSerial is the first Record.Serial; the others count up from it.
	FirstSerial uint64
}

// MaxMaxFlows bounds Config.MaxFlows.
const MaxMaxFlows = 1<<slotBits - 1

// Table follows connections. See the package documentation for who may call
// what.
type Table struct {
	config    Config
	hot       []hot    // slots; slot 0 is nobody's
	cold      []cold   // … their other halves
	links     []link   // … and places in wheels
	owned     []owned  // … and whose they are; nil where nobody asks
	outlines  outlines // … and what a glance tells of them; nil where nobody asks
	editions  []uint32 // of groups of slots, for notes; nil where nobody asks
	notes     notes
	free      uint32        // list of free slots, linked by next
	fresh     atomic.Uint32 // slots from here on were never used
	index     index
	wheels    [classes + 1]wheel
	nextDue   int64 // when the first wheel is to turn
	quiet     int64 // before that, time passes without work
	now       int64
	reference atomic.Int64  // see common; at most farOff from now
	serials   atomic.Uint64 // see common; at most manySerials from serial
	started   bool
	serial    uint64
	lossAt    atomic.Int64
	fullAt    atomic.Int64 // the kernel's flow table had no room
	stats     Stats

	look      lookAhead
	work      connection // of the segment at hand
	due       [AccountsBatch]uint32
	loaded    [AccountsBatch]connection // those due
	dueHashes [AccountsBatch]uint64
	keys      [AccountsBatch]segment.Key
	counters  [AccountsBatch]segment.Counters
	strays    [AccountsBatch]segment.Key // kernel entries of connections that are over
	strayN    int
	hashes    hasher

	_         [64]byte
	readiness readiness
}

// hasher is the keyed hash that the table shares with whoever deals out its
// segments.
type hasher interface {
	Hash(*segment.Key) uint64
	Hashes(keys []segment.Key, hashes []uint64)
}

// New reserves a table's memory. Hashes passed to Update must come from h.
func New(config Config, h segment.Hasher) (*Table, error) {
	if config.MaxFlows == 0 || config.MaxFlows > MaxMaxFlows {
		return nil, fmt.Errorf("max flows %d: choose a number from 1 to %d", config.MaxFlows, MaxMaxFlows)
	}
	if config.Records == nil {
		return nil, errors.New("a flow table needs a place for its records")
	}
	for _, d := range []time.Duration{config.Timeouts.Opening, config.Timeouts.Established,
		config.Timeouts.Closing, config.Timeouts.Active, config.Timeouts.Linger} {
		if d < 0 {
			return nil, fmt.Errorf("timeout %v: a timeout cannot be negative", d)
		}
	}
	t := &Table{config: config, serial: config.FirstSerial, hashes: &h}
	t.serials.Store(t.serial)
	t.fresh.Store(1)
	t.quiet = math.MinInt64
	t.lossAt.Store(math.MinInt64)
	t.fullAt.Store(math.MinInt64)
	if err := t.reserve(); err != nil {
		return nil, errors.Join(fmt.Errorf("flow table for %d connections: %w; choose fewer", config.MaxFlows, err), t.Close())
	}
	return t, nil
}

func (t *Table) reserve() (err error) {
	slots := uint64(t.config.MaxFlows) + 1
	if t.hot, err = Reserve[hot](slots); err != nil {
		return err
	}
	if t.cold, err = Reserve[cold](slots); err != nil {
		return err
	}
	if t.config.Owners != nil {
		if t.owned, err = Reserve[owned](slots); err != nil {
			return err
		}
	}
	if !t.config.Unasked {
		if t.outlines, err = reserveOutlines(slots); err != nil {
			return err
		}
		if t.editions, err = reserveEditions(slots); err != nil {
			return err
		}
		t.notes = newNotes(slots)
	}
	if t.index.buckets, err = Reserve[bucket](indexBuckets(t.config.MaxFlows)); err != nil {
		return err
	}
	if t.links, err = Reserve[link](slots); err != nil {
		return err
	}
	d := &t.config.Timeouts
	t.wheels = [classes + 1]wheel{
		opening:     newWheel(int64(d.Opening)),
		established: newWheel(int64(d.Established)),
		closing:     newWheel(int64(d.Closing)),
		lingering:   newWheel(int64(d.Linger)),
		remembered:  newWheel(int64(d.Linger + TimeWait)),
	}
	return nil
}

// Close gives the memory back. Nothing of the table may be used afterwards.
func (t *Table) Close() error {
	err := errors.Join(Release(t.hot), Release(t.cold), Release(t.links), Release(t.outlines), Release(t.editions), Release(t.owned),
		Release(t.index.buckets), t.notes.release())
	t.hot, t.cold, t.links, t.outlines, t.editions, t.owned, t.index.buckets = nil, nil, nil, nil, nil, nil, nil
	return err
}

// Stats are the table's counters.
func (t *Table) Stats() *Stats { return &t.stats }

// Capacity is the number of connections that can be followed at once.
func (t *Table) Capacity() int { return int(t.config.MaxFlows) }

// Memory is the octets reserved: for connections or the tuples that they leave
// behind, and for their index.
func (t *Table) Memory() uint64 {
	return uint64(len(t.hot))*slotSize + uint64(len(t.owned))*ownedSize + uint64(len(t.outlines))*wordOutlines +
		uint64(len(t.editions))*editionSize + uint64(len(t.index.buckets))*bucketSize
}

// Lost notes that segments were lost on the way to this table at a time up to
// now: connections that had begun by then may miss some of theirs.
func (t *Table) Lost(now int64) {
	t.lossAt.Store(max(t.lossAt.Load(), now))
}

// Uncounted notes that at times up to now the kernel had no room for another
// entry: of connections that have none, data segments may not be counted.
func (t *Table) Uncounted(now int64) {
	t.fullAt.Store(max(t.fullAt.Load(), now))
}

// lossy tells whether segments of a connection may be missing.
func (t *Table) lossy(c *connection, entry bool) bool {
	return t.lossAt.Load() >= c.startAt || !entry && t.fullAt.Load() >= c.startAt
}

// Now is the latest time that the table has heard of.
func (t *Table) Now() int64 { return t.now }

// Update follows a batch of segments. hashes[i] is the hash of batch[i]'s key;
// where nobody has hashed them yet, hashes is nil. Both slices are the caller's
// again afterwards.
func (t *Table) Update(batch []*segment.Segment, hashes []uint64) {
	for len(batch) > 0 {
		n := min(updateBatch, len(batch))
		t.update(batch[:n], hashes)
		batch = batch[n:]
		if hashes != nil {
			hashes = hashes[n:]
		}
	}
}

func (t *Table) update(batch []*segment.Segment, hashes []uint64) {
	for from := -hashAhead; from < len(batch); from += group {
		t.ahead(from, batch, hashes)
		if from < 0 {
			continue
		}
		for i, s := range batch[from:min(from+group, len(batch))] {
			t.follow(from+i, s)
		}
	}
}

// follow is the last stage of segment i.
func (t *Table) follow(i int, s *segment.Segment) {
	switch {
	case s.At >= t.quiet:
		t.Advance(s.At)
	case s.At > t.now:
		t.now = s.At
	}
	key, side, slot := &t.look.keys[i], t.look.sides[i], t.look.slots[i]
	h := &t.hot[slot] // slot 0 is nobody's
	if !h.is(key) {   // or what came before has changed that
		slot = t.find(t.look.hashes[i], key)
		h = &t.hot[slot]
	}
	if h.takesPlain(s, side) && t.plain(h, s, side) {
		return
	}
	t.segment(s, slot, key, side, t.look.hashes[i])
}

// plain takes the short way, in place, for an ordinary segment of an established
// connection. It is false where time has more to do.
func (t *Table) plain(h *hot, s *segment.Segment, side uint8) bool {
	idle := s.At - reference(t.reference.Load()).time(h.last)
	if timeout := t.wheels[established].timeout; idle < 0 || timeout != 0 && idle > timeout {
		return false
	}
	h.guard.begin()
	h.last = h.last&^bits56 | uint64(s.At)&bits56
	h.ends[side&1].plain(s)
	h.guard.done()
	return true
}

// load makes c the connection in a slot.
func (t *Table) load(slot uint32, c *connection) {
	c.load(&t.hot[slot], &t.cold[slot], t.common(), allParts)
}

// loadFor makes c what a segment may change of the connection in a slot, and tells which
// parts that is.
func (t *Table) loadFor(s *segment.Segment, h *hot, l *cold, c *connection) (which parts) {
	c.load(h, l, t.common(), 0)
	switch {
	case !c.opened(s):
		c.loadOpening(h, l)
		return partOpening | partOther
	case c.has(connSequence): // a segment tells how far both ends have come
		return partOther
	default:
		return 0
	}
}

func (t *Table) common() (o common) {
	o.at, o.serial = reference(t.reference.Load()), t.serials.Load()
	if t.config.Accounting == AccountingSequence {
		o.marks = connSequence
	}
	return o
}

// manySerials is how far the number near which the serials of slots lie may be
// behind.
const manySerials = 1 << 38

// nextSerial is for another record.
func (t *Table) nextSerial() (serial uint64) {
	serial = t.serial
	if t.serial++; t.serial-t.serials.Load() > manySerials {
		t.serials.Store(t.serial)
	}
	return serial
}

// store puts c back into its slot.
func (t *Table) store(slot uint32, c *connection) {
	t.storeParts(slot, &t.hot[slot], &t.cold[slot], c, 0, allParts)
}

// storeParts is store, of a connection that a segment of a side has changed, but for
// parts that it has left alone.
func (t *Table) storeParts(slot uint32, h *hot, l *cold, c *connection, side uint8, which parts) {
	if t.config.Unasked {
		c.store(h, l, side, which)
		return
	}
	before, o := *t.outlines.at(slot), c.outline()
	anew := which&partOpening != 0 && begins(before, o, l, c)
	if anew {
		advance(&t.editions[slot/groupOutlines])
	}
	c.store(h, l, side, which)
	if o != before {
		t.outlines.set(slot, o)
	}
	if anew {
		advance(&t.editions[slot/groupOutlines])
	}
}

// segment brings one segment to its connection in slot; where that is over, the
// slot remembers its tuple, or there is none with 0, it begins a new one.
func (t *Table) segment(s *segment.Segment, slot uint32, key *segment.Key, side uint8, hash uint64) {
	c := &t.work
	if h := &t.hot[slot]; h.used() {
		l := &t.cold[slot]
		which := t.loadFor(s, h, l, c)
		if t.goesOn(slot, c, s, side, hash) {
			c.follow(s, side)
			t.own(slot, c, s, side)
			t.move(slot, c)
			t.storeParts(slot, h, l, c, side, which)
			return
		}
		if t.hot[slot].last == 0 {
			slot = 0
		}
	}
	if slot = t.open(s, slot, key, side, hash); slot != 0 {
		c.follow(s, side)
		t.own(slot, c, s, side)
		c.class = c.currentClass()
		t.link(slot, c.class, t.deadline(c))
		t.store(slot, c)
	}
}

// goesOn tells whether a segment belongs to c. Where it does not, c has ended.
func (t *Table) goesOn(slot uint32, c *connection, s *segment.Segment, side uint8, hash uint64) bool {
	if t.overdue(c, s) {
		c.loadParts(&t.hot[slot], &t.cold[slot], allParts)
		t.finish(slot, c, hash, c.idleReason())
		return false
	}
	if s.Marks&segment.Final != 0 {
		c.takeOver(s, side)
	}
	if s.Is(segment.SYN) && c.beginsAnew(s, side) {
		t.supersede(slot, c, hash)
		return false
	}
	return true
}

// move brings a connection to the wheel of the class that it has come to.
func (t *Table) move(slot uint32, c *connection) {
	if of := c.currentClass(); of != c.class {
		t.unlink(slot, c.class)
		c.class = of
		t.link(slot, of, t.deadline(c))
	}
}

// open makes t.work a new connection, in a slot that remembers its tuple or with 0
// in another one. It is 0 where the segment is a late one of a connection that is
// over.
func (t *Table) open(s *segment.Segment, slot uint32, key *segment.Key, side uint8, hash uint64) uint32 {
	closedAt, known := t.recall(slot, s.At)
	if known && !s.Is(segment.SYN) {
		t.late(s, key)
		return 0
	}
	if slot != 0 {
		t.unlink(slot, remembered)
	} else {
		slot = t.take()
		t.hot[slot].setKey(key)
		t.index.insert(hash, slot)
	}
	t.stats.Opened.add(1)
	t.stats.Connections.add(1)
	c := &t.work
	c.begin(s, key, side)
	if t.config.Accounting == AccountingSequence {
		c.marks |= connSequence
	}
	c.serial = t.nextSerial()
	if known {
		c.reuse(s, closedAt)
	}
	return slot
}

// late counts a segment of a connection that is over.
func (t *Table) late(s *segment.Segment, key *segment.Key) {
	t.stats.Late.add(1)
	if s.Marks&segment.HasEntry != 0 {
		t.stray(key)
	}
}

// supersede ends a connection whose tuple a SYN has taken. That SYN has removed
// the kernel entry: what is there now is the next connection's.
func (t *Table) supersede(slot uint32, c *connection, hash uint64) {
	if c.has(connEntry) {
		c.marks = c.marks&^connEntry | connLossy
		t.stats.AccountsFailed.add(1)
	}
	c.loadParts(&t.hot[slot], &t.cold[slot], partOrigin)
	reason := EndReused
	if c.has(connClosed) {
		reason = EndClosed
	}
	t.finish(slot, c, hash, reason)
}

// take returns a free slot, and makes one free where there is none.
func (t *Table) take() uint32 {
	fresh := t.fresh.Load()
	for t.free == 0 && int(fresh) == len(t.hot) {
		t.evict()
	}
	if slot := t.free; slot != 0 {
		t.free = t.links[slot].next()
		t.fetchSlot(t.free)
		return slot
	}
	t.fresh.Store(fresh + 1)
	t.fetchSlot(fresh + 1)
	return fresh
}
