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
// lingers in its slot for late segments; after that only its tuple is
// remembered.
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
	// FirstSerial is the first Record.Serial; the others count up from it.
	FirstSerial uint64
}

// MaxMaxFlows bounds Config.MaxFlows.
const MaxMaxFlows = 1 << 28

// Table follows connections. See the package documentation for who may call
// what.
type Table struct {
	config  Config
	slots   []connection  // slot 0 is nobody's
	free    uint32        // list of free slots, linked by next
	fresh   atomic.Uint32 // slots from here on were never used
	index   index
	wheels  [classes]wheel
	tuples  tupleMemory
	now     int64
	started bool
	serial  uint64
	lossAt  atomic.Int64
	fullAt  atomic.Int64 // the kernel's flow table had no room
	stats   Stats

	due      [AccountsBatch]uint32
	keys     [AccountsBatch]segment.Key
	counters [AccountsBatch]segment.Counters
	strays   [AccountsBatch]segment.Key // kernel entries of connections that are over
	strayN   int
	hashes   hasher
}

// hasher is the keyed hash that the table shares with whoever deals out its
// segments.
type hasher interface{ Hash(*segment.Key) uint64 }

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
	t := &Table{config: config, serial: config.FirstSerial, hashes: h}
	t.fresh.Store(1)
	t.lossAt.Store(math.MinInt64)
	t.fullAt.Store(math.MinInt64)
	if err := t.reserve(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Table) reserve() (err error) {
	if t.slots, err = reserve[connection](uint64(t.config.MaxFlows) + 1); err != nil {
		return err
	}
	n := indexBuckets(t.config.MaxFlows)
	if t.index.buckets, err = reserve[bucket](n); err != nil {
		return err
	}
	t.index.mask = n - 1
	d := &t.config.Timeouts
	if t.tuples, err = newTupleMemory(t.config.MaxFlows, int64(d.Linger+TimeWait)); err != nil {
		return err
	}
	t.wheels = [classes]wheel{
		opening:     newWheel(int64(d.Opening)),
		established: newWheel(int64(d.Established)),
		closing:     newWheel(int64(d.Closing)),
		lingering:   newWheel(int64(d.Linger)),
	}
	return nil
}

// Close gives the memory back. Nothing of the table may be used afterwards.
func (t *Table) Close() error {
	err := errors.Join(release(t.slots), release(t.index.buckets), release(t.tuples.places))
	t.slots, t.index.buckets, t.tuples.places = nil, nil, nil
	return err
}

// Stats are the table's counters.
func (t *Table) Stats() *Stats { return &t.stats }

// Capacity is the number of connections that can be followed at once.
func (t *Table) Capacity() int { return int(t.config.MaxFlows) }

// Memory is the octets reserved: slots, index and remembered tuples.
func (t *Table) Memory() uint64 {
	return uint64(len(t.slots))*connectionSize + uint64(len(t.index.buckets))*64 + uint64(len(t.tuples.places))*16
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

// Update follows a batch of segments. hashes[i] is the hash of batch[i]'s
// key. Both slices are the caller's again afterwards.
func (t *Table) Update(batch []*segment.Segment, hashes []uint64) {
	for i := 0; i < len(batch); i += updateBatch {
		n := min(updateBatch, len(batch)-i)
		t.update(batch[i:i+n], hashes[i:i+n])
	}
}

const updateBatch = 64

func (t *Table) update(batch []*segment.Segment, hashes []uint64) {
	// The look-ups of the batch are started together, so that their memory
	// accesses overlap; the second pass finds the lines in the cache.
	var touched uint32
	for _, h := range hashes {
		touched += t.index.buckets[h&t.index.mask].overflow
	}
	t.touch(touched)
	for i, s := range batch {
		if s.At > t.now || !t.started {
			t.Advance(s.At)
		}
		key, side := segment.KeyOf(s)
		t.segment(s, &key, side, hashes[i])
	}
}

// touch keeps the compiler from dropping the loads that fed it.
//
//go:noinline
func (t *Table) touch(uint32) {}

// segment brings one segment to its connection.
func (t *Table) segment(s *segment.Segment, key *segment.Key, side uint8, hash uint64) {
	slot := t.find(hash, key)
	if slot != 0 && t.overdue(slot, s) {
		t.finish(slot, hash, t.idleReason(slot))
		slot = 0
	}
	if slot != 0 && s.Marks&segment.Final != 0 {
		c := &t.slots[slot]
		c.guard.begin()
		c.takeOver(s, side)
		c.guard.done()
	}
	if slot != 0 && t.slots[slot].beginsAnew(s, side) {
		t.supersede(slot, hash)
		slot = 0
	}
	var closedAt int64
	fresh, known := slot == 0, false
	if fresh {
		if closedAt, known = t.tuples.recall(hash, s.At); known && !s.Is(segment.SYN) {
			t.late(s, key)
			return
		}
		slot = t.open(hash)
	}
	c := &t.slots[slot]
	c.guard.begin()
	if fresh {
		c.begin(s, key, side)
		c.serial = t.serial
		t.serial++
	}
	if known {
		c.reuse(s, closedAt)
		t.tuples.forget(hash)
	}
	if t.config.Accounting == AccountingSequence {
		c.marks |= connSequence
	}
	c.follow(s, side)
	c.guard.done()
	if class := c.currentClass(); fresh || class != c.class {
		if !fresh {
			t.unlink(slot)
		}
		c.class = class
		t.link(slot, t.deadline(c))
	}
}

// late counts a segment of a connection that is over.
func (t *Table) late(s *segment.Segment, key *segment.Key) {
	t.stats.Late.Add(1)
	if s.Marks&segment.HasEntry != 0 {
		t.stray(key)
	}
}

// supersede ends a connection whose tuple a SYN has taken. That SYN has removed
// the kernel entry: what is there now is the next connection's.
func (t *Table) supersede(slot uint32, hash uint64) {
	c := &t.slots[slot]
	if c.has(connEntry) {
		c.guard.begin()
		c.marks = c.marks&^connEntry | connLossy
		c.guard.done()
		t.stats.AccountsFailed.Add(1)
	}
	reason := EndReused
	if c.has(connClosed) {
		reason = EndClosed
	}
	t.finish(slot, hash, reason)
}

// open finds a slot for a new connection.
func (t *Table) open(hash uint64) uint32 {
	slot := t.take()
	t.index.insert(hash, slot)
	t.stats.Opened.Add(1)
	t.stats.Connections.Add(1)
	return slot
}

// take returns a free slot, and makes one free where there is none.
func (t *Table) take() uint32 {
	fresh := t.fresh.Load()
	if t.free == 0 && int(fresh) == len(t.slots) {
		t.evict()
	}
	if slot := t.free; slot != 0 {
		t.free = t.slots[slot].next
		return slot
	}
	t.fresh.Store(fresh + 1)
	return fresh
}
